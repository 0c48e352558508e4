package autorefresh_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

func invalidateAll(t *testing.T, c *cache) {
	t.Helper()
	if err := c.InvalidateAll(t.Context()); err != nil {
		t.Errorf("InvalidateAll() = %v", err)
	}
}

// Items whose periods have grown long are refreshed within one Period, evenly, and read all the
// time.
func TestInvalidateAllSpreadsRefreshes(t *testing.T) {
	const n = 400
	s := newSource()
	var changes atomic.Bool
	refresh := func(ctx context.Context, key, old int) (int, error) {
		v, err := s.refresh(ctx, key, old)
		if !changes.Load() && old != 0 {
			return 0, autorefresh.ErrUnchanged
		}
		return v, err
	}
	o := options{Period: 10 * time.Second, MaxPeriod: 1000 * time.Second, Workers: 64}
	inBubble(t, o, refresh, func(t *testing.T, c *cache) {
		createMany(t, c, n)
		settle(500 * time.Second)
		changes.Store(true)
		before := s.count()
		invalidateAll(t, c)
		last := before
		for range 10 {
			settle(time.Second)
			if most := n / 9 * 2; s.count()-last > most {
				t.Errorf("%d refreshes in a tenth of a period, want at most %d", s.count()-last, most)
			}
			last = s.count()
			for key := range n {
				if _, ok := c.Get(key); !ok {
					t.Fatalf("Get(%d) misses after InvalidateAll", key)
				}
			}
		}
		for key := range n {
			if v, _ := c.Get(key); v != len(s.startsOf(key)) {
				t.Fatalf("Get(%d) = %d a period later, want %d", key, v, len(s.startsOf(key)))
			}
		}
		if made := s.count() - before; made < n {
			t.Errorf("%d of %d items were refreshed within a period", made, n)
		}
	})
}

// versioned is a source whose values are all of its present version.
type versioned struct{ version, calls atomic.Int64 }

func (s *versioned) refresh(context.Context, int, int) (int, error) {
	s.calls.Add(1)
	return int(s.version.Load()), nil
}

// A value that was got before does not come back through the second level, which other processes
// keep filling with it: not for items, not for keys that this process did not have.
func TestInvalidatedValuesDoNotComeBackThroughTheSecondLevel(t *testing.T) {
	for _, level := range []func() autorefresh.Store{
		func() autorefresh.Store { return leasing{newShared()} },
		func() autorefresh.Store { return marking{leasing{newShared()}} },
	} {
		synctest.Test(t, func(t *testing.T) {
			s, store := &versioned{}, level()
			o := options{Period: time.Minute, Store: store, First: autorefresh.FirstAfterPeriod}
			all := replicas(t, 2, o, s.refresh)
			a, b := all[0], all[1]
			defer mustClose(t, a)
			defer mustClose(t, b)
			for _, key := range []int{1, 2} {
				_, _ = b.Load(t.Context(), key)
			}
			_, _ = a.Load(t.Context(), 1)
			s.version.Store(1)
			if n, err := a.InvalidateFunc(t.Context(), func(key, v int) bool { return v == 0 }); n != 1 || err != nil {
				t.Errorf("InvalidateFunc = %d, %v, want 1 item", n, err)
			}
			if v, err := a.Load(t.Context(), 2); v != 1 || err != nil {
				t.Errorf("Load of a key that only the second level had = %d, %v, want 1", v, err)
			}
			wantValue(t, a, 1, 0)
			settle(61 * time.Second)
			wantValue(t, a, 1, 1)
		})
	}
}

// Another process that stores what it got before, after the deletion, does not fool the cache.
func TestInvalidatedValuesOfOthersAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := &versioned{}, newShared()
		o := options{Period: time.Minute, Store: store, First: autorefresh.FirstAfterPeriod}
		a, b := replicas(t, 1, o, s.refresh)[0], replicas(t, 1, o, s.refresh)[0]
		defer mustClose(t, a)
		defer mustClose(t, b)
		_, _ = b.Load(t.Context(), 1)
		kept := store.snapshot()
		s.version.Store(1)
		invalidateAll(t, a)
		store.restore(kept)
		if v, err := a.Load(t.Context(), 1); v != 1 || err != nil {
			t.Errorf("Load = %d, %v, want what the source has now", v, err)
		}
		// What others get from now on is taken, once the clocks cannot explain its date.
		s.version.Store(2)
		settle(10 * time.Second)
		if err := b.Refresh(t.Context(), 1); err != nil {
			t.Error(err)
		}
		a.Delete(1)
		_ = b.Refresh(t.Context(), 1)
		calls := s.calls.Load()
		if v, err := a.Load(t.Context(), 1); v != 2 || err != nil || s.calls.Load() != calls {
			t.Errorf("Load = %d, %v with %d calls, want the other's value adopted", v, err, s.calls.Load()-calls)
		}
	})
}

