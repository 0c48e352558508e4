package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/breaker"
)

// TestStress lets everything happen at once, for the race detector, and checks what must hold
// whatever happened.
func TestStress(t *testing.T) {
	for _, probed := range []bool{true, false} {
		s := newSet(t, breaker.SetOptions{
			MaxEndpoints: 3, MaxOpenShare: 0.7, IdleExpiry: 4 * time.Millisecond,
			Options: breaker.Options{
				Classify: classify, SlowCallDuration: time.Hour, TrialTimeout: 2 * time.Millisecond, OnStateChange: func(breaker.Change) {},
				Backoff: func(error, int) time.Duration { return time.Millisecond },
			},
			For: func(_ string, o breaker.Options) breaker.Options {
				if probed {
					o.Probe = func(context.Context) error { return nil }
					o.OnReady = o.Probe
				}
				return o
			},
		})
		registry := prometheus.NewRegistry()
		if err := registry.Register(s); err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var all sync.WaitGroup
		loop := func(do func(i int)) {
			all.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						do(i)
					}
				}
			})
		}
		errs := []error{nil, nil, nil, errDown, errRefused, errMiss, context.Canceled}
		kept := s.Get("kept")
		for range 3 {
			loop(func(i int) {
				_, _ = breaker.Do(context.Background(), s.Get(fmt.Sprint(i%5)), func(context.Context) (int, error) { return i, errs[i%len(errs)] })
			})
		}
		loop(func(i int) { _ = report(kept, errs[i%len(errs)]) })
		loop(func(i int) {
			b := s.Get(fmt.Sprint(i % 4))
			[]func(){b.ForceOpen, b.ForceClosed, b.Reset, func() { b.Trip(errDown) }, func() { kept.Trip(nil) }}[i%5]()
			time.Sleep(100 * time.Microsecond)
		})
		loop(func(int) {
			if _, err := registry.Gather(); err != nil {
				t.Errorf("Gather: %v", err)
			}
			time.Sleep(time.Millisecond)
		})
		time.Sleep(150 * time.Millisecond)
		close(stop)
		all.Wait()
		for endpoint, st := range s.Stats() {
			s.Get(endpoint).Reset()
			if st.State > breaker.ForcedClosed || st.Transitions[breaker.HalfOpen] > st.Transitions[breaker.Open] {
				t.Errorf("%s: Stats() = %+v", endpoint, st)
			}
		}
		kept.Reset()
		if err := report(kept, nil); err != nil {
			t.Errorf("Allow after Reset = %v", err)
		}
		_ = s.Close()
		if err := report(kept, nil); !errors.Is(err, breaker.ErrClosed) {
			t.Errorf("Allow after Close = %v, want ErrClosed", err)
		}
	}
}

// TestCountsAreExact counts calls from many goroutines, on all stripes.
func TestCountsAreExact(t *testing.T) {
	const goroutines, calls = 50, 1000
	b := newBreaker(t, breaker.Options{Classify: classify, Durations: true})
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range calls {
				_ = report(b, nil)
				_ = report(b, context.Canceled)
			}
		})
	}
	all.Wait()
	b.ForceOpen()
	reportTimes(b, 10, nil)
	s := b.Stats()
	if s.Successes != goroutines*calls || s.Ignored != goroutines*calls || s.Rejected != 10 {
		t.Errorf("Stats() = %+v, want %d successes and ignored, 10 rejected", s, goroutines*calls)
	}
	if n := gather(t, b)[`holdfast_breaker_call_duration_seconds{client="test",endpoint="",kind="user"}`]; n != goroutines*calls {
		t.Errorf("histogram counts %v, want %d", n, goroutines*calls)
	}
}
