package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// That one key is known to be absent says nothing about others that an error kept from being looked
// for: they were taken for absent, too, without a word, and kept as such.
func TestAnErrorOfAllKeysHidesBehindNone(t *testing.T) {
	broken := errors.New("the database is away")
	for what, answer := range map[string]error{
		"joined":  errors.Join(broken, groupcache.KeyErrors{"gone": &groupcache.ErrNotFound{Msg: "deleted"}}),
		"wrapped": fmt.Errorf("%w after %w", broken, groupcache.KeyErrors{"gone": &groupcache.ErrNotFound{Msg: "deleted"}}),
		"several": errors.Join(groupcache.KeyErrors{"other": broken}, groupcache.KeyErrors{"gone": &groupcache.ErrNotFound{Msg: "deleted"}}, broken),
	} {
		s := newTable()
		well := s.answer
		s.answer = func(context.Context, []string, func(string) groupcache.Sink) error { return answer }
		g := aloneWith(t, s.getter(), groupcache.WithNegativeTTL(time.Hour))
		if _, err := g.GetMulti(t.Context(), []string{"gone", "late"}); !errors.Is(err, broken) || strings.Contains(fmt.Sprint(err), `groupcache: key "gone"`) {
			t.Errorf("%s: %v, want that of the late key", what, err)
		}
		s.answer = well
		if v, err := get(t.Context(), g, "late"); err != nil || v != "value of late" {
			t.Errorf("%s: %q, %v once the database is there", what, v, err)
		}
		if _, err := get(t.Context(), g, "gone"); !errors.Is(err, &groupcache.ErrNotFound{}) {
			t.Errorf("%s: %v of the key that is gone", what, err)
		}
	}
}

// A caller who has left begins no more batches: all that were left began at once, on a database
// that was late already.
func TestBatchesEndWithTheirCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		g := aloneWith(t, groupcache.BatchGetterFunc(func(ctx context.Context, _ []string, _ func(string) groupcache.Sink) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			running--
			mu.Unlock()
			return ctx.Err()
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.GetMulti(ctx, numbered("key", 20*groupcache.MaxBatch)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%.200v", err)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if most != 4 {
			t.Errorf("%d batches at once, want 4", most)
		}
	})
}

// Close may end some of a batch's loads while the others are being begun: who waits was counted
// without a lock.
func TestCloseWhileABatchBegins(t *testing.T) {
	keys := numbered("key", groupcache.MaxBatch)
	for n := range 200 {
		s := newTable()
		i, err := groupcache.New(groupcache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := i.NewGroup("g", 1<<20, s.getter(), groupcache.WithPeerPicker(groupcache.NoPeers{}))
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		begin := make(chan struct{})
		all.Go(func() {
			close(begin)
			_, _ = g.GetMulti(t.Context(), keys)
		})
		<-begin
		time.Sleep(time.Duration(n%20) * 50 * time.Microsecond)
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	}
}
