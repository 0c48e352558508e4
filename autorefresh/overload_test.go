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

// Ten times as many loads as the source can answer: those that it answers must be ones that
// somebody still waits for.
func TestOverloadedSourceWorksForThoseWhoWait(t *testing.T) {
	const seconds, perSecond, patience = 20, 100, 250 * time.Millisecond
	s := newSource()
	s.cost = 100 * time.Millisecond
	o := options{Period: time.Hour, MaxLoads: 1, First: autorefresh.FirstAfterPeriod}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		var answered atomic.Int32
		var callers sync.WaitGroup
		for key := range seconds * perSecond {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if _, err := c.Load(ctx, key); err == nil {
					answered.Add(1)
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Load(%d): %v", key, err)
				}
			})
			time.Sleep(time.Second / perSecond)
		}
		callers.Wait()
		synctest.Wait()
		if n := answered.Load(); n < seconds*10*9/10 {
			t.Errorf("%d of %d loads answered by a source that can answer %d", n, seconds*perSecond, seconds*10)
		}
		if n := c.Stats(); n.Calls != 0 || n.Loads != seconds*perSecond {
			t.Errorf("Stats() = %+v, want all loads ended", n)
		}
	})
}

func TestLoadGivenUpInTheQueueDelaysNobody(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	o := options{Period: time.Hour, MaxLoads: 1, First: autorefresh.FirstAfterPeriod}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		var callers sync.WaitGroup
		load := func(patience time.Duration, key int) {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, _ = c.Load(ctx, key)
			})
			synctest.Wait()
		}
		load(time.Hour, 1)            // under way
		load(100*time.Millisecond, 2) // waits, and gives up
		settle(200 * time.Millisecond)
		load(time.Hour, 3) // waits
		load(time.Hour, 2) // the newest, next
		settle(2500 * time.Millisecond)
		wantValue(t, c, 1, 1)
		wantValue(t, c, 2, 1)
		callers.Wait()
	})
}
