package autorefresh_test

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

// The original's limiters are those of x/time/rate, with all that they take.
func TestRateLimiterTakesWhatTheOriginalTakes(t *testing.T) {
	for _, x := range []struct {
		tps   float64
		burst int
		free  bool
	}{
		{math.MaxFloat64, 0, true},
		{math.Inf(1), 0, true},
		{math.Inf(1), -1, true},
		{1000, 1, true},
		{1, 0, false},
		{1, -1, false},
		{0, 0, false},
		{-1, 0, false},
		{math.Inf(-1), 0, false},
	} {
		l := autorefresh.NewRateLimiter("jobs", x.tps, x.burst)
		for range 3 {
			if err := l.Wait(t.Context()); (err == nil) != x.free {
				t.Errorf("a limiter of %v with a burst of %d: Wait() = %v", x.tps, x.burst, err)
			}
		}
	}
}

// A process that leads, loses the lead and leads again starts the cache again.
func TestItemStartAfterTheContextEndedStartsAgain(t *testing.T) {
	var calls, running, most atomic.Int32
	var fails atomic.Bool
	sync := func(_ context.Context, obj autorefresh.CacheItem) (autorefresh.CacheItem, error) {
		calls.Add(1)
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		if fails.Load() {
			time.Sleep(10 * time.Second) // whatever the context says
			return nil, errDown
		}
		return obj, nil
	}
	synctest.Test(t, func(t *testing.T) {
		c := autorefresh.NewAutoRefreshCache(sync, nil, time.Second).(*autorefresh.ItemCache)
		for i := range 10 {
			_, _ = c.GetOrCreate(&counted{id: fmt.Sprint(i)})
		}
		for round := range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			c.Start(ctx)
			c.Start(t.Context()) // goes on already
			before := calls.Load()
			settle(10 * time.Second)
			if n := calls.Load() - before; n < 80 || n > 120 {
				t.Errorf("%d callbacks in round %d, want 100", n, round)
			}
			cancel()
			before = calls.Load()
			settle(time.Minute)
			if n := calls.Load() - before; n > 0 {
				t.Errorf("%d callbacks after the end of round %d", n, round)
			}
		}
		// A callback that ignores its context is waited for, and the last Start whose context lives
		// counts.
		fails.Store(true)
		first, cancel := context.WithCancel(t.Context())
		c.Start(first)
		settle(1500 * time.Millisecond)
		cancel()
		second, cancelSecond := context.WithCancel(t.Context())
		c.Start(second)
		cancelSecond()
		third, cancelThird := context.WithCancel(t.Context())
		defer cancelThird()
		c.Start(third)
		fails.Store(false)
		before := calls.Load()
		settle(5 * time.Second)
		if n := calls.Load() - before; n > 0 {
			t.Errorf("%d callbacks beside one that still runs", n)
		}
		settle(20 * time.Second)
		if n := calls.Load() - before; n < 80 || most.Load() != 1 {
			t.Errorf("%d callbacks after it had ended, %d at once; want them to go on, one at a time", n, most.Load())
		}
		mustClose(t, c)
		c.Start(t.Context())
		before = calls.Load()
		settle(10 * time.Second)
		if n := calls.Load() - before; n > 0 {
			t.Errorf("%d callbacks after Close", n)
		}
	})
}

// An outage does not outlive the run in which it began: all fail, the context ends, the next run
// begins with a closed breaker.
func TestItemStartAfterAnOutage(t *testing.T) {
	var calls atomic.Int32
	var fails atomic.Bool
	sync := func(_ context.Context, obj autorefresh.CacheItem) (autorefresh.CacheItem, error) {
		calls.Add(1)
		if fails.Load() {
			return nil, errDown
		}
		return obj, nil
	}
	synctest.Test(t, func(t *testing.T) {
		c := autorefresh.NewAutoRefreshCache(sync, nil, time.Second).(*autorefresh.ItemCache)
		for i := range 100 {
			_, _ = c.GetOrCreate(&counted{id: fmt.Sprint(i)})
		}
		fails.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		c.Start(ctx)
		settle(10 * time.Second)
		if s := c.Breaker().State(); s == breaker.Closed {
			t.Fatal("want an outage")
		}
		cancel()
		settle(time.Second)
		fails.Store(false)
		before := calls.Load()
		c.Start(t.Context())
		settle(3 * time.Second)
		if n := calls.Load() - before; n < 100 || c.Breaker().State() != breaker.Closed {
			t.Errorf("%d callbacks after the outage, the breaker is %v; want 100 or more, closed", n, c.Breaker().State())
		}
		mustClose(t, c)
	})
}
