package breaker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/breaker"
)

// silence is a dependency that never answers, called as Go services call: with a context that ends.
func silence(ctx context.Context) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// A hung dependency was never found: the deadlines were the callers', and whatever ended with them
// was ignored. All of a hundred requests waited for it, for as long as they could.
func TestHungDependencyOpensWhateverDeadlineEndsTheCalls(t *testing.T) {
	for name, o := range map[string]breaker.Options{
		"failures": {},
		"slow":     {ConsecutiveFailures: -1, FailureRatio: -1, SlowCallDuration: 100 * time.Millisecond, MinCalls: 5},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, o)
			reached := 0
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				_, _ = breaker.Do(ctx, b, func(ctx context.Context) (int, error) { reached++; return silence(ctx) })
				cancel()
			}
			// One trial at a time goes on, as long as the dependency hangs.
			if s := b.Stats(); reached > 20 || s.Transitions[breaker.Open] == 0 || s.Ignored > 0 {
				t.Errorf("%s: %d of 100 calls reached a dependency that hangs: %+v", name, reached, s)
			}
			if s := b.Stats(); name == "slow" && s.Slow == 0 {
				t.Errorf("%s: Stats() = %+v, want slow calls", name, s)
			}
		})
	}
}

// Do and Allow with Done have judged the same result differently.
func TestDoJudgesAsDoneDoes(t *testing.T) {
	cause := errors.New("shutting down")
	background := func() (context.Context, context.CancelFunc) { return context.Background(), func() {} }
	deadline := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), time.Second)
	}
	canceled := func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(time.Second, func() { cancel(nil) })
		return ctx, func() { cancel(nil) }
	}
	for _, c := range []struct {
		name string
		ctx  func() (context.Context, context.CancelFunc)
		err  func(ctx context.Context) error
		want breaker.Outcome
	}{
		{"the caller's deadline", deadline, func(ctx context.Context) error { return ctx.Err() }, breaker.Failure},
		{"the caller's deadline, wrapped", deadline, func(ctx context.Context) error { return fmt.Errorf("get: %w", ctx.Err()) }, breaker.Failure},
		{"deadline and cancellation", deadline, func(ctx context.Context) error { return errors.Join(context.Canceled, ctx.Err()) }, breaker.Failure},
		{"the caller's cancellation", canceled, func(ctx context.Context) error { return ctx.Err() }, breaker.Ignored},
		{"cancelled, but the call's own limit came first", canceled, func(context.Context) error { return context.DeadlineExceeded }, breaker.Failure},
		{"cancelled, but the dependency failed", canceled, func(context.Context) error { return errDown }, breaker.Failure},
		{"the call's own limit", background, func(context.Context) error { return context.DeadlineExceeded }, breaker.Failure},
		{"the call's own cancellation", background, func(context.Context) error { return context.Canceled }, breaker.Ignored},
		{"a plain failure", background, func(context.Context) error { return errDown }, breaker.Failure},
		{"a success after the deadline", deadline, func(context.Context) error { return nil }, breaker.Success},
	} {
		synctest.Test(t, func(t *testing.T) {
			done, do := newBreaker(t, breaker.Options{}), newBreaker(t, breaker.Options{})
			ctx, cancel := c.ctx()
			defer cancel()
			p, _ := done.Allow()
			_, _ = breaker.Do(ctx, do, func(ctx context.Context) (int, error) {
				if ctx.Done() != nil {
					<-ctx.Done()
				}
				p.Done(c.err(ctx))
				return 0, c.err(ctx)
			})
			for api, b := range map[string]*breaker.Breaker{"Do": do, "Done": done} {
				s := b.Stats()
				if got := map[breaker.Outcome]uint64{breaker.Success: s.Successes, breaker.Failure: s.Failures, breaker.Ignored: s.Ignored}; got[c.want] != 1 {
					t.Errorf("%s, %s: %v, want outcome %v", c.name, api, got, c.want)
				}
			}
		})
	}
	// What the context alone can tell.
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{})
		ctx, cancel := context.WithCancelCause(t.Context())
		_, _ = breaker.Do(ctx, b, func(context.Context) (int, error) { cancel(cause); return 0, context.Cause(ctx) })
		if s := b.Stats(); s.Ignored != 1 {
			t.Errorf("the caller's cancellation by its cause: %+v, want it ignored", s)
		}
		late, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		_, _ = breaker.Do(late, b, func(context.Context) (int, error) { <-late.Done(); return 0, context.Canceled })
		if s := b.Stats(); s.Failures != 1 {
			t.Errorf("a deadline that is called a cancellation: %+v, want a failure", s)
		}
	})
}

