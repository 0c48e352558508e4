package autorefresh_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

func TestLoadIsSharedByAllWhoWait(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	inBubble(t, options{Period: time.Minute, First: autorefresh.FirstAfterPeriod}, s.refresh, func(t *testing.T, c *cache) {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if v, err := c.Load(t.Context(), 1); v != 1 || err != nil {
					t.Errorf("Load(1) = %d, %v, want 1", v, err)
				}
			})
		}
		wg.Wait()
		if n := s.count(); n != 1 {
			t.Errorf("%d calls for 100 loads of a key, want 1", n)
		}
		wantValue(t, c, 1, 1)
		if n := c.Stats(); n.Loads != 1 || n.Items != 1 {
			t.Errorf("Stats() = %+v, want one load", n)
		}
		settle(3 * time.Minute)
		if v, _ := c.Get(1); v < 3 {
			t.Errorf("Get(1) = %d, want it refreshed after the load", v)
		}
	})
}

type ctxKey struct{}

func TestLoadContexts(t *testing.T) {
	var value any
	ended := make(chan error, 10)
	load := func(ctx context.Context, key, _ int) (int, error) {
		value = ctx.Value(ctxKey{})
		select {
		case <-ctx.Done():
			ended <- ctx.Err()
			return 0, ctx.Err()
		case <-time.After(time.Minute):
			return key, nil
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ended = make(chan error, 10)
		o := options{Period: time.Hour, MaxLoads: 1, LoadTimeout: -1, First: autorefresh.FirstAfterPeriod}
		c, err := autorefresh.New(load, o)
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		first, cancelFirst := context.WithTimeout(context.WithValue(t.Context(), ctxKey{}, "trace"), time.Second)
		defer cancelFirst()
		second, cancelSecond := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancelSecond()

		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Load(first, 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Load with a deadline: %v, want DeadlineExceeded", err)
			}
		})
		settle(time.Millisecond)
		wg.Go(func() { _, _ = c.Load(second, 1) })
		settle(1500 * time.Millisecond)
		if len(ended) != 0 {
			t.Error("the load was cancelled when its first caller left, want it to go on for the other")
		}
		wg.Wait()
		synctest.Wait()
		if len(ended) != 1 || value != "trace" {
			t.Errorf("%d loads cancelled, value %v, want one once its last waiter left, with the first caller's values", len(ended), value)
		}

		// One that waits in the queue is given up without a call; later callers get a call of their
		// own.
		wg.Go(func() { _, _ = c.Load(t.Context(), 2) })
		settle(time.Millisecond)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Load(impatient, 3); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Load(3) behind MaxLoads: %v, want DeadlineExceeded", err)
		}
		if v, err := c.Load(t.Context(), 3); v != 3 || err != nil {
			t.Errorf("Load(3) = %d, %v, want 3", v, err)
		}
		wg.Wait()
	})
}

func TestLoadsAreBounded(t *testing.T) {
	var running, most atomic.Int32
	load := func(_ context.Context, key, _ int) (int, error) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		time.Sleep(100 * time.Millisecond)
		return key, nil
	}
	const workers, loads = 4, 10
	inBubble(t, options{Period: time.Hour, Workers: workers, MaxLoads: loads, First: autorefresh.FirstAfterPeriod}, load, func(t *testing.T, c *cache) {
		before := runtime.NumGoroutine()
		var wg sync.WaitGroup
		for key := range 1000 {
			wg.Go(func() {
				if v, err := c.Load(t.Context(), key); v != key || err != nil {
					t.Errorf("Load(%d) = %d, %v", key, v, err)
				}
			})
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before - 1000; n > loads {
			t.Errorf("%d goroutines for loads, want %d at most", n, loads)
		}
		wg.Wait()
		if n := most.Load(); n != loads {
			t.Errorf("%d loads at once, want %d", n, loads)
		}
	})
}

func TestLoadMulti(t *testing.T) {
	var calls [][]int
	batch := func(_ context.Context, items []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
		var keys []int
		for i, item := range items {
			if item.Known {
				t.Errorf("load of key %d is said to know it", item.Key)
			}
			keys = append(keys, item.Key)
			switch {
			case item.Key == 7:
				out[i].Err = autorefresh.ErrNotFound
			case item.Key == 8:
				out[i].Err = errDown
			case item.Key != 9:
				out[i] = autorefresh.Result[int]{Value: item.Key * 10}
			}
		}
		calls = append(calls, keys)
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.NewBatch(batch, options{Period: time.Hour, BatchSize: 10, MaxLoads: 1, First: autorefresh.FirstAfterPeriod})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		create(t, c, 1)
		keys := []int{1, 2, 2}
		for k := 3; k < 30; k++ {
			keys = append(keys, k)
		}
		got, err := c.LoadMulti(t.Context(), keys)
		if !errors.Is(err, errDown) || !errors.Is(err, autorefresh.ErrNoResult) || errors.Is(err, autorefresh.ErrNotFound) {
			t.Errorf("LoadMulti: %v, want the failures joined, and not what is not found", err)
		}
		if len(got) != 26 || got[1] != 0 || got[2] != 20 || got[29] != 290 {
			t.Errorf("LoadMulti = %v", got)
		}
		if len(calls) != 3 {
			t.Errorf("calls for %v, want 3 of 10 keys at most", calls)
		}
	})
}