// The second level is told when it is back, and not read from before.
func TestInvalidateWhileTheSecondLevelIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := &versioned{}, newShared()
		o := options{Period: time.Minute, Store: store, First: autorefresh.FirstAfterPeriod}
		a, b := replicas(t, 1, o, s.refresh)[0], replicas(t, 1, o, s.refresh)[0]
		defer mustClose(t, a)
		defer mustClose(t, b)
		for key := range 3000 {
			_, _ = a.Load(t.Context(), key)
		}
		s.version.Store(1)
		store.setDown(errStoreDown)
		if err := a.InvalidateAll(t.Context()); !errors.Is(err, errStoreDown) {
			t.Errorf("InvalidateAll = %v, want the store's error", err)
		}
		store.setDown(nil)
		settle(2 * time.Second)
		_, _ = a.Load(t.Context(), 5000) // the first call that succeeds makes up for it
		for _, key := range []int{0, 1500, 2999} {
			if v, err := b.Load(t.Context(), key); v != 1 || err != nil {
				t.Errorf("Load(%d) of another process = %d, %v, want what the source has", key, v, err)
			}
		}
	})
}

func TestInvalidateAllOfFinalAndNegativeItems(t *testing.T) {
	var open atomic.Bool
	source := func(_ context.Context, key, _ int) (int, error) {
		switch {
		case key == 1 && !open.Load():
			return autorefresh.Terminal(10)
		case key == 2 && !open.Load():
			return 0, autorefresh.ErrNotFound
		}
		return 20, nil
	}
	inBubble(t, options{Period: time.Minute, NegativeTTL: time.Hour, TerminalTTL: time.Hour}, source, func(t *testing.T, c *cache) {
		_, _ = c.Load(t.Context(), 1)
		_, _ = c.Load(t.Context(), 2)
		open.Store(true)
		invalidateAll(t, c)
		wantValue(t, c, 1, 10)
		if s := c.Stats(); s.Items != 1 || s.Terminal != 0 || s.Absent != 0 {
			t.Errorf("Stats = %+v, want one item that is refreshed", s)
		}
		if v, err := c.Load(t.Context(), 2); v != 20 || err != nil {
			t.Errorf("Load of what was a negative entry = %d, %v, want 20", v, err)
		}
		settle(time.Minute)
		wantValue(t, c, 1, 20)
		settle(2 * time.Hour)
		wantValue(t, c, 1, 20) // its TerminalTTL is forgotten
	})
}

// A refresh that began before is followed by another one.
func TestInvalidateDuringARefresh(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	inBubble(t, options{Period: time.Minute, MaxPeriod: time.Hour, First: autorefresh.FirstImmediate}, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(500 * time.Millisecond)
		invalidateAll(t, c)
		settle(3 * time.Second)
		wantValue(t, c, 1, 2)
	})
}

func TestInvalidateFuncTakesWhatMatches(t *testing.T) {
	s := newSource()
	inBubble(t, options{Period: time.Minute, MaxPeriod: 100 * time.Minute, First: autorefresh.FirstAfterPeriod}, s.refresh, func(t *testing.T, c *cache) {
		createMany(t, c, 10)
		settle(0)
		n, err := c.InvalidateFunc(t.Context(), func(key, _ int) bool { return key%2 == 0 })
		if n != 5 || err != nil {
			t.Errorf("InvalidateFunc = %d, %v, want 5", n, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.InvalidateAll(t.Context()); !errors.Is(err, autorefresh.ErrClosed) {
			t.Errorf("InvalidateAll after Close = %v, want ErrClosed", err)
		}
	})
}

// Many invalidations by predicate are remembered as what they are, or as more than that.
func TestManyInvalidationsForgetNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := &versioned{}, newShared()
		o := options{Period: time.Minute, Store: store, First: autorefresh.FirstAfterPeriod}
		a, b := replicas(t, 1, o, s.refresh)[0], replicas(t, 1, o, s.refresh)[0]
		defer mustClose(t, a)
		defer mustClose(t, b)
		for key := range 100 {
			_, _ = b.Load(t.Context(), key)
		}
		settle(30 * time.Second)
		s.version.Store(1)
		var all sync.WaitGroup
		for key := range 100 {
			all.Go(func() {
				_, _ = a.InvalidateFunc(t.Context(), func(k, _ int) bool { return k == key && (key > 0 || panics()) })
			})
		}
		all.Wait()
		for key := range 100 {
			if v, err := a.Load(t.Context(), key); v != 1 || err != nil {
				t.Errorf("Load(%d) = %d, %v, want 1", key, v, err)
			}
		}
	})
}

func panics() bool { panic("boom") }

// snapshot returns the stored values, for restore.
func (s *shared) snapshot() map[string]sharedValue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.values)
}

// restore puts values back, as a process would that is late.
func (s *shared) restore(values map[string]sharedValue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.values, values)
}

// A refresh was under way, and has got the value that is not to be relied on, as the final one.
func TestInvalidateDuringTheLastRefresh(t *testing.T) {
	var calls atomic.Int64
	refresh := func(_ context.Context, _, _ int) (int, error) {
		n := int(calls.Add(1))
		time.Sleep(time.Second)
		return autorefresh.Terminal(n)
	}
	inBubble(t, options{Period: time.Minute, First: autorefresh.FirstImmediate}, refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(500 * time.Millisecond)
		invalidateAll(t, c)
		settle(time.Minute)
		wantValue(t, c, 1, 2)
		if e, ok := c.Lookup(1); !ok || !e.Terminal {
			t.Errorf("Lookup = %+v, %v, want the final value from after the invalidation", e, ok)
		}
		settle(10 * time.Minute)
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls, want 2: it is final now", n)
		}
	})
}
