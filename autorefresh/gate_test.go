package autorefresh_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// crowd is a cache of which many items are due at once, and 200 workers wait before the limiter.
func crowd(t *testing.T, s *source, limiter autorefresh.RateLimiter, items int) *cache {
	t.Helper()
	c, err := autorefresh.New(s.refresh, options{Period: time.Hour, Workers: 200, Limiter: limiter, First: autorefresh.FirstImmediate})
	if err != nil {
		t.Fatal(err)
	}
	createMany(t, c, items)
	settle(4 * time.Second) // more than a tick
	return c
}

// Loads and refreshes waited in one line before the limiter: a user's load behind as many refreshes
// as there are workers.
func TestLoadsGoBeforeRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crowd(t, newSource(), rate.NewLimiter(10, 1), 1000)
		defer mustClose(t, c)
		for i := range 50 {
			begin := time.Now()
			if _, err := c.Load(t.Context(), 10_000+i); err != nil || time.Since(begin) > 200*time.Millisecond {
				t.Fatalf("Load = %v after %v, want it with the first turn or the second", err, time.Since(begin))
			}
			settle(time.Duration(i) * time.Millisecond)
		}
	})
}

// So did a refresh that somebody had ordered and waited for.
func TestOrderedRefreshesGoBeforeOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crowd(t, newSource(), rate.NewLimiter(10, 1), 100)
		defer mustClose(t, c)
		settle(20 * time.Second)
		for key := range 100 {
			create(t, c, 10_000+key)
		}
		settle(4 * time.Second)
		begin := time.Now()
		if err := c.Refresh(t.Context(), 1); err != nil || time.Since(begin) > 200*time.Millisecond {
			t.Errorf("Refresh = %v after %v, want it with the first turn or the second", err, time.Since(begin))
		}
	})
}

// However many loads there are, one turn in eight is for due items.
func TestRefreshesDoNotStarve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crowd(t, newSource(), rate.NewLimiter(10, 1), 1000)
		defer mustClose(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		var loaders sync.WaitGroup
		var next atomic.Int64
		for range 16 {
			loaders.Go(func() {
				for ctx.Err() == nil {
					_, _ = c.Load(ctx, int(10_000+next.Add(1)))
				}
			})
		}
		settle(time.Second)
		before := c.Stats()
		settle(80 * time.Second)
		after := c.Stats()
		if n := after.Updated - before.Updated; n < 95 || n > 105 {
			t.Errorf("%d refreshes with 800 turns, want one turn in eight", n)
		}
		if n := after.Loads - before.Loads; n < 690 || n > 710 {
			t.Errorf("%d loads with 800 turns, want seven turns in eight", n)
		}
		cancel()
		loaders.Wait()
	})
}

// A load that is given up while it waits for a turn costs none, and those behind it come sooner.
func TestLoadsThatAreGivenUpTakeNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		c := crowd(t, s, rate.NewLimiter(10, 1), 1000)
		defer mustClose(t, c)
		var callers sync.WaitGroup
		for i := range 10 {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				defer cancel()
				if _, err := c.Load(ctx, 10_000+i); err == nil {
					t.Log("one of ten has come in time")
				}
			})
		}
		callers.Wait()
		settle(0)
		before := s.count()
		begin := time.Now()
		if _, err := c.Load(t.Context(), 20_000); err != nil || time.Since(begin) > 200*time.Millisecond {
			t.Errorf("Load = %v after %v, want it with the first turn or the second", err, time.Since(begin))
		}
		settle(10*time.Second - time.Since(begin))
		if n := s.count() - before; n < 99 || n > 102 {
			t.Errorf("%d calls in ten seconds, want 100: no turn is lost", n)
		}
	})
}

// A limiter that fails, fails those who wait before it, in whatever line, and nobody waits for
// ever.
func TestLimiterThatFailsKeepsNobodyWaiting(t *testing.T) {
	errLimit := errors.New("limiter is broken")
	synctest.Test(t, func(t *testing.T) {
		limiter := limiterFunc(func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				return errLimit
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		c := crowd(t, newSource(), limiter, 1000)
		defer mustClose(t, c)
		for key := range 20 {
			begin := time.Now()
			_, err := c.Load(t.Context(), 10_000+key)
			if !errors.Is(err, errLimit) || time.Since(begin) > 3*time.Second {
				t.Errorf("Load = %v after %v, want the limiter's error", err, time.Since(begin))
			}
		}
	})
}

type limiterFunc func(ctx context.Context) error

func (f limiterFunc) Wait(ctx context.Context) error { return f(ctx) }
