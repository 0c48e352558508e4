package autorefresh_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

func TestOutageLosesNothingAndRecoversEvenly(t *testing.T) {
	const period = 10 * time.Second
	items := cut(10_000, 4)
	s := newSource()
	var kinds []string
	o := options{Period: period, Workers: 32, OnEvent: func(e autorefresh.Event[int]) {
		if e.Kind == autorefresh.SourceDown || e.Kind == autorefresh.SourceUp {
			kinds = append(kinds, e.Kind.String())
		}
	}}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		createMany(t, c, items)
		settle(3 * period)
		s.setFail(func(int) error { return errDown })
		settle(time.Minute)
		before := s.count()
		settle(5 * time.Minute)
		if perSecond := float64(s.count()-before) / 300; perSecond > 2 {
			t.Errorf("%.1f calls/s of a dead source, want 2 at most", perSecond)
		}
		if n := c.Stats(); n.Items != items || n.Source == breaker.Closed {
			t.Errorf("Stats() = %+v in the outage, want all items and an open breaker", n)
		}
		for key := range items {
			if _, ok := c.Get(key); !ok {
				t.Fatalf("Get(%d) misses in the outage", key)
			}
		}

		s.setFail(nil)
		for c.Stats().Source != breaker.Closed {
			settle(10 * time.Millisecond)
		}
		back := time.Now()
		peak, last := 0, s.count()
		for range 20 {
			settle(period / 10)
			peak, last = max(peak, s.count()-last), s.count()
		}
		if even := items / 10; peak > even*3/2 {
			t.Errorf("%d calls in a tenth of a period after the outage, want at most %d", peak, even*3/2)
		}
		for key := range items {
			if e, _ := c.Lookup(key); e.LoadedAt.Before(back.Add(-time.Second)) {
				t.Fatalf("key %d is %v old two periods after the outage", key, time.Since(e.LoadedAt))
			}
		}
	})
	if fmt.Sprint(kinds) != "[source down source up]" {
		t.Errorf("events %v, want source down and source up", kinds)
	}
}

func TestOutageEndsTheBackoffOfItems(t *testing.T) {
	s := newSource()
	o := options{Period: time.Second, MaxBackoff: time.Hour, Breaker: breaker.Options{ConsecutiveFailures: 20, FailureRatio: -1}}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1, 2, 3)
		settle(3 * time.Second)
		s.setFail(func(int) error { return errDown })
		for c.Stats().Source == breaker.Closed {
			settle(time.Second)
		}
		s.setFail(nil)
		settle(5*time.Second + 2*time.Second) // the breaker's longest wait, and two periods
		for key := 1; key <= 3; key++ {
			if e, _ := c.Lookup(key); time.Since(e.LoadedAt) > 6*time.Second {
				t.Errorf("key %d is %v old, want it refreshed after the outage", key, time.Since(e.LoadedAt))
			}
		}
	})
}

func TestOutageIsProbedThroughASingleItem(t *testing.T) {
	s := newSource()
	inBubble(t, options{Period: time.Second, MaxBackoff: time.Hour}, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(3 * time.Second)
		s.setFail(func(int) error { return errDown })
		settle(10 * time.Minute)
		s.setFail(nil)
		settle(5*time.Second + 2*time.Second) // the breaker's longest wait, and two periods
		if e, _ := c.Lookup(1); time.Since(e.LoadedAt) > 6*time.Second {
			t.Errorf("the item is %v old, want it refreshed after the outage", time.Since(e.LoadedAt))
		}
	})
}

func TestSuspendedProcessSpreadsWhatIsOverdue(t *testing.T) {
	s := newSource()
	o := options{Period: 10 * time.Second, First: autorefresh.FirstAfterPeriod}
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.New(s.refresh, o)
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		createMany(t, c, 1000)
		settle(time.Second)
		autorefresh.Leap(c, time.Minute)
		before := s.count()
		settle(time.Second)
		if n := s.count() - before; n < 50 || n > 200 {
			t.Errorf("%d of 1 000 overdue items were refreshed in the first tenth of a period, want about 100", n)
		}
		settle(10 * time.Second)
		if n := s.count() - before; n < 1000 {
			t.Errorf("%d of 1 000 overdue items were refreshed within a period", n)
		}
	})
}