// A context that is over when the call begins says nothing about the dependency, whatever the
// classifier makes of the error.
func TestContextThatWasOverBeforeSaysNothing(t *testing.T) {
	for name, classifier := range map[string]func(error) breaker.Outcome{"default": nil, "own": classify} {
		b := newBreaker(t, breaker.Options{ConsecutiveFailures: 1, Classify: classifier})
		expired, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		for _, err := range []error{expired.Err(), errors.New("rpc error: code = DeadlineExceeded")} {
			_, _ = breaker.Do(expired, b, func(context.Context) (int, error) { return 0, err })
		}
		if s := b.Stats(); s.Ignored != 2 || s.State != breaker.Closed {
			t.Errorf("%s classifier: %+v, want both ignored", name, s)
		}
	}
}

// A dependency that had become slower than TrialTimeout was never used again: each trial was taken
// for failed, and its success dropped.
func TestSlowDependencyIsUsedAgain(t *testing.T) {
	for _, c := range []struct {
		takes time.Duration
		every time.Duration // a call
	}{{6 * time.Second, time.Second}, {29 * time.Second, 100 * time.Millisecond}, {time.Minute, 10 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Options{})
			b.Trip(errDown)
			for begin := time.Now(); time.Since(begin) < 5*time.Minute; time.Sleep(c.every) {
				go func() {
					_, _ = breaker.Do(context.Background(), b, func(context.Context) (int, error) { time.Sleep(c.takes); return 0, nil })
				}()
			}
			synctest.Wait()
			if s := b.Stats(); s.State != breaker.Closed {
				t.Errorf("calls take %v: %+v, want closed", c.takes, s)
			}
			time.Sleep(c.takes)
		})
	}
}

// lateTrial is a breaker whose trial has overrun.
func lateTrial(t *testing.T) (*breaker.Breaker, breaker.Permit) {
	t.Helper()
	b := newBreaker(t, breaker.Options{Backoff: func(error, int) time.Duration { return 100 * time.Millisecond }})
	openUntilTrial(t, b)
	p, err := b.Allow()
	if err != nil {
		t.Fatalf("Allow = %v, want a trial", err)
	}
	time.Sleep(5 * time.Second)
	synctest.Wait()
	wantState(t, b, breaker.Open)
	return b, p
}

func TestLateSuccessOfATrialIsBelievedUnlessNewsAreBad(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, b *breaker.Breaker)
		want      breaker.State
	}{
		"nothing":          {func(*testing.T, *breaker.Breaker) {}, breaker.Closed},
		"waits for a call": {func(*testing.T, *breaker.Breaker) { settle(100 * time.Millisecond) }, breaker.Closed},
		"another trial": {func(_ *testing.T, b *breaker.Breaker) {
			settle(100 * time.Millisecond)
			_, _ = b.Allow()
		}, breaker.Closed},
		"another trial overran": {func(_ *testing.T, b *breaker.Breaker) {
			settle(100 * time.Millisecond)
			_, _ = b.Allow()
			settle(5 * time.Second)
		}, breaker.Closed},
		"another trial failed": {func(_ *testing.T, b *breaker.Breaker) {
			settle(100 * time.Millisecond)
			_ = report(b, errDown)
		}, breaker.Open},
		"tripped":         {func(_ *testing.T, b *breaker.Breaker) { b.Trip(errDown) }, breaker.Open},
		"forced open":     {func(_ *testing.T, b *breaker.Breaker) { b.ForceOpen() }, breaker.ForcedOpen},
		"a later outage":  {func(_ *testing.T, b *breaker.Breaker) { b.Reset(); b.Trip(errDown) }, breaker.Open},
		"closed for good": {func(_ *testing.T, b *breaker.Breaker) { _ = b.Close() }, breaker.Open},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, late := lateTrial(t)
			c.meanwhile(t, b)
			late.Done(nil)
			if got := b.State(); got != c.want {
				t.Errorf("%s: State() = %v after the late success, want %v", name, got, c.want)
			}
		})
	}
}

