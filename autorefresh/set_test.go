package autorefresh_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

func set(t *testing.T, c *cache, key, v int) {
	t.Helper()
	if err := c.Set(t.Context(), key, v); err != nil {
		t.Errorf("Set(%d, %d) = %v", key, v, err)
	}
}

func TestSetIsNotUndoneByARefreshThatBeganBefore(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	inBubble(t, options{Period: time.Minute, First: autorefresh.FirstImmediate}, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(500 * time.Millisecond)
		set(t, c, 1, 100)
		wantValue(t, c, 1, 100)
		settle(50 * time.Second)
		wantValue(t, c, 1, 100)
		settle(15 * time.Second) // a period after Set
		wantValue(t, c, 1, 2)
		if n := s.count(); n != 2 {
			t.Errorf("%d calls of the source, want 2", n)
		}
	})
}

func TestSetAnswersLoadsUnderWay(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	inBubble(t, options{Period: time.Minute}, s.refresh, func(t *testing.T, c *cache) {
		var loads sync.WaitGroup
		for range 3 {
			loads.Go(func() {
				if v, err := c.Load(t.Context(), 1); v != 100 || err != nil {
					t.Errorf("Load = %d, %v, want what was set", v, err)
				}
			})
		}
		settle(500 * time.Millisecond)
		began := time.Now()
		set(t, c, 1, 100)
		loads.Wait()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("loads waited %v after Set", waited)
		}
		settle(10 * time.Second) // the load has returned
		wantValue(t, c, 1, 100)
		c.Delete(1)
		if v, err := c.Load(t.Context(), 1); v != 2 || err != nil {
			t.Errorf("Load after Delete = %d, %v, want the source's second value", v, err)
		}
	})
}

func TestSetDuringALoadThatWaitsForItsTurn(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	inBubble(t, options{Period: time.Minute, MaxLoads: 1}, s.refresh, func(t *testing.T, c *cache) {
		var loads sync.WaitGroup
		for key := range 3 {
			loads.Go(func() { _, _ = c.Load(t.Context(), key) })
			settle(time.Millisecond)
		}
		set(t, c, 1, 100)
		loads.Wait()
		wantValue(t, c, 1, 100)
		if n := len(s.startsOf(1)); n != 0 {
			t.Errorf("%d calls of the source for a key that was set, want none", n)
		}
	})
}

func TestSetWakesWaitersAndIsNoRefresh(t *testing.T) {
	s := newSource()
	inBubble(t, options{Period: time.Hour, First: autorefresh.FirstAfterPeriod}, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1, 2)
		var waits sync.WaitGroup
		waits.Go(func() {
			if v, err := c.Wait(t.Context(), 1, atLeast(100)); v != 100 || err != nil {
				t.Errorf("Wait = %d, %v, want 100", v, err)
			}
		})
		settle(time.Second)
		began := time.Now()
		set(t, c, 1, 100)
		waits.Wait()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Wait returned %v after Set", waited)
		}
		s.cost = time.Second
		waits.Go(func() {
			if err := c.Refresh(t.Context(), 2); err != nil {
				t.Errorf("Refresh = %v", err)
			}
			if n := len(s.startsOf(2)); n == 0 {
				t.Error("Refresh returned before the source was asked")
			}
		})
		set(t, c, 2, 100)
		waits.Wait()
	})
}

func TestSetOfWhatIsNotThere(t *testing.T) {
	s := newSource()
	s.fail = func(key int) error {
		switch key {
		case 1:
			return autorefresh.ErrNotFound
		case 2:
			return autorefresh.ErrTerminal
		}
		return nil
	}
	o := options{Period: time.Minute, NegativeTTL: time.Hour, MaxItems: 4, BatchSize: 1, Overflow: autorefresh.Reject}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		for key := range 3 {
			_, _ = c.Load(t.Context(), key)
		}
		s.setFail(nil)
		for key := range 4 {
			set(t, c, key, 100)
			wantValue(t, c, key, 100)
		}
		settle(61 * time.Second)
		if v, _ := c.Get(2); v == 100 {
			t.Error("a value set in place of a final one is not refreshed")
		}
		if err := c.Set(t.Context(), 4, 1); !errors.Is(err, autorefresh.ErrFull) {
			t.Errorf("Set in a full cache = %v, want ErrFull", err)
		}
		if n := c.Stats(); n.Items != 4 || n.Terminal+n.Absent != 0 {
			t.Errorf("Stats() = %d items, %d terminal, %d absent, want 4, 0, 0", n.Items, n.Terminal, n.Absent)
		}
		mustClose(t, c)
		if err := c.Set(t.Context(), 0, 1); !errors.Is(err, autorefresh.ErrClosed) {
			t.Errorf("Set after Close = %v, want ErrClosed", err)
		}
	})
}

func TestUpdateSeesEveryOther(t *testing.T) {
	const workers, each = 8, 500
	c, err := autorefresh.New(newSource().refresh, options{Period: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, c)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range each {
				if _, err := c.Update(t.Context(), 1, func(old int, _ bool) (int, bool) { return old + 1, true }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	wantValue(t, c, 1, workers*each)
	if v, err := c.Update(t.Context(), 1, func(int, bool) (int, bool) { return 0, false }); v != workers*each || err != nil {
		t.Errorf("Update that stores nothing = %d, %v", v, err)
	}
}

// A call of another process that read the source before it was written to must not bring the old
// value back.
func TestSetIsNotUndoneByAnotherProcess(t *testing.T) {
	for name, store := range map[string]func() autorefresh.Store{
		"plain":      func() autorefresh.Store { return newShared() },
		"with marks": func() autorefresh.Store { return marking{leasing{newShared()}} },
	} {
		for _, after := range []time.Duration{1, 100 * time.Millisecond, 199 * time.Millisecond} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var database atomic.Int64
					source := func(context.Context, int, int) (int, error) {
						v := database.Load()
						time.Sleep(200 * time.Millisecond)
						return int(v), nil
					}
					all := replicas(t, 3, options{Period: 10 * time.Minute, Store: store(), First: autorefresh.FirstAfterPeriod}, source)
					for _, c := range all {
						defer mustClose(t, c)
					}
					_, _ = all[1].Load(t.Context(), 1)
					go func() { _ = all[1].Refresh(context.Background(), 1) }()
					time.Sleep(after)
					database.Store(1)
					set(t, all[0], 1, 1)
					time.Sleep(time.Second)
					if v, err := all[2].Load(t.Context(), 1); v != 1 || err != nil {
						t.Errorf("after %v: Load of a third process = %d, %v, want what was set", after, v, err)
					}
				})
			})
		}
	}
}

func TestSetInAnOutageOfTheSecondLevelIsMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newShared()
		s := newSource()
		all := replicas(t, 2, options{Period: time.Hour, Store: store, First: autorefresh.FirstAfterPeriod}, s.refresh)
		defer mustClose(t, all[0])
		defer mustClose(t, all[1])
		_, _ = all[0].Load(t.Context(), 1)
		_, _ = all[0].Load(t.Context(), 2)
		store.setDown(errDown)
		if err := all[0].Set(t.Context(), 1, 100); !errors.Is(err, errDown) {
			t.Errorf("Set in an outage = %v, want its error", err)
		}
		wantValue(t, all[0], 1, 100)
		store.setDown(nil)
		settle(2 * time.Second)
		_, _ = all[0].Load(t.Context(), 3) // tells the store
		if v, err := all[1].Load(t.Context(), 1); v != 2 || err != nil {
			t.Errorf("Load of another process = %d, %v, want the source's second value, not its first", v, err)
		}
	})
}