func TestStuckCallHurtsNobodyElse(t *testing.T) {
	for _, workers := range []int{2, 4} {
		s := newSource()
		stuck := func(ctx context.Context, key, old int) (int, error) {
			if key == 0 {
				time.Sleep(time.Hour) // whatever the context says
			}
			return s.refresh(ctx, key, old)
		}
		synctest.Test(t, func(t *testing.T) {
			c, err := autorefresh.New(stuck, options{Period: time.Second, Workers: workers, Timeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			createMany(t, c, 100)
			settle(time.Duration(cut(10, 5)) * time.Minute)
			if n := c.Stats(); n.Stuck != 1 || n.Overruns != 1 || n.Calls != 1 {
				t.Errorf("Stats() = %+v, want one stuck call", n)
			}
			if _, most := s.gaps(); most > 1100*time.Millisecond {
				t.Errorf("%d workers: gap of %v beside a stuck call, want 1.1 s at most", workers, most)
			}
			if err := c.Close(); !errors.Is(err, autorefresh.ErrStuck) {
				t.Errorf("Close() = %v, want ErrStuck", err)
			}
			time.Sleep(time.Hour)
			mustClose(t, c)
		})
	}
}

func TestStuckCallsShrinkThePoolAtLast(t *testing.T) {
	const workers, maxStuck, keys = 4, 2, 20
	calls := make(chan int, 1000)
	free := make(chan struct{})
	stuck := func(_ context.Context, key, old int) (int, error) {
		calls <- key
		<-free
		return old, nil
	}
	synctest.Test(t, func(t *testing.T) {
		free = make(chan struct{})
		calls = make(chan int, 1000)
		before := runtime.NumGoroutine()
		c, err := autorefresh.New(stuck, options{Period: time.Second, Workers: workers, MaxStuck: maxStuck, Timeout: time.Second, NoBreaker: true})
		if err != nil {
			t.Fatal(err)
		}
		createMany(t, c, keys)
		settle(time.Hour)
		if n := len(calls); n != workers+maxStuck {
			t.Errorf("%d calls of a source that hangs, want %d", n, workers+maxStuck)
		}
		if n := runtime.NumGoroutine() - before; n > workers+2+maxStuck {
			t.Errorf("%d goroutines, want %d at most", n, workers+2+maxStuck)
		}
		close(free)
		settle(10 * time.Second)
		if n := c.Stats(); n.Stuck != 0 || n.Updated < 8*keys {
			t.Errorf("Stats() = %+v once the source answers again, want refreshes to go on", n)
		}
		if n := runtime.NumGoroutine() - before; n > workers+2 {
			t.Errorf("%d goroutines once the source answers again, want %d at most", n, workers+2)
		}
		mustClose(t, c)
	})
}

func TestGoexitInTheRefreshFunctionCostsNoWorker(t *testing.T) {
	var calls atomic.Int32
	exits := func(_ context.Context, key, old int) (int, error) {
		if key == 0 || key == 99 {
			runtime.Goexit()
		}
		calls.Add(1)
		return old + 1, nil
	}
	o := options{Period: time.Second, Workers: 1, MaxLoads: 1, NoBreaker: true, MaxBackoff: time.Second}
	inBubble(t, o, exits, func(t *testing.T, c *cache) {
		create(t, c, 0, 1)
		settle(30 * time.Second)
		if n := calls.Load(); n < 29 {
			t.Errorf("%d refreshes in 30 s, want 30", n)
		}
		if _, err := c.Load(t.Context(), 99); !errors.Is(err, autorefresh.ErrPanicked) {
			t.Errorf("Load(99): %v, want ErrPanicked", err)
		}
		if v, err := c.Load(t.Context(), 50); err != nil || v != 1 {
			t.Errorf("Load(50) = %d, %v, want 1", v, err)
		}
	})
}

// Refreshes ordered while the source was on trial, other than the trial, were waited for until the
// end of the outage, however the trial went.
func TestOrderBesideATrialIsToldHowThatWent(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	o := options{Period: time.Hour, First: autorefresh.FirstAfterPeriod, Breaker: breaker.Options{QuietTime: -1}}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		createMany(t, c, 10)
		s.setFail(func(int) error { return errDown })
		for key := 0; c.Stats().Source != breaker.HalfOpen; key = (key + 1) % 10 {
			_ = c.Refresh(t.Context(), key)
			settle(50 * time.Millisecond)
		}
		var waiting sync.WaitGroup
		var told atomic.Int32
		for key := range 5 {
			waiting.Go(func() {
				if err := c.Refresh(context.Background(), key); !errors.Is(err, errDown) && !errors.Is(err, autorefresh.ErrUnavailable) {
					t.Errorf("Refresh(%d) = %v", key, err)
				}
				told.Add(1)
			})
		}
		settle(5 * time.Second)
		if told.Load() != 5 {
			t.Errorf("%d of 5 orders have ended", told.Load())
		}
		s.setFail(nil)
		settle(time.Minute)
		waiting.Wait()
	})
}