func TestNegativeCaching(t *testing.T) {
	found := false
	calls := 0
	load := func(context.Context, int, int) (int, error) {
		if calls++; !found {
			return 0, autorefresh.ErrNotFound
		}
		return 5, nil
	}
	miss := func(t *testing.T, c *cache) {
		t.Helper()
		if _, err := c.Load(t.Context(), 1); !errors.Is(err, autorefresh.ErrNotFound) {
			t.Errorf("Load(1): %v, want ErrNotFound", err)
		}
	}
	inBubble(t, options{Period: time.Hour, NegativeTTL: time.Minute}, load, func(t *testing.T, c *cache) {
		miss(t, c)
		miss(t, c)
		wantMiss(t, c, 1)
		if _, ok := c.Lookup(1); ok || calls != 1 || c.Stats().Absent != 1 {
			t.Errorf("%d calls, Lookup %v, %d negative entries, want 1 call and 1 entry that is not found", calls, ok, c.Stats().Absent)
		}
		for range c.All() {
			t.Error("All() has a negative entry")
		}
		settle(2 * time.Minute)
		miss(t, c)
		if calls != 2 {
			t.Errorf("%d calls after NegativeTTL, want 2", calls)
		}
		if c.Delete(1) {
			t.Error("Delete(1) = true for a negative entry")
		}
		miss(t, c)
		if calls != 3 {
			t.Errorf("%d calls after Delete, want 3", calls)
		}
		if v, created, err := c.GetOrCreate(1, 8); v != 8 || !created || err != nil {
			t.Errorf("GetOrCreate(1) over a negative entry = %d, %v, %v", v, created, err)
		}
		if n := c.Stats(); n.Absent != 0 || n.Items != 1 {
			t.Errorf("Stats() = %+v", n)
		}
	})
	found, calls = false, 0
	inBubble(t, options{Period: time.Hour}, load, func(t *testing.T, c *cache) {
		miss(t, c)
		found = true
		if v, err := c.Load(t.Context(), 1); v != 5 || err != nil {
			t.Errorf("Load(1) = %d, %v: remembered that it was not there without NegativeTTL", v, err)
		}
	})
}

func TestDeleteDuringLoad(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	inBubble(t, options{Period: time.Hour}, s.refresh, func(t *testing.T, c *cache) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if v, err := c.Load(t.Context(), 1); v != 1 || err != nil {
				t.Errorf("Load(1) = %d, %v, want the value of its own call", v, err)
			}
		})
		settle(500 * time.Millisecond)
		c.Delete(1)
		if v, err := c.Load(t.Context(), 1); v != 2 || err != nil {
			t.Errorf("Load(1) after Delete = %d, %v, want the value of another call", v, err)
		}
		wg.Wait()
		wantValue(t, c, 1, 2)
		if s.overlaps != 0 {
			t.Errorf("%d calls for a key while another was under way", s.overlaps)
		}
	})
}

func TestLoadWhileADeletedItemIsRefreshed(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	inBubble(t, options{Period: time.Minute, First: autorefresh.FirstImmediate}, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(500 * time.Millisecond)
		c.Delete(1)
		wantMiss(t, c, 1)
		if v, err := c.Load(t.Context(), 1); v != 2 || err != nil {
			t.Errorf("Load(1) = %d, %v, want 2", v, err)
		}
		c.Delete(1)
		create(t, c, 1)
		settle(10 * time.Second)
		if s.overlaps != 0 {
			t.Errorf("%d calls for a key while another was under way", s.overlaps)
		}
	})
}

func TestLoadFailsFastInAnOutage(t *testing.T) {
	s := newSource()
	s.setFail(func(int) error { return errDown })
	o := options{Period: time.Hour, Breaker: breaker.Options{ConsecutiveFailures: 3}}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		for range 3 {
			if _, err := c.Load(t.Context(), 1); !errors.Is(err, errDown) {
				t.Errorf("Load(1): %v, want the source's error", err)
			}
		}
		if _, err := c.Load(t.Context(), 1); !errors.Is(err, autorefresh.ErrUnavailable) || !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("Load(1): %v, want ErrUnavailable and breaker.ErrOpen", err)
		}
		if n := s.count(); n != 3 {
			t.Errorf("%d calls, want 3", n)
		}
	})
}

