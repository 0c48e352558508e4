package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// table is a database that takes queries for several keys.
type table struct {
	mu      sync.Mutex
	queries [][]string // guarded by mu
	answer  func(ctx context.Context, keys []string, dest func(string) groupcache.Sink) error
}

func newTable() *table {
	return &table{answer: func(_ context.Context, keys []string, dest func(string) groupcache.Sink) error {
		for _, key := range keys {
			if strings.HasPrefix(key, "absent") {
				continue
			}
			if err := dest(key).SetString("value of "+key, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	}}
}

func (s *table) getter() groupcache.BatchGetterFunc {
	return func(ctx context.Context, keys []string, dest func(string) groupcache.Sink) error {
		s.mu.Lock()
		s.queries = append(s.queries, slices.Clone(keys))
		s.mu.Unlock()
		return s.answer(ctx, keys, dest)
	}
}

// took returns the sizes of the queries, in order of size, and forgets them.
func (s *table) took() (sizes []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, keys := range s.queries {
		sizes = append(sizes, len(keys))
	}
	s.queries = nil
	slices.Sort(sizes)
	return sizes
}

func numbered(what string, n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("%s %d", what, i))
	}
	return keys
}

// has fails unless found has the value of each key, and nothing else.
func has(t *testing.T, found map[string]groupcache.ByteView, keys []string) {
	t.Helper()
	if len(found) != len(keys) {
		t.Errorf("%d values, want %d", len(found), len(keys))
	}
	for _, key := range keys {
		if got := found[key].String(); got != "value of "+key {
			t.Errorf("%q: %q", key, got)
			return
		}
	}
}

// Keys that miss together are loaded together, a bounded number at once; and a single one is a
// batch of one.
func TestKeysThatMissTogetherAreLoadedTogether(t *testing.T) {
	s := newTable()
	g := aloneWith(t, s.getter())
	keys := numbered("key", 2*groupcache.MaxBatch+1)
	for range 2 {
		found, err := g.GetMulti(t.Context(), append(slices.Clone(keys), "absent", keys[7]))
		if err != nil {
			t.Fatal(err)
		}
		has(t, found, keys)
	}
	want := []int{1, 2, groupcache.MaxBatch, groupcache.MaxBatch} // the absent one is asked for again, alone
	if got := s.took(); !slices.Equal(got, want) {
		t.Errorf("queries for %v keys, want %v", got, want)
	}
	if v, err := get(t.Context(), g, "one"); v != "value of one" || err != nil || !slices.Equal(s.took(), []int{1}) {
		t.Errorf("a single key: %q, %v", v, err)
	}
	if _, err := get(t.Context(), g, "absent one"); !errors.Is(err, &groupcache.ErrNotFound{}) {
		t.Errorf("a single key that is absent: %v", err)
	}
	if loads, failed := g.Stats.LocalLoads.Get(), g.Stats.LocalLoadErrs.Get(); loads != int64(len(keys))+1 || failed != 3 {
		t.Errorf("%d loads, %d failed", loads, failed)
	}
}

