package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

func TestForcedStatesHoldUntilReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{Probe: func(context.Context) error { return nil }})
		b.ForceClosed()
		reportTimes(b, 1000, errDown)
		b.Trip(errDown)
		wantState(t, b, breaker.ForcedClosed)
		b.ForceOpen()
		time.Sleep(time.Hour)
		wantState(t, b, breaker.ForcedOpen)
		if err := report(b, nil); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("Allow = %v, want ErrOpen", err)
		}
		b.Reset()
		wantState(t, b, breaker.Closed)
		b.Trip(errDown)
		b.ForceOpen()
		b.ForceClosed()
		time.Sleep(time.Hour)
		wantState(t, b, breaker.ForcedClosed)
		s := b.Stats()
		if s.Failures != 1000 || s.Probes != (breaker.ProbeStats{}) || s.OpenTime != time.Hour {
			t.Errorf("Stats() = %+v", s)
		}
		_ = b.Close()
	})
}

// Recover closes what Trip has opened, and leaves an operator's orders alone.
func TestRecoverClosesWhatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{Probe: func(context.Context) error { return errDown }})
		reportTimes(b, 4, errDown)
		b.Recover() // it is closed: nothing happens, and nothing is forgotten
		reportTimes(b, 1, errDown)
		wantState(t, b, breaker.Open)
		b.Recover()
		wantState(t, b, breaker.Closed)
		reportTimes(b, 4, errDown)
		wantState(t, b, breaker.Closed)
		b.Trip(errDown)
		b.Recover()
		wantState(t, b, breaker.Closed)
		b.ForceOpen()
		b.Recover()
		wantState(t, b, breaker.ForcedOpen)
		b.ForceClosed()
		b.Recover()
		wantState(t, b, breaker.ForcedClosed)
		_ = b.Close()
		b.Recover()
		wantState(t, b, breaker.Open)
	})
}

// Recover ended an outage as Reset does: all calls were let through at once, whatever RampUp said,
// and a dependency that went away again a moment later was asked as often as one that had not.
func TestRecoverIsTheEndOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		b := newBreaker(t, breaker.Options{
			RampUp: 10 * time.Second,
			Probe:  func(context.Context) error { return errDown },
			Backoff: func(_ error, attempt int) time.Duration {
				attempts = append(attempts, attempt)
				return time.Hour
			},
		})
		for range 3 {
			b.Trip(errDown)
			synctest.Wait()
			b.Recover()
			passed := 0
			for range 1000 {
				if report(b, nil) == nil {
					passed++
				}
			}
			if passed < 10 || passed > 200 {
				t.Errorf("%d of 1000 calls are let through, want 50 or so", passed)
			}
		}
		if want := []int{0, 1, 2}; !slices.Equal(attempts, want) {
			t.Errorf("attempts %v, want %v", attempts, want)
		}
	})
}

func TestResetForgetsFailures(t *testing.T) {
	b := newBreaker(t, breaker.Options{})
	reportTimes(b, 4, errDown)
	b.Reset()
	reportTimes(b, 4, errDown)
	wantState(t, b, breaker.Closed)
	if s := b.Stats(); !s.LastTransition.IsZero() {
		t.Errorf("Reset of a closed breaker was a transition: %+v", s)
	}
}

func TestPastFailuresDoNotCountAfterHealing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{Probe: func(context.Context) error { return nil }})
		reportTimes(b, 5, errDown)
		time.Sleep(time.Second)
		reportTimes(b, 4, errDown)
		wantState(t, b, breaker.Closed)
	})
}

func TestResetCountsAttemptsFromZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		b := newBreaker(t, breaker.Options{
			Probe:   func(context.Context) error { return nil },
			Backoff: func(_ error, attempt int) time.Duration { attempts = append(attempts, attempt); return time.Second },
		})
		for range 3 {
			b.Trip(errDown)
			time.Sleep(2 * time.Second)
			b.Reset()
		}
		synctest.Wait()
		if want := []int{0, 0, 0}; !slices.Equal(attempts, want) {
			t.Errorf("attempts %v, want %v", attempts, want)
		}
	})
}

func TestStateChangesAreToldInOrderOutsideLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		var told []string
		running := 0
		b = newBreaker(t, breaker.Options{
			Endpoint: "a:1",
			OnStateChange: func(c breaker.Change) {
				running++
				told = append(told, fmt.Sprint(c.From, ">", c.To, " ", c.Cause))
				if running > 1 || c.Name != "test" || c.Endpoint != "a:1" || c.At.IsZero() {
					t.Errorf("change %+v, %d at a time", c, running)
				}
				_, _ = b.State(), b.Stats()
				switch c.To {
				case breaker.Open:
					b.ForceOpen()
				case breaker.ForcedOpen:
					b.ForceClosed()
				case breaker.ForcedClosed:
					b.Reset()
				case breaker.Closed:
					_ = b.Close()
				case breaker.HalfOpen:
				}
				time.Sleep(time.Second)
				running--
			},
		})
		b.Trip(errDown)
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"closed>open down", "open>forced-open <nil>", "forced-open>forced-closed <nil>", "forced-closed>closed <nil>"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if err := report(b, nil); !errors.Is(err, breaker.ErrClosed) {
			t.Errorf("Allow = %v, want ErrClosed", err)
		}
	})
}

func TestCallbackThatExitsItsGoroutineDoesNotStopTheTelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		b := newBreaker(t, breaker.Options{OnStateChange: func(breaker.Change) { told++; runtime.Goexit() }})
		b.ForceOpen()
		b.Reset()
		b.ForceClosed()
		synctest.Wait()
		if told != 3 {
			t.Errorf("told %d changes, want 3", told)
		}
	})
}

func TestLoggerIsToldChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := newBreaker(t, breaker.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
		b.Trip(errDown)
		reportTimes(b, 100, nil)
		synctest.Wait()
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") ||
			!strings.Contains(got, "from=closed to=open cause=down") {
			t.Errorf("logged %q", got)
		}
		_ = b.Close()
	})
}

func TestTripWithoutReason(t *testing.T) {
	b := newBreaker(t, breaker.Options{})
	b.Trip(nil)
	b.Trip(errDown) // open already
	wantState(t, b, breaker.Open)
	if s := b.Stats(); !errors.Is(s.LastCause, breaker.ErrOpen) || s.Transitions[breaker.Open] != 1 {
		t.Errorf("Stats() = %+v", s)
	}
}

func TestAfterClose(t *testing.T) {
	b := newBreaker(t, breaker.Options{OnStateChange: func(c breaker.Change) { t.Errorf("told %+v", c) }})
	p, _ := b.Allow()
	for range 2 {
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	p.Done(errDown)
	b.ForceOpen()
	b.ForceClosed()
	b.Reset()
	b.Trip(errDown)
	wantState(t, b, breaker.Open)
	_, err := breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 0, nil })
	if err != breaker.ErrClosed { //nolint:errorlint // returned as it is
		t.Errorf("Do = %v, want ErrClosed", err)
	}
	if s := b.Stats(); s.State != breaker.Open || s.Transitions != [5]uint64{} {
		t.Errorf("Stats() = %+v", s)
	}
}

func TestCloseWaitsForCallbacksButNotForLong(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{50 * time.Millisecond: 50 * time.Millisecond, time.Hour: 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Options{OnStateChange: func(breaker.Change) { time.Sleep(took) }})
			b.ForceOpen()
			began := time.Now()
			_ = b.Close()
			if waited := time.Since(began); waited != want {
				t.Errorf("Close waited %v for a callback of %v, want %v", waited, took, want)
			}
			time.Sleep(took)
		})
	}
}
