package breaker_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

// openUntilTrial trips b and waits for half-open.
func openUntilTrial(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	b.Trip(errDown)
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	wantState(t, b, breaker.HalfOpen)
}

func TestOneTrialAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{})
		openUntilTrial(t, b)
		p, err := b.Allow()
		if err != nil {
			t.Fatalf("Allow = %v, want a trial", err)
		}
		for range 100 {
			if err := report(b, nil); !errors.Is(err, breaker.ErrOpen) {
				t.Fatalf("Allow beside the trial = %v, want ErrOpen", err)
			}
		}
		p.Done(nil)
		wantState(t, b, breaker.Closed)
		if s := b.Stats(); s.Rejected != 100 || s.Probes.OK != 1 {
			t.Errorf("Stats() = %+v", s)
		}
	})
}

func TestTrialOutcomes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want breaker.State
	}{{nil, breaker.Closed}, {errMiss, breaker.Closed}, {errDown, breaker.Open}, {errRefused, breaker.Open}, {context.Canceled, breaker.HalfOpen}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Options{Classify: classify})
			openUntilTrial(t, b)
			p, _ := b.Allow()
			twin := p
			p.Done(c.err)
			wantState(t, b, c.want)
			twin.Done(errRefused) // a copy changes nothing
			wantState(t, b, c.want)
			_ = b.Close()
		})
	}
}

func TestIgnoredTrialGivesTheNextCallItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{})
		openUntilTrial(t, b)
		for range 10 {
			p, err := b.Allow()
			if err != nil {
				t.Fatalf("Allow = %v, want a trial", err)
			}
			time.Sleep(4 * time.Second) // each has a lease of its own
			p.Done(context.Canceled)
		}
		if err := report(b, nil); err != nil {
			t.Fatalf("Allow = %v, want a trial", err)
		}
		wantState(t, b, breaker.Closed)
	})
}

func TestCopyOfAnEndedTrialDoesNotEndTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{})
		openUntilTrial(t, b)
		p, _ := b.Allow()
		twin := p
		p.Done(context.Canceled)
		next, err := b.Allow()
		if err != nil {
			t.Fatalf("Allow = %v, want a trial", err)
		}
		twin.Done(nil)
		wantState(t, b, breaker.HalfOpen)
		next.Done(nil)
		wantState(t, b, breaker.Closed)
	})
}

func TestTrialsThatDoNotEndAreReleased(t *testing.T) {
	for name, trial := range map[string]func(*breaker.Breaker, <-chan struct{}){
		"lost": func(b *breaker.Breaker, _ <-chan struct{}) { _, _ = b.Allow() },
		"hung": func(b *breaker.Breaker, over <-chan struct{}) {
			_, _ = breaker.Do(context.Background(), b, func(context.Context) (int, error) { <-over; return 0, nil })
		},
		"panic": func(b *breaker.Breaker, _ <-chan struct{}) {
			defer func() { _ = recover() }()
			_, _ = breaker.Do(context.Background(), b, func(context.Context) (int, error) { panic("boom") })
		},
		"Goexit": func(b *breaker.Breaker, _ <-chan struct{}) {
			_, _ = breaker.Do(context.Background(), b, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			over := make(chan struct{})
			b := newBreaker(t, breaker.Options{Backoff: func(error, int) time.Duration { return 100 * time.Millisecond }})
			for range 3 {
				openUntilTrial(t, b)
				go trial(b, over)
				synctest.Wait()
				if name == "lost" || name == "hung" {
					time.Sleep(5*time.Second - 1)
					wantState(t, b, breaker.HalfOpen)
					time.Sleep(time.Nanosecond)
					synctest.Wait()
				}
				wantState(t, b, breaker.Open)
			}
			close(over)
			synctest.Wait()
			if name == "hung" {
				wantState(t, b, breaker.Closed) // it was only slow
				return
			}
			wantState(t, b, breaker.Open)
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if err := report(b, nil); err != nil {
				t.Errorf("%s: Allow = %v, want a trial", name, err)
			}
			wantState(t, b, breaker.Closed)
		})
	}
}

// A dependency that is away for a day filled the log: each trial that failed was two lines.
func TestAnOutageIsTwoLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		b := newBreaker(t, breaker.Options{
			Logger:  slog.New(slog.NewTextHandler(&text, nil)),
			Backoff: func(error, int) time.Duration { return time.Second },
		})
		reportTimes(b, 5, errDown)
		for range 3600 {
			time.Sleep(time.Second)
			_ = report(b, errDown)
		}
		time.Sleep(2 * time.Second) // the pause before a trial is over for certain
		synctest.Wait()
		if err := report(b, nil); err != nil {
			t.Errorf("the trial that is to end the outage: %v", err)
		}
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `level=WARN msg="breaker changed state" client=test endpoint="" from=closed to=open cause=`) ||
			!strings.Contains(lines[1], "level=INFO") || !strings.Contains(lines[1], "to=closed after=1h0m2s") {
			t.Errorf("an outage of an hour is %d lines:\n%.1000s", len(lines), text.String())
		}
		_ = b.Close()
	})
}