func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Without calls a half-open breaker stayed so for ever, and an alert with it: eight hours of outage
// for one of a second.
func TestHalfOpenEndsWithoutCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{})
		reportTimes(b, 5, errDown)
		settle(8 * time.Hour)
		if s := b.Stats(); s.State != breaker.Closed || s.OpenTime > 2*time.Minute {
			t.Errorf("Stats() = %+v eight hours later, want closed", s)
		}
		// It knows no better than before: the first failure opens it again, unless it answers
		// first.
		_ = report(b, errDown)
		wantState(t, b, breaker.Open)
		settle(time.Hour)
		wantState(t, b, breaker.Closed)
		_ = report(b, nil)
		reportTimes(b, 4, errDown)
		wantState(t, b, breaker.Closed)
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{QuietTime: -1})
		openUntilTrial(t, b)
		settle(8 * time.Hour)
		wantState(t, b, breaker.HalfOpen)
	})
}

// A panic in a callback that runs on a goroutine of the breaker ended the process.
func TestPanickingCallbacksAreSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := newBreaker(t, breaker.Options{
			OnStateChange: func(breaker.Change) { panic("told") },
			Backoff:       func(error, int) time.Duration { panic("asked") },
			Logger:        slog.New(slog.NewTextHandler(&log, nil)),
		})
		openUntilTrial(t, b)
		_ = report(b, nil)
		settle(0)
		wantState(t, b, breaker.Closed)
		for _, want := range []string{"callback=OnStateChange panic=told", "callback=Backoff panic=asked"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("log %q, want %q", log.String(), want)
			}
		}
	})
}

// prometheus.MustRegister of the nil of a failed constructor panicked with a nil pointer, not with
// the constructor's error.
func TestNilIsRefusedWithAReason(t *testing.T) {
	for want, c := range map[string]prometheus.Collector{"nil *Breaker": (*breaker.Breaker)(nil), "nil *Set": (*breaker.Set)(nil)} {
		registry := prometheus.NewRegistry()
		if err := registry.Register(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Register(%s) = %v", want, err)
		}
		metrics := make(chan prometheus.Metric, 1)
		c.Collect(metrics)
		if err := (<-metrics).Write(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Collect of a %s: %v", want, err)
		}
	}
}

// wrapper is an error that wraps another. A nil pointer to it in an error, a slip that is easily
// made, panics when it is asked what it wraps.
type wrapper struct{ cause error }

func (w *wrapper) Error() string { return "wrapped: " + w.cause.Error() }
func (w *wrapper) Unwrap() error { return w.cause }

// The error of a probe was looked at on the breaker's own goroutine, where a panic of its methods
// ended the process.
func TestErrorsWhoseMethodsPanicAreFailures(t *testing.T) {
	var slip *wrapper
	synctest.Test(t, func(t *testing.T) {
		log := new(bytes.Buffer)
		o := breaker.Options{Probe: func(context.Context) error { return slip }, Logger: slog.New(slog.NewTextHandler(log, nil))}
		b := newBreaker(t, o)
		b.Trip(slip)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := b.Stats(); s.State != breaker.Open || s.Probes.Failed < 2 {
			t.Errorf("Stats() = %+v, want probes that have failed", s)
		}
	})
	b := newBreaker(t, breaker.Options{})
	for range 5 {
		_, _ = breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 0, slip })
	}
	if s := b.Stats(); s.State != breaker.Open || s.Failures != 5 {
		t.Errorf("Stats() = %+v, want it open after 5 failures", s)
	}
}

// loud is a slog.Handler that panics.
type loud struct{ slog.Handler }

func (loud) Handle(context.Context, slog.Record) error { panic("loud") }

// A log line is written on the breaker's own goroutine, where the panic of a handler ended the
// process: in the middle of an outage.
func TestALoggerThatPanicsEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(loud{slog.NewTextHandler(new(bytes.Buffer), nil)})
		told := 0
		b := newBreaker(t, breaker.Options{
			Logger: log, Probe: func(context.Context) error { return nil },
			OnStateChange: func(breaker.Change) { told++; panic("OnStateChange") },
		})
		b.Trip(errors.New("down"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if b.State() != breaker.Closed || told < 2 {
			t.Errorf("the breaker is %v after %d changes, want it closed again", b.State(), told)
		}
	})
}
