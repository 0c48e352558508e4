package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"

	"github.com/holdfast-go/holdfast/breaker"
)

// A hundred calls a second for a minute. Between begins and ends the dependency has its fault. All
// of it is in virtual time.
const (
	begins, ends, over = 10 * time.Second, 40 * time.Second, time.Minute
	distance           = 10 * time.Millisecond
	usual              = 5 * time.Millisecond
)

var errNotFound = errors.New("not found")

// answer is what the dependency does with call number n while it has the fault that began some time
// ago.
type answer func(ctx context.Context, n int, since time.Duration) (int, error)

// fault is what is wrong.
type fault struct {
	name     string
	deadline time.Duration // of each call; 0 is none
	leave    time.Duration // 19 of 20 callers have left by then; 0 is never
	answer   answer
	harmless bool // all that is wrong is with the callers, or with what they ask for
}

// sleep waits, or fails as the called function would.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func well(ctx context.Context) (int, error) {
	if err := sleep(ctx, usual); err != nil {
		return 0, err
	}
	return http.StatusOK, nil
}

func fine(ctx context.Context, _ int, _ time.Duration) (int, error) { return well(ctx) }

func hang(ctx context.Context, _ int, since time.Duration) (int, error) {
	if err := sleep(ctx, ends-begins-since); err != nil {
		return 0, err
	}
	return well(ctx)
}

func refuse(context.Context, int, time.Duration) (int, error) { return 0, errDown }

func unavailable(ctx context.Context, _ int, _ time.Duration) (int, error) {
	if _, err := well(ctx); err != nil {
		return 0, err
	}
	return http.StatusServiceUnavailable, nil
}

// mostly fails four calls of five.
func mostly(ctx context.Context, n int, since time.Duration) (int, error) {
	if n%5 == 0 {
		return well(ctx)
	}
	return refuse(ctx, n, since)
}

func flap(ctx context.Context, n int, since time.Duration) (int, error) {
	if since/time.Second%2 == 1 {
		return well(ctx)
	}
	return refuse(ctx, n, since)
}

func missing(ctx context.Context, n int, _ time.Duration) (int, error) {
	if _, err := well(ctx); err != nil || n%20 == 0 {
		return http.StatusOK, err
	}
	return 0, errNotFound
}

var faults = []fault{ //nolint:gochecknoglobals // a table
	{name: "hangs, callers wait for 1 s", deadline: time.Second, answer: hang},
	{name: "hangs, callers wait for ever", answer: hang},
	{name: "refuses connections", answer: refuse},
	{name: "answers 503, no error in Go", answer: unavailable},
	{name: "four calls of five fail", answer: mostly},
	{name: "down every other second", answer: flap},
	{name: "19 of 20 are not found", answer: missing, harmless: true},
	{name: "19 of 20 callers leave", leave: time.Millisecond, answer: fine, harmless: true},
}

// contestant calls by way of a breaker. It reports whether the call was made, and what came of it.
type contestant func(ctx context.Context, call func(context.Context) (int, error)) (made bool, status int, err error)

// judge is what a careful user tells his breaker.
func judge(status any, err error) breaker.Outcome {
	switch {
	case errors.Is(err, context.Canceled):
		return breaker.Ignored
	case errors.Is(err, errNotFound), err == nil && status != http.StatusServiceUnavailable:
		return breaker.Success
	default:
		return breaker.Failure
	}
}

func holdfast(t *testing.T) contestant {
	t.Helper()
	b, err := breaker.New("table", breaker.Options{Judge: judge, SlowCallDuration: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return func(ctx context.Context, call func(context.Context) (int, error)) (bool, int, error) {
		status, err := breaker.Do(ctx, b, call)
		return !errors.Is(err, breaker.ErrOpen), status, err
	}
}

func sony(*testing.T) contestant {
	b := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
		Timeout: time.Second, Interval: 10 * time.Second, BucketPeriod: time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= 5 || c.Requests >= 20 && 2*c.TotalFailures >= c.Requests
		},
		IsSuccessful: func(err error) bool { return err == nil || errors.Is(err, errNotFound) },
		IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) },
	})
	return func(ctx context.Context, call func(context.Context) (int, error)) (bool, int, error) {
		status, err := b.Execute(func() (int, error) { return call(ctx) })
		return !errors.Is(err, gobreaker.ErrOpenState) && !errors.Is(err, gobreaker.ErrTooManyRequests), status, err
	}
}