// The owners of keys that a peer asks for load them together, too.
func TestOwnersLoadTogetherWhatAPeerAsksFor(t *testing.T) {
	s := newTable()
	nodes := []*node{startNode(t, s.getter(), nil), startNode(t, s.getter(), nil), startNode(t, s.getter(), nil)}
	setPeers(t, nodes...)
	keys := numbered("key", 600)
	found, err := nodes[0].group.GetMulti(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	has(t, found, keys)
	sizes, sum := s.took(), 0
	for _, n := range sizes {
		sum += n
	}
	if sum != len(keys) || len(sizes) > 6 {
		t.Errorf("queries for %v keys", sizes)
	}
}

// An answer has room for 8 MiB. What finds none is not loaded, as far as the size of values is
// known: it was loaded, not kept, and asked for again.
func TestAnOwnerLoadsWhatItsAnswerHasRoomFor(t *testing.T) {
	var loaded atomic.Int64
	getter := groupcache.BatchGetterFunc(func(_ context.Context, keys []string, dest func(string) groupcache.Sink) error {
		loaded.Add(int64(len(keys)))
		for _, key := range keys {
			if err := dest(key).SetBytes(make([]byte, 64<<10), time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	owner, asker := startNode(t, getter, nil), startNode(t, getter, nil)
	setPeers(t, owner, asker)
	var keys []string
	for i := 0; len(keys) < cut(600, 2); i++ {
		if key := fmt.Sprint("large ", i); owner.instance.Owns(key) {
			keys = append(keys, key)
		}
	}
	if _, err := asker.group.GetMulti(t.Context(), keys[:2]); err != nil {
		t.Fatal(err)
	}
	found, err := asker.group.GetMulti(t.Context(), keys)
	if err != nil || len(found) != len(keys) {
		t.Fatalf("%d values, %v", len(found), err)
	}
	if n := loaded.Load(); n > int64(len(keys))*5/4 {
		t.Errorf("%d loads of %d keys", n, len(keys))
	}
}

// An error of single keys is theirs, an error of the batch is that of all keys that have no value,
// and what is known to be absent is kept.
func TestErrorsOfABatch(t *testing.T) {
	s := newTable()
	locked, broken := errors.New("the row is locked"), errors.New("the database is away")
	var last error
	s.answer = func(_ context.Context, keys []string, dest func(string) groupcache.Sink) error {
		failed := make(groupcache.KeyErrors)
		for _, key := range keys {
			switch key {
			case "locked":
				failed[key] = locked
			case "gone":
				failed[key] = &groupcache.ErrNotFound{Msg: "deleted"}
			case "late", "later":
			default:
				_ = dest(key).SetString("value of "+key, time.Time{})
			}
		}
		_ = dest("a stranger").SetString("x", time.Time{})
		if last != nil {
			return errors.Join(last, failed)
		}
		return failed
	}
	g := aloneWith(t, s.getter(), groupcache.WithNegativeTTL(time.Hour))
	found, err := g.GetMulti(t.Context(), []string{"a", "b", "locked", "gone", "late"})
	has(t, found, []string{"a", "b"})
	if !errors.Is(err, locked) || strings.Contains(fmt.Sprint(err), "gone") || strings.Contains(fmt.Sprint(err), `"late"`) {
		t.Errorf("the error is %v", err)
	}
	s.took()
	found, _ = g.GetMulti(t.Context(), []string{"gone", "late", "locked", "a"})
	has(t, found, []string{"a"})
	if got := s.took(); !slices.Equal(got, []int{1}) { // the others are known to be absent
		t.Errorf("queries for %v keys", got)
	}
	last = broken // an absent key may only not have been found
	_, err = g.GetMulti(t.Context(), []string{"locked", "p", "later"})
	if !errors.Is(err, locked) || !errors.Is(err, broken) || !strings.Contains(fmt.Sprint(err), `"later"`) {
		t.Errorf("the error is %v", err)
	}
	s.answer = func(_ context.Context, keys []string, dest func(string) groupcache.Sink) error {
		_ = dest(keys[0]).SetString("value of "+keys[0], time.Time{})
		return broken
	}
	found, err = g.GetMulti(t.Context(), []string{"m", "n", "o"})
	has(t, found, []string{"m"})
	if !errors.Is(err, broken) || strings.Count(err.Error(), broken.Error()) != 2 {
		t.Errorf("the error is %v", err)
	}
	if text := (groupcache.KeyErrors{"z": locked, "y": broken}).Error(); !strings.Contains(text, `key "y": the database is away`) {
		t.Errorf("KeyErrors say %q", text)
	}
}

// A batch that panics, or ends its goroutine, fails its keys and nothing else.
func TestABatchThatPanics(t *testing.T) {
	s := newTable()
	well := s.answer
	g := aloneWith(t, s.getter())
	for what, answer := range map[string]func(context.Context, []string, func(string) groupcache.Sink) error{
		"panic": func(context.Context, []string, func(string) groupcache.Sink) error { panic("no") },
		"end": func(context.Context, []string, func(string) groupcache.Sink) error {
			runtime.Goexit()
			return nil
		},
	} {
		s.answer = answer
		if found, err := g.GetMulti(t.Context(), []string{"a", "b"}); len(found) != 0 || !errors.Is(err, groupcache.ErrGetterPanicked) {
			t.Errorf("%s: %d values, %v", what, len(found), err)
		}
	}
	s.answer = well
	found, err := g.GetMulti(t.Context(), []string{"a", "b"})
	if err != nil {
		t.Error(err)
	}
	has(t, found, []string{"a", "b"})
}

// Keys that are being loaded are not loaded again; values written over meanwhile are not kept; a
// caller who leaves does not end what others wait for, and the last one ends it after a while.
func TestABatchIsManyLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTable()
		well, release := s.answer, make(chan struct{})
		ended := make(chan error, 1)
		s.answer = func(ctx context.Context, keys []string, dest func(string) groupcache.Sink) error {
			select {
			case <-release:
				return well(ctx, keys, dest)
			case <-ctx.Done():
				ended <- context.Cause(ctx)
				return ctx.Err()
			}
		}
		g := aloneWith(t, s.getter())
		impatient, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() {
			if _, err := g.GetMulti(impatient, []string{"a", "b", "c"}); !errors.Is(err, context.Canceled) {
				t.Errorf("who leaves gets %v", err)
			}
		})
		synctest.Wait()
		callers.Go(func() {
			found, err := g.GetMulti(t.Context(), []string{"a", "b", "d", "e"})
			if err != nil {
				t.Error(err)
			}
			has(t, found, []string{"a", "b", "d", "e"})
		})
		synctest.Wait()
		cancel()
		time.Sleep(10 * time.Second) // much longer than a load goes on for nobody
		if err := g.Set(t.Context(), "a", []byte("new"), time.Time{}, false); err != nil {
			t.Fatal(err)
		}
		if err := g.Remove(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		close(release)
		callers.Wait()
		if got := s.took(); !slices.Equal(got, []int{2, 3}) {
			t.Errorf("queries for %v keys", got)
		}
		if v, err := get(t.Context(), g, "a"); v != "new" || err != nil {
			t.Errorf("what was set while it was loaded is %q, %v", v, err)
		}
		if _, err := get(t.Context(), g, "b"); err != nil || !slices.Equal(s.took(), []int{1}) {
			t.Errorf("what was removed while it was loaded was kept: %v", err)
		}

		release = make(chan struct{})
		impatient, cancel = context.WithCancel(t.Context())
		callers.Go(func() { _, _ = g.GetMulti(impatient, []string{"x", "y"}) })
		synctest.Wait()
		cancel()
		callers.Wait()
		time.Sleep(3 * time.Second)
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the batch that nobody waits for ends with %v", err)
			}
		default:
			t.Error("nobody waits, and the batch goes on")
		}
	})
}

func TestALimitOfLoadsBoundsABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTable()
		s.answer = func(ctx context.Context, _ []string, _ func(string) groupcache.Sink) error {
			<-ctx.Done()
			return ctx.Err()
		}
		g := aloneWith(t, s.getter(), groupcache.WithLoadTimeout(2*time.Second))
		begin := time.Now()
		_, err := g.GetMulti(t.Context(), []string{"a", "b"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

// Close ends a batch, whose callers had no context to leave by.
func TestCloseEndsABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTable()
		s.answer = func(ctx context.Context, _ []string, _ func(string) groupcache.Sink) error {
			<-ctx.Done()
			return ctx.Err()
		}
		i, err := groupcache.New(groupcache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := i.NewGroup("g", 1<<20, s.getter(), groupcache.WithPeerPicker(groupcache.NoPeers{}))
		if err != nil {
			t.Fatal(err)
		}
		var caller sync.WaitGroup
		caller.Go(func() {
			if found, err := g.GetMulti(context.Background(), []string{"a", "b"}); len(found) != 0 || err == nil { //nolint:usetesting // it must not end by itself
				t.Errorf("%d values, %v", len(found), err)
			}
		})
		synctest.Wait()
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		caller.Wait()
	})
}

func TestABatchOfTypedValues(t *testing.T) {
	type user struct{ Name string }
	g := aloneWith(t, groupcache.TypedBatchGetter(nil, func(_ context.Context, keys []string) (map[string]user, time.Time, error) {
		values := make(map[string]user)
		for _, key := range keys[1:] {
			values[key] = user{"user " + key}
		}
		return values, time.Time{}, nil
	}))
	found, err := groupcache.NewTyped[user](g, nil).GetMulti(t.Context(), []string{"1", "2", "3"})
	if err != nil || len(found) != 2 || found["3"].Name != "user 3" {
		t.Errorf("%v, %v", found, err)
	}
}
