package autorefresh_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

// Once all workers were in refresh functions that waited for items too old to be served, nobody was
// left to refresh those: each such call ended with Timeout, and the source was down for good after
// an outage longer than MaxStale.
func TestRefreshesWaitForOldItems(t *testing.T) {
	for _, workers := range []int{1, 2, 8} {
		synctest.Test(t, func(t *testing.T) {
			var c *texts
			var down atomic.Bool
			base := org(&c)
			refresh := func(ctx context.Context, key, old string) (string, error) {
				if down.Load() {
					return "", errDown
				}
				return base(ctx, key, old)
			}
			c = newTexts(t, refresh, textOptions{
				Period: time.Minute, Workers: workers, MaxStale: 2 * time.Minute, WhenStale: autorefresh.StaleBlocks, First: autorefresh.FirstAfterPeriod,
			})
			defer mustClose(t, c)
			wantAll(t, loadTexts(c, 10*time.Second, users(50)...), 50)
			down.Store(true)
			settle(10 * time.Minute)
			if n := c.Stats(); n.Stale != 100 || n.Source == breaker.Closed {
				t.Fatalf("Stats() = %+v, want an outage", n)
			}
			down.Store(false)
			settle(2 * time.Minute)
			if n := c.Stats(); n.Stale > 0 || n.Failing > 0 || n.Source != breaker.Closed {
				t.Errorf("%d workers: Stats() = %+v two minutes after the outage, want all well", workers, n)
			}
		})
	}
}

// Refreshes in chains, and in a fan: however they wait, no more than Workers are at work, and none
// waits in vain.
func TestRefreshesWithinRefreshes(t *testing.T) {
	const depth, width = 20, 30
	for _, workers := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			var c *cache
			var working, most atomic.Int32
			refresh := func(ctx context.Context, key, old int) (int, error) {
				work := func() {
					if n := working.Add(1); n > most.Load() {
						most.Store(n)
					}
					time.Sleep(time.Millisecond)
					working.Add(-1)
				}
				work()
				var err error
				switch {
				case key == 0:
					keys := make([]int, width)
					for i := range keys {
						keys[i] = 1000 * (i + 1)
					}
					err = c.Refresh(ctx, keys...)
				case key%1000 < depth:
					err = c.Refresh(ctx, key+1)
				}
				return old + 1, err
			}
			c, err := autorefresh.New(refresh, options{Period: 24 * time.Hour, Workers: workers, NoBreaker: true, First: autorefresh.FirstAfterPeriod})
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, c)
			create(t, c, 0)
			for i := range width {
				for d := range depth + 1 {
					create(t, c, 1000*(i+1)+d)
				}
			}
			if err := c.Refresh(t.Context(), 0); err != nil || most.Load() > int32(workers) {
				t.Errorf("Refresh() = %v, %d at work at once, want none and %d at most", err, most.Load(), workers)
			}
			settle(time.Second)
			if n := c.Stats(); n.Updated != width*(depth+1)+1 || n.Failed > 0 || n.Due > 0 {
				t.Errorf("Stats() = %+v", n)
			}
			// Those who were called for nothing else have left.
			if n := runtime.NumGoroutine(); n > 40 {
				t.Errorf("%d goroutines", n)
			}
		})
	}
}

// Two items of which each has the other refreshed waited for each other until Timeout.
func TestRefreshesThatWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *cache
		refresh := func(ctx context.Context, key, _ int) (int, error) {
			time.Sleep(time.Millisecond)
			return 1, c.Refresh(ctx, (key+1)%3)
		}
		c, err := autorefresh.New(refresh, options{Period: time.Hour, NoBreaker: true, First: autorefresh.FirstAfterPeriod})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		create(t, c, 0, 1, 2)
		begin := time.Now()
		if err := c.Refresh(t.Context(), 0); !errors.Is(err, autorefresh.ErrCycle) || time.Since(begin) > time.Second {
			t.Errorf("Refresh() = %v after %v, want ErrCycle at once", err, time.Since(begin))
		}
	})
}

// The trial of a source that has others refreshed is one trial: refused, they would fail it.
func TestTrialMayRefreshOtherItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *cache
		var down atomic.Bool
		refresh := func(ctx context.Context, key, old int) (int, error) {
			switch {
			case down.Load():
				return 0, errDown
			case key < 10:
				return old + 1, c.Refresh(ctx, key+10)
			}
			return old + 1, nil
		}
		c, err := autorefresh.New(refresh, options{Period: time.Minute, Workers: 2, First: autorefresh.FirstAfterPeriod})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		createMany(t, c, 10)
		for key := range 10 {
			create(t, c, key+10)
		}
		down.Store(true)
		settle(5 * time.Minute)
		down.Store(false)
		failed := c.Stats().Failed
		settle(3 * time.Minute)
		if n := c.Stats(); n.Source != breaker.Closed || n.Failing > 0 || n.Failed > failed {
			t.Errorf("Stats() = %+v after the outage, %d failures before, want all well", n, failed)
		}
	})
}
