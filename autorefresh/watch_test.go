package autorefresh_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// wired is a second level that tells those who watch of changes, after a millisecond, as redis
// does. While it is cut nobody hears of any.
type wired struct {
	marking

	cut     atomic.Bool
	hearers chan hearer
	notices chan []string
}

// hearer is one who watches, until it is done.
type hearer struct {
	names chan []string
	done  <-chan struct{}
}

// noticesKept is how many notices nobody waits for: room for more is long to make, many times over.
const noticesKept = 1 << 8

func newWired(t *testing.T) *wired {
	t.Helper()
	w := &wired{marking: marking{leasing{newShared()}}, hearers: make(chan hearer), notices: make(chan []string, noticesKept)}
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		var all []hearer
		for {
			select {
			case <-done:
				return
			case h := <-w.hearers:
				all = append(all, h)
			case names := <-w.notices:
				for _, h := range all {
					select {
					case h.names <- names:
					case <-h.done:
					}
				}
			}
		}
	}()
	return w
}

func (w *wired) told(names ...string) {
	if !w.cut.Load() {
		time.AfterFunc(time.Millisecond, func() { w.notices <- names })
	}
}

// mend ends a cut: those who watch are told that there was one.
func (w *wired) mend() {
	w.cut.Store(false)
	w.told()
}

func namesOf[V any](values map[string]V) (names []string) {
	for name := range values {
		names = append(names, name)
	}
	return names
}

func (w *wired) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	err := w.marking.SetMulti(ctx, values, ttl)
	w.told(namesOf(values)...)
	return err
}

func (w *wired) SetUnlessMarked(ctx context.Context, values map[string]autorefresh.Marked, ttl time.Duration) error {
	err := w.marking.SetUnlessMarked(ctx, values, ttl)
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, v := range values {
		if string(w.values[name].data) == string(v.Value) { // it was stored
			w.told(name)
		}
	}
	return err
}

func (w *wired) Delete(ctx context.Context, keys ...string) error {
	err := w.marking.Delete(ctx, keys...)
	w.told(keys...)
	return err
}

func (w *wired) Announce(context.Context, ...string) error { return nil }

