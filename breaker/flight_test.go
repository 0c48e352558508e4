package breaker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

// traffic makes rate calls a second for a time, each on its own, and returns how many were let
// through.
func traffic(t *testing.T, b *breaker.Breaker, rate int, d time.Duration, call func(ctx context.Context, n int) error) int {
	t.Helper()
	var passed atomic.Int64
	for n := range int(int64(rate) * int64(d) / int64(time.Second)) {
		time.Sleep(time.Second / time.Duration(rate))
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, _ = breaker.Do(ctx, b, func(ctx context.Context) (int, error) {
				passed.Add(1)
				return 0, call(ctx, n)
			})
		}()
	}
	return int(passed.Load())
}

// unanswered is a call that gets no answer.
func unanswered(ctx context.Context, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}

// after is a call that is answered after a time.
func after(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// TestAHangIsSeenBeforeTheFirstError: callers are patient for 30 s. A breaker that counts results
// alone lets all calls of that time in.
func TestAHangIsSeenBeforeTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{SlowCallDuration: 100 * time.Millisecond})
		traffic(t, b, 1000, 20*time.Second, func(ctx context.Context, _ int) error { return after(ctx, 5*time.Millisecond) })
		wantState(t, b, breaker.Closed)
		if passed := traffic(t, b, 1000, 40*time.Second, unanswered); passed > 200 {
			t.Errorf("%d of 40 000 calls went to a dependency that hangs, want 200 at most", passed)
		}
		time.Sleep(time.Minute)
		// Those that are still under way say nothing of a dependency that is well again.
		traffic(t, b, 1000, time.Minute, func(ctx context.Context, _ int) error { return after(ctx, 5*time.Millisecond) })
		wantState(t, b, breaker.Closed)
		if cause := b.Stats().LastCause; cause == nil {
			t.Error("no cause")
		}
	})
}

// TestAFewCallsMayTakeLong: reports, uploads and long polls among others are no hang.
func TestAFewCallsMayTakeLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{SlowCallDuration: 100 * time.Millisecond})
		passed := traffic(t, b, 1000, 20*time.Second, func(ctx context.Context, n int) error {
			if n%5 == 0 {
				return after(ctx, 400*time.Millisecond)
			}
			return after(ctx, 5*time.Millisecond)
		})
		if wantState(t, b, breaker.Closed); passed < 19_900 {
			t.Errorf("%d of 20 000 calls passed", passed)
		}
	})
}

// TestSlowCallsMayBeCountedOnly: a negative ratio trips on nothing.
func TestSlowCallsMayBeCountedOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{SlowCallDuration: 100 * time.Millisecond, SlowCallRatio: -1})
		if passed := traffic(t, b, 1000, 10*time.Second, unanswered); passed < 9_990 {
			t.Errorf("%d of 10 000 calls passed", passed)
		}
		wantState(t, b, breaker.Closed)
		time.Sleep(31 * time.Second)
	})
}

// TestOldCallsDoNotCountAfterTheOutage: what hung before the breaker closed again is of the outage
// before.
func TestOldCallsDoNotCountAfterTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{SlowCallDuration: time.Second, Backoff: func(error, int) time.Duration { return 5 * time.Second }, Probe: func(context.Context) error { return nil }})
		if passed := traffic(t, b, 100, 2*time.Second, unanswered); passed > 175 {
			t.Errorf("%d calls passed", passed)
		}
		for b.State() != breaker.Closed {
			time.Sleep(time.Millisecond)
		}
		opened := b.Stats().Transitions[breaker.Open]
		traffic(t, b, 100, 10*time.Second, func(ctx context.Context, _ int) error { return after(ctx, 5*time.Millisecond) })
		if n := b.Stats().Transitions[breaker.Open]; n != opened {
			t.Errorf("it opened %d times, and %d times again", opened, n-opened)
		}
		time.Sleep(31 * time.Second)
	})
}