func TestLoadUnchangedIsAFailure(t *testing.T) {
	load := func(context.Context, int, int) (int, error) { return 0, autorefresh.ErrUnchanged }
	inBubble(t, options{Period: time.Hour}, load, func(t *testing.T, c *cache) {
		if _, err := c.Load(t.Context(), 1); !errors.Is(err, autorefresh.ErrUnchanged) {
			t.Errorf("Load(1): %v, want ErrUnchanged", err)
		}
		wantMiss(t, c, 1)
	})
}

func TestMaxStale(t *testing.T) {
	for _, x := range []struct {
		policy autorefresh.StalePolicy
		served bool
	}{{autorefresh.StaleFails, false}, {autorefresh.StaleBlocks, false}, {autorefresh.StaleServed, true}} {
		s := newSource()
		var stale int
		o := options{
			Period: 10 * time.Second, MaxStale: time.Minute, WhenStale: x.policy, MaxBackoff: time.Minute,
			OnEvent: func(e autorefresh.Event[int]) {
				if e.Kind == autorefresh.Stale {
					stale++
				}
			},
		}
		inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
			createMany(t, c, 20)
			settle(30 * time.Second)
			s.setFail(func(int) error { return errDown })
			settle(45 * time.Second)
			for key := range 20 {
				if _, ok := c.Get(key); !ok {
					t.Fatalf("policy %d: Get(%d) misses before MaxStale", x.policy, key)
				}
			}
			settle(20 * time.Second)
			for key := range 20 {
				if _, ok := c.Get(key); ok != x.served {
					t.Fatalf("policy %d: Get(%d) = %v after MaxStale, want %v", x.policy, key, ok, x.served)
				}
			}
			if e, ok := c.Lookup(1); !ok || !e.Stale || stale != 20 || c.Stats().Stale != 20 {
				t.Errorf("policy %d: Lookup(1) = %+v, %v; %d events, %d stale; want it stale", x.policy, e, ok, stale, c.Stats().Stale)
			}
			_, err := c.Load(t.Context(), 1)
			if want := !x.served; errors.Is(err, autorefresh.ErrStale) != want {
				t.Errorf("policy %d: Load(1): %v", x.policy, err)
			}
			s.setFail(nil)
			settle(20 * time.Second)
			for key := range 20 {
				if _, ok := c.Get(key); !ok {
					t.Fatalf("policy %d: Get(%d) misses after the outage", x.policy, key)
				}
			}
			if n := c.Stats().Stale; n != 0 {
				t.Errorf("policy %d: %d stale items after the outage", x.policy, n)
			}
		})
	}
}

func TestStaleBlocksUntilRefreshed(t *testing.T) {
	s := newSource()
	o := options{Period: 10 * time.Second, MaxStale: 20 * time.Second, WhenStale: autorefresh.StaleBlocks, MaxBackoff: time.Hour, NoBreaker: true}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(25 * time.Second)
		s.setFail(func(int) error { return errDown })
		settle(time.Hour)
		wantMiss(t, c, 1)
		s.setFail(nil)
		calls := s.count()
		if v, err := c.Load(t.Context(), 1); err != nil || v != calls+1 || s.count() != calls+1 {
			t.Errorf("Load(1) = %d, %v after %d calls, want a refreshed value at once", v, err, s.count()-calls)
		}
		wantValue(t, c, 1, calls+1)
	})
}

// The source was called for callers who had given up before, and left alone a moment later.
func TestLoadWhoseContextIsOverCallsNobody(t *testing.T) {
	s := newSource()
	inBubble(t, options{Period: time.Minute, First: autorefresh.FirstAfterPeriod}, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 0)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for key := 1; key <= 10_000; key++ { // few of them were soon enough
			if _, err := c.Load(ctx, key); !errors.Is(err, context.Canceled) {
				t.Errorf("Load(%d) = %v, want the context's error", key, err)
			}
		}
		got, err := c.LoadMulti(ctx, []int{0, 1, 2})
		if _, there := got[0]; !there || len(got) != 1 || !errors.Is(err, context.Canceled) {
			t.Errorf("LoadMulti() = %v, %v, want what is in memory and the context's error", got, err)
		}
		settle(0)
		if s.count() != 0 {
			t.Errorf("%d calls of the source", s.count())
		}
	})
}
