package breaker_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

// hang ignores its context until the test is over.
func hang(over <-chan struct{}) func(context.Context) error {
	return func(context.Context) error {
		<-over
		return nil
	}
}

func TestTenMinuteOutageWithProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		var probing, probes, calls atomic.Int64
		probe := func(ctx context.Context) error {
			if n := probing.Add(1); n > 1 {
				t.Errorf("%d probes at a time", n)
			}
			defer probing.Add(-1)
			probes.Add(1)
			if down.Load() {
				<-ctx.Done() // a dead host: silence
				return ctx.Err()
			}
			return nil
		}
		b := newBreaker(t, breaker.Options{Probe: probe})
		down.Store(true)
		reportTimes(b, 5, errDown)
		began := time.Now()
		for time.Since(began) < 10*time.Minute {
			if report(b, errDown) == nil {
				calls.Add(1)
			}
			time.Sleep(time.Millisecond)
		}
		if n := calls.Load(); n != 0 {
			t.Errorf("%d user calls were let through, want 0", n)
		}
		if n := probes.Load(); n < 100 || n > 250 {
			t.Errorf("%d probes in ten minutes, want one in 3.5 to 6 s", n)
		}
		down.Store(false)
		healed := time.Now()
		for b.State() != breaker.Closed && time.Since(healed) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(healed); took > 6*time.Second {
			t.Errorf("closed %v after the dependency was back, want at most 6 s", took)
		}
		s := b.Stats()
		if s.Transitions[breaker.Open] != 1 || s.Probes.OK != 1 || s.Probes.TimedOut == 0 || s.ProbeDelay != 0 ||
			s.OpenTime < 10*time.Minute || !errors.Is(s.LastCause, breaker.ErrProbeTimeout) || !errors.Is(s.LastCause, context.DeadlineExceeded) {
			t.Errorf("Stats() = %+v", s)
		}
	})
}

func TestHungProbesAreAbandonedTwoAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		var started atomic.Int64
		b := newBreaker(t, breaker.Options{Probe: func(ctx context.Context) error {
			started.Add(1)
			return hang(over)(ctx)
		}})
		b.Trip(errDown)
		time.Sleep(time.Hour)
		if n := started.Load(); n != 2 {
			t.Errorf("%d probes outstanding, want 2", n)
		}
		wantState(t, b, breaker.Open)
		close(over) // from now on probes answer
		time.Sleep(10 * time.Second)
		wantState(t, b, breaker.Closed)
	})
}

func TestProbesThatDoNotReturnCountAsFailed(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		for _, where := range []string{"Probe", "OnReady"} {
			synctest.Test(t, func(t *testing.T) {
				var bad atomic.Bool
				bad.Store(true)
				misbehave := func(context.Context) error {
					if bad.Load() {
						leave()
					}
					return nil
				}
				o := breaker.Options{Probe: misbehave}
				if where == "OnReady" {
					o = breaker.Options{Probe: func(context.Context) error { return nil }, OnReady: misbehave}
				}
				b := newBreaker(t, o)
				b.Trip(errDown)
				time.Sleep(time.Minute)
				wantState(t, b, breaker.Open)
				s := b.Stats()
				if s.Probes.Panicked < 10 || s.Probes.OK != 0 || !errors.Is(s.LastCause, breaker.ErrAborted) {
					t.Errorf("%s in %s: Stats() = %+v", name, where, s)
				}
				bad.Store(false)
				time.Sleep(6 * time.Second)
				wantState(t, b, breaker.Closed)
			})
		}
	}
}

func TestBackoffIsToldCauseAndAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type asked struct {
			cause   error
			attempt int
		}
		var got []asked
		var at []time.Duration
		began := time.Now()
		errProbe := errors.New("probe refused")
		answers := []error{errProbe, errProbe, nil}
		b := newBreaker(t, breaker.Options{
			Backoff: func(cause error, attempt int) time.Duration {
				got = append(got, asked{cause, attempt})
				return time.Duration(attempt) * time.Second // 0 at first: taken as 1 ms
			},
			Probe: func(context.Context) error {
				at = append(at, time.Since(began))
				answer := answers[0]
				answers = answers[1:]
				return answer
			},
		})
		b.Trip(errDown)
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []asked{{errDown, 0}, {errProbe, 1}, {errProbe, 2}}; !slices.Equal(got, want) {
			t.Errorf("Backoff was asked %v, want %v", got, want)
		}
		const ms = time.Millisecond
		if want := []time.Duration{ms, 1001 * ms, 3001 * ms}; !slices.Equal(at, want) {
			t.Errorf("probes at %v, want %v", at, want)
		}
		wantState(t, b, breaker.Closed)
	})
}

func TestAttemptsGoOnUntilStable(t *testing.T) {
	for _, c := range []struct {
		stable, closedFor time.Duration
		want              []int
	}{
		{0, 9 * time.Second, []int{0, 1, 2}},
		{0, 10 * time.Second, []int{0, 0, 0}},
		{time.Hour, 59 * time.Minute, []int{0, 1, 2}},
		{-1, time.Nanosecond, []int{0, 0, 0}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var attempts []int
			b := newBreaker(t, breaker.Options{
				StableAfter: c.stable,
				Probe:       func(context.Context) error { return nil },
				Backoff: func(_ error, attempt int) time.Duration {
					attempts = append(attempts, attempt)
					return time.Second
				},
			})
			for range c.want {
				b.Trip(errDown)
				time.Sleep(time.Second)
				synctest.Wait()
				wantState(t, b, breaker.Closed)
				time.Sleep(c.closedFor)
			}
			if !slices.Equal(attempts, c.want) {
				t.Errorf("StableAfter %v, closed for %v: attempts %v, want %v", c.stable, c.closedFor, attempts, c.want)
			}
		})
	}
}

func TestOnReadyRunsBeforeClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		errReplay := errors.New("replay failed")
		runs := 0
		b = newBreaker(t, breaker.Options{
			Probe: func(context.Context) error { return nil },
			OnReady: func(context.Context) error {
				wantState(t, b, breaker.HalfOpen)
				if err := report(b, nil); !errors.Is(err, breaker.ErrOpen) {
					t.Errorf("Allow while OnReady runs = %v, want ErrOpen", err)
				}
				if runs++; runs < 3 {
					return errReplay
				}
				return nil
			},
		})
		b.Trip(errDown)
		time.Sleep(time.Minute)
		wantState(t, b, breaker.Closed)
		s := b.Stats()
		if s.Probes != (breaker.ProbeStats{OK: 1, Failed: 2}) || !errors.Is(s.LastCause, errReplay) || s.Transitions[breaker.HalfOpen] != 3 {
			t.Errorf("Stats() = %+v", s)
		}
	})
}

func TestOnReadyIsCancelled(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(*breaker.Breaker)
		want breaker.State
	}{
		"Close":       {func(b *breaker.Breaker) { _ = b.Close() }, breaker.Open},
		"Reset":       {(*breaker.Breaker).Reset, breaker.Closed},
		"ForceOpen":   {(*breaker.Breaker).ForceOpen, breaker.ForcedOpen},
		"ForceClosed": {(*breaker.Breaker).ForceClosed, breaker.ForcedClosed},
		"Trip":        {func(b *breaker.Breaker) { b.Trip(errDown) }, breaker.Open},
		"timeout":     {func(*breaker.Breaker) { time.Sleep(5 * time.Second) }, breaker.Open},
	} {
		synctest.Test(t, func(t *testing.T) {
			var began, ended time.Time
			b := newBreaker(t, breaker.Options{
				Backoff: func(error, int) time.Duration { return time.Minute },
				Probe:   func(context.Context) error { return nil },
				OnReady: func(ctx context.Context) error {
					began = time.Now()
					<-ctx.Done()
					ended = time.Now()
					return nil // too late to count
				},
			})
			b.Trip(errDown)
			time.Sleep(time.Minute)
			synctest.Wait()
			wantState(t, b, breaker.HalfOpen)
			acted := time.Now()
			c.act(b)
			synctest.Wait()
			if ended.IsZero() || ended.Sub(acted) > 5*time.Second || began.After(acted) {
				t.Errorf("%s: OnReady began %v, ended %v, want it cancelled at %v", name, began, ended, acted)
			}
			wantState(t, b, c.want)
		})
	}
}

func TestCloseDuringProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		returned := false
		b := newBreaker(t, breaker.Options{Probe: func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(50 * time.Millisecond) // tidies up
			returned = true
			return ctx.Err()
		}})
		b.Trip(errDown)
		time.Sleep(200 * time.Millisecond)
		_ = b.Close()
		if !returned {
			t.Error("Close returned before the probe did")
		}
	})
}

func TestCloseDoesNotWaitForAHungProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newBreaker(t, breaker.Options{Probe: hang(over)})
		b.Trip(errDown)
		time.Sleep(200 * time.Millisecond)
		began := time.Now()
		_ = b.Close()
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
		close(over)
	})
}

func TestCloseFromWithinAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		b = newBreaker(t, breaker.Options{Probe: func(context.Context) error { return b.Close() }})
		b.Trip(errDown)
		time.Sleep(time.Second)
		if err := report(b, nil); !errors.Is(err, breaker.ErrClosed) {
			t.Errorf("Allow = %v, want ErrClosed", err)
		}
	})
}

func TestProbesOfManyClientsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 1000
		var up atomic.Bool
		var mu sync.Mutex
		began := time.Now()
		buckets := map[time.Duration]int{} // probes by 10 ms
		all := make([]*breaker.Breaker, clients)
		for i := range all {
			all[i] = newBreaker(t, breaker.Options{Probe: func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				buckets[time.Since(began).Truncate(10*time.Millisecond)]++
				if up.Load() {
					return nil
				}
				return errDown
			}})
		}
		time.Sleep(rand.N(time.Second))
		for _, b := range all {
			b.Trip(errDown)
		}
		time.Sleep(20 * time.Second) // they drift apart
		most := func() (n int) {
			mu.Lock()
			clear(buckets)
			mu.Unlock()
			time.Sleep(40 * time.Second)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			for _, probes := range buckets {
				n = max(n, probes)
			}
			return n
		}
		// Chance alone makes it 9 to 13, rarely 16. A herd would be hundreds, each time.
		worst := min(most(), most(), most())
		if worst > 15 {
			t.Errorf("%d of %d clients probed within 10 ms", worst, clients)
		}
		up.Store(true)
		back := time.Now()
		recovered := make([]time.Duration, 0, clients)
		for len(recovered) < clients && time.Since(back) < time.Minute {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			for i, b := range all {
				if b != nil && b.State() == breaker.Closed {
					recovered = append(recovered, time.Since(back))
					_ = b.Close()
					all[i] = nil
				}
			}
		}
		if len(recovered) < clients {
			t.Fatalf("%d of %d clients recovered within a minute", len(recovered), clients)
		}
		sum := time.Duration(0)
		for _, d := range recovered {
			sum += d
		}
		mean, p99 := sum/clients, recovered[clients*99/100]
		t.Logf("worst 10 ms: %d probes; recovery mean %v, p99 %v", worst, mean, p99)
		if mean > 2500*time.Millisecond || p99 > 5*time.Second {
			t.Errorf("recovery took mean %v, p99 %v", mean, p99)
		}
	})
}

func TestDefaultBackoffIsJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{Probe: func(context.Context) error { return errDown }})
		b.Trip(errDown)
		for _, step := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000} {
			synctest.Wait()
			delay := b.Stats().ProbeDelay
			if step *= time.Millisecond; delay < step/2 || delay > step {
				t.Errorf("ProbeDelay = %v, want %v to %v", delay, step/2, step)
			}
			time.Sleep(delay)
		}
		_ = b.Close()
	})
}