func failsafe(*testing.T) contestant {
	b := circuitbreaker.NewBuilder[int]().WithFailureRateThreshold(0.5, 20, 10*time.Second).WithDelay(time.Second).WithSuccessThreshold(1).
		HandleIf(func(status int, err error) bool { return judge(status, err) == breaker.Failure }).Build()
	return func(ctx context.Context, call func(context.Context) (int, error)) (bool, int, error) {
		if !b.TryAcquirePermit() {
			return false, 0, errDown
		}
		status, err := call(ctx)
		if err != nil {
			b.RecordError(err)
		} else {
			b.RecordResult(status)
		}
		return true, status, err
	}
}

// outcome is what a breaker made of a fault.
type outcome struct {
	mu       sync.Mutex
	passed   int           // calls that reached the dependency while it had the fault
	refused  int           // calls that it would have answered well
	good     int           // calls that it has answered well while it had the fault
	recovery time.Duration // after its end, until a call was answered
}

func (o *outcome) with(fn func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fn()
}

// run puts a breaker through a fault.
func (f fault) run(t *testing.T, make func(*testing.T) contestant) (o *outcome) {
	t.Helper()
	o = &outcome{recovery: -1}
	synctest.Test(t, func(t *testing.T) {
		through, begun := make(t), time.Now()
		var calls sync.WaitGroup
		for n := range int(over / distance) {
			calls.Go(func() { f.call(t.Context(), o, through, n, begun) })
			time.Sleep(distance)
		}
		calls.Wait()
	})
	return o
}

func (f fault) call(ctx context.Context, o *outcome, through contestant, n int, begun time.Time) {
	if f.deadline > 0 {
		limited, cancel := context.WithTimeout(ctx, f.deadline)
		defer cancel()
		ctx = limited
	}
	at := time.Since(begun)
	ill := at >= begins && at < ends
	if ill && f.leave > 0 && n%20 != 0 {
		hasty, cancel := context.WithCancel(ctx)
		defer cancel()
		defer time.AfterFunc(f.leave, cancel).Stop()
		ctx = hasty
	}
	made, status, err := through(ctx, func(ctx context.Context) (int, error) {
		if !ill {
			return well(ctx)
		}
		o.with(func() { o.passed++ })
		return f.answer(ctx, n, at-begins)
	})
	answered := made && err == nil && status == http.StatusOK
	o.with(func() {
		switch {
		case !made && (!ill || f.harmless):
			o.refused++
		case answered && ill:
			o.good++
		case answered && at >= ends && o.recovery < 0:
			o.recovery = at - ends
		}
	})
}

// TestFaults shows what becomes of 3 000 calls to a dependency that has a fault, and of those that
// follow. With -v it prints the table of docs/breaker.md.
func TestFaults(t *testing.T) {
	makers := []struct {
		name string
		make func(*testing.T) contestant
	}{{"holdfast", holdfast}, {"gobreaker", sony}, {"failsafe-go", failsafe}}
	var table strings.Builder
	fmt.Fprintln(&table, "| the dependency, or its callers | breaker | calls that reached it of 3 000 | refused though it was well | answered again after |\n|---|---|---|---|---|")
	for _, f := range faults {
		for _, m := range makers {
			o := f.run(t, m.make)
			fmt.Fprintf(&table, "| %s | %s | %d | %d | %.2f s |\n", f.name, m.name, o.passed, o.refused, o.recovery.Seconds())
			if m.name == "holdfast" {
				f.check(t, o)
			}
		}
	}
	t.Logf("\n%s", table.String())
}

// check is what we promise.
func (f fault) check(t *testing.T, o *outcome) {
	t.Helper()
	if f.harmless {
		if o.refused > 0 {
			t.Errorf("%s: %d calls were refused", f.name, o.refused)
		}
		return
	}
	if o.passed > 400 && f.name != "down every other second" {
		t.Errorf("%s: %d calls reached it", f.name, o.passed)
	}
	if o.recovery < 0 || o.recovery > 7*time.Second {
		t.Errorf("%s: answered again after %v", f.name, o.recovery)
	}
}