func (w *wired) Watch(ctx context.Context, tell func(autorefresh.Notice)) error {
	mine := hearer{make(chan []string, noticesKept), ctx.Done()}
	w.hearers <- mine
	tell(autorefresh.Notice{Gap: true})
	for {
		select {
		case names := <-mine.names:
			tell(autorefresh.Notice{Keys: names, Gap: len(names) == 0})
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// database is a source whose values are set by hand.
type database struct {
	value, calls atomic.Int64
	cost         atomic.Int64 // nanoseconds
}

func (d *database) refresh(context.Context, int, int) (int, error) {
	d.calls.Add(1)
	v := d.value.Load()
	time.Sleep(time.Duration(d.cost.Load()))
	return int(v), nil
}

// inWired runs a test with two caches that watch one store, and have loaded item 1.
func inWired(t *testing.T, o options, test func(t *testing.T, w *wired, d *database, a, b *cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, d := newWired(t), new(database)
		o.Store, o.Watch = w, true
		all := replicas(t, 2, o, d.refresh)
		defer mustClose(t, all[0])
		defer mustClose(t, all[1])
		for _, c := range all {
			if _, err := c.Load(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		settle(2 * time.Second)
		test(t, w, d, all[0], all[1])
	})
}

func mustBe(t *testing.T, c *cache, what string, want int) {
	t.Helper()
	if v, ok := c.Get(1); !ok || v != want {
		t.Errorf("%s: Get(1) = %d, %v, want %d", what, v, ok, want)
	}
}

func TestChangesReachTheOtherProcess(t *testing.T) {
	inWired(t, options{Period: time.Hour}, func(t *testing.T, _ *wired, d *database, a, b *cache) {
		calls := d.calls.Load()
		if err := a.Set(t.Context(), 1, 5); err != nil {
			t.Fatal(err)
		}
		settle(30 * time.Millisecond)
		mustBe(t, b, "set by the other", 5)
		mustBe(t, a, "set by itself", 5)
		if err := b.Set(t.Context(), 1, 6); err != nil {
			t.Fatal(err)
		}
		settle(30 * time.Millisecond)
		mustBe(t, a, "set by the other", 6)
		mustBe(t, b, "set by itself", 6)
		if n := a.Stats().NoticesDoubted + b.Stats().NoticesDoubted; n > 0 || d.calls.Load() > calls {
			t.Errorf("%d items doubted and %d calls because of what was set", n, d.calls.Load()-calls)
		}
		a.Delete(1)
		settle(30 * time.Millisecond)
		if _, ok := b.Get(1); ok {
			t.Error("what the other has deleted is there")
		}
		d.value.Store(7)
		_, _ = b.Load(t.Context(), 1)
		settle(30 * time.Millisecond)
		mustBe(t, b, "loaded after the deletion", 7)
		_, _ = a.Load(t.Context(), 1)
		d.value.Store(8)
		if err := a.Refresh(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		settle(30 * time.Millisecond)
		mustBe(t, b, "refreshed by the other", 8)
	})
}

// What a call got that began before another process has set a value or deleted it is not kept.
func TestACallFromBeforeAChangeElsewhereIsNotKept(t *testing.T) {
	for _, what := range []string{"load", "refresh"} {
		inWired(t, options{Period: time.Hour}, func(t *testing.T, _ *wired, d *database, a, b *cache) {
			if what == "load" {
				b.Delete(1)
				settle(time.Second)
			}
			d.value.Store(1)
			d.cost.Store(int64(200 * time.Millisecond))
			go func() {
				if what == "load" {
					_, _ = b.Load(context.Background(), 1)
				} else {
					_ = b.Refresh(context.Background(), 1)
				}
			}()
			settle(100 * time.Millisecond)
			d.value.Store(2)
			if err := a.Set(t.Context(), 1, 2); err != nil {
				t.Fatal(err)
			}
			settle(time.Second)
			d.value.Store(3)
			if v, err := b.Load(t.Context(), 1); v != 2 || err != nil {
				t.Errorf("%s: Load(1) = %d, %v, want the 2 that the other has set", what, v, err)
			}
		})
	}
}

func TestInvalidationsReachTheOtherProcess(t *testing.T) {
	inWired(t, options{Period: time.Minute, MaxPeriod: 100 * time.Hour}, func(t *testing.T, _ *wired, d *database, a, b *cache) {
		_, _, _ = b.GetOrCreate(2, 0) // the other has no such item
		settle(2 * time.Minute)
		d.value.Store(9)
		if err := a.InvalidateAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle(30 * time.Millisecond)
		if _, ok := b.Get(2); !ok {
			t.Error("an invalidated item is not answered meanwhile")
		}
		settle(time.Minute + time.Second)
		for key := 1; key <= 2; key++ {
			if v, ok := b.Get(key); v != 9 || !ok {
				t.Errorf("a period later: Get(%d) = %d, %v, want 9", key, v, ok)
			}
		}
	})
}

func TestFinalAndNegativeItemsFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var final, missing atomic.Bool
		o := options{Period: time.Hour, NegativeTTL: time.Hour, Store: newWired(t), Watch: true}
		all := replicas(t, 2, o, func(context.Context, int, int) (int, error) {
			switch {
			case missing.Load():
				return 0, autorefresh.ErrNotFound
			case final.Load():
				return 4, autorefresh.ErrTerminal
			}
			return 3, nil
		})
		defer mustClose(t, all[0])
		defer mustClose(t, all[1])
		missing.Store(true)
		for _, c := range all {
			if _, err := c.Load(t.Context(), 1); !errors.Is(err, autorefresh.ErrNotFound) {
				t.Fatal(err)
			}
		}
		settle(time.Second)
		_ = all[0].Set(t.Context(), 1, 2)
		settle(30 * time.Millisecond)
		if v, err := all[1].Load(t.Context(), 1); v != 2 || err != nil {
			t.Errorf("after Set elsewhere: %d, %v, want 2, not that there is none", v, err)
		}
		missing.Store(false)
		final.Store(true)
		go func() {
			if v, err := all[1].Wait(t.Context(), 1, func(v int) bool { return v == 4 }); v != 4 || err != nil {
				t.Errorf("who waits for the end got %d, %v", v, err)
			}
		}()
		settle(time.Millisecond)
		_ = all[0].Refresh(t.Context(), 1)
		settle(30 * time.Millisecond)
		if e, ok := all[1].Lookup(1); !ok || !e.Terminal || e.Value != 4 {
			t.Errorf("final elsewhere: %+v, %v", e, ok)
		}
		_ = all[0].Set(t.Context(), 1, 5)
		settle(30 * time.Millisecond)
		if e, ok := all[1].Lookup(1); !ok || e.Terminal || e.Value != 5 {
			t.Errorf("final no more: %+v, %v", e, ok)
		}
	})
}

// ledger is a source that remembers all writes.
type ledger struct {
	mu     sync.Mutex
	values map[int]int
	calls  int
}

func (l *ledger) refresh(_ context.Context, key, _ int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	return l.values[key], nil
}

// write writes to the source, then to a cache.
func (l *ledger) write(c *cache, key, v int) {
	l.mu.Lock()
	l.values[key] = v
	l.mu.Unlock()
	_ = c.Set(context.Background(), key, v)
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

// A process that could not be told for 30 s has all that was written meanwhile a second later. No
// item is missed meanwhile, and the source is asked no more than without a cut.
func TestACutIsMadeUpFor(t *testing.T) {
	const period = 40 * time.Second
	items := cut(5_000, 4)
	untouched, gone := items*3/5, items*4/5
	calls := func(cut bool) (n int) {
		synctest.Test(t, func(t *testing.T) {
			w, l := newWired(t), &ledger{values: make(map[int]int)}
			all := replicas(t, 2, options{Period: period, Store: w, Watch: true, IdleFor: time.Hour}, l.refresh)
			defer mustClose(t, all[0])
			defer mustClose(t, all[1])
			a, b := all[0], all[1]
			for key := range items {
				_, _ = a.Load(t.Context(), key)
				_, _ = b.Load(t.Context(), key)
			}
			settle(2 * period)
			before := l.count()
			deleted := make(map[int]time.Time)
			w.cut.Store(cut)
			for second := range 30 {
				for key := second * 10; key < second*10+10; key++ {
					l.write(a, key, 1_000+key)
				}
				a.Delete(gone + second)
				deleted[gone+second] = time.Now()
				settle(time.Second)
			}
			missed := 0
			for key := range 300 {
				if v, _ := b.Get(key); v != 1_000+key {
					missed++
				}
			}
			if cut && missed < 10 { // some have been refreshed meanwhile
				t.Errorf("%d of 300 changes were missed: the cut is none", missed)
			}
			w.mend()
			for range 20 {
				settle(50 * time.Millisecond)
				if _, ok := b.Get(untouched); !ok {
					t.Error("an item is missed meanwhile")
				}
			}
			for key := range 300 {
				if v, ok := b.Get(key); !ok || v != 1_000+key {
					t.Fatalf("a second after the cut Get(%d) = %d, %v", key, v, ok)
				}
			}
			for key, at := range deleted { // unless it has got it from the source since
				if e, ok := b.Lookup(key); ok && e.LoadedAt.Before(at) {
					t.Errorf("a second after the cut an item is there that was deleted %v before", time.Since(at))
				}
			}
			n = l.count() - before
		})
		return n
	}
	without, with := calls(false), calls(true)
	t.Logf("%d calls of the source in half a minute without a cut, %d with one", without, with)
	if float64(with) > 1.5*float64(without) {
		t.Errorf("%d calls of the source with a cut, %d without one", with, without)
	}
}

// A value that is set while it is being deleted as owed was lost for the second level: what is on
// its way was taken for owed.
func TestWhatIsBeingSetIsNotTakenForOwed(t *testing.T) {
	for _, store := range []autorefresh.Store{newShared(), marking{leasing{newShared()}}} {
		synctest.Test(t, func(t *testing.T) {
			d := new(database)
			all := replicas(t, 2, options{Period: time.Hour, Store: store}, d.refresh)
			defer mustClose(t, all[0])
			defer mustClose(t, all[1])
			for key := range 3 {
				_ = all[0].Set(t.Context(), key, 5)
				settle(2 * time.Second)
				if v, err := all[1].Load(t.Context(), key); v != 5 || err != nil || d.calls.Load() > 0 {
					t.Errorf("%T: Load(%d) of another process = %d, %v after %d calls, want the 5 that was set", store, key, v, err, d.calls.Load())
				}
			}
		})
	}
}

// A load that was overtaken by Set deleted from the second level what had been set.
func TestALoadThatWasOvertakenLeavesTheSecondLevelAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(database)
		d.cost.Store(int64(time.Second))
		all := replicas(t, 2, options{Period: time.Hour, Store: marking{leasing{newShared()}}}, d.refresh)
		defer mustClose(t, all[0])
		defer mustClose(t, all[1])
		go func() { _, _ = all[0].Load(context.Background(), 1) }()
		settle(500 * time.Millisecond)
		_ = all[0].Set(t.Context(), 1, 5)
		settle(2 * time.Second)
		if v, err := all[1].Load(t.Context(), 1); v != 5 || err != nil || d.calls.Load() != 1 {
			t.Errorf("Load(1) of another process = %d, %v after %d calls, want the 5 that was set", v, err, d.calls.Load())
		}
	})
}

func TestWatchNeedsAWatcher(t *testing.T) {
	for _, store := range []autorefresh.Store{nil, newShared()} {
		if _, err := autorefresh.New(new(database).refresh, options{Period: time.Hour, Store: store, Watch: true}); err == nil {
			t.Errorf("a store of type %s may be watched", fmt.Sprintf("%T", store))
		}
	}
}
