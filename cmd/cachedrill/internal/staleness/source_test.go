package staleness_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/staleness"
)

const cost = 10 * time.Millisecond

func TestCallsOfTheSourceTakeTheirTimeAndTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		s := staleness.NewSource(cost, 2, func() { calls++ })
		begin := time.Now()
		var mu sync.Mutex
		var took []time.Duration
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				given, err := s.Get(t.Context())
				mu.Lock()
				defer mu.Unlock()
				if took = append(took, time.Since(begin)); err != nil || !given.Equal(time.Now()) {
					t.Errorf("Get = %v, %v, want the present time", given, err)
				}
			})
			synctest.Wait()
		}
		callers.Wait()
		for i, want := range []time.Duration{cost, cost, 2 * cost, 2 * cost} {
			if took[i] != want {
				t.Errorf("call %d took %v, want %v with two at a time", i, took[i], want)
			}
		}
		if calls != 4 {
			t.Errorf("%d calls counted, want 4", calls)
		}
	})
}

func TestTheSourceSlowsDiesAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staleness.NewSource(cost, 1, func() {})
		get := func() (time.Duration, error) {
			begin := time.Now()
			_, err := s.Get(t.Context())
			return time.Since(begin), err
		}
		s.Slow()
		if took, err := get(); took != staleness.Slowdown*cost || err != nil {
			t.Errorf("a slow call took %v, %v, want %v", took, err, staleness.Slowdown*cost)
		}
		time.AfterFunc(cost, s.Kill)
		if _, err := get(); !errors.Is(err, staleness.ErrDead) {
			t.Errorf("a call during which the source died: %v, want ErrDead", err)
		}
		if took, err := get(); took != 0 || !errors.Is(err, staleness.ErrDead) {
			t.Errorf("a dead source answers after %v, %v, want ErrDead at once", took, err)
		}
		s.Revive()
		if took, err := get(); took != cost || err != nil {
			t.Errorf("after it is back a call took %v, %v, want %v", took, err, cost)
		}
	})
}

func TestCallsEndWithTheirContextAndTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staleness.NewSource(time.Hour, 1, func() {})
		errs := make(chan error, 3)
		get := func(ctx context.Context) {
			_, err := s.Get(ctx)
			errs <- err
		}
		go get(t.Context()) // has the slot
		synctest.Wait()
		limited, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go get(limited)
		if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call whose context ends: %v", err)
		}
		go get(t.Context()) // waits for the slot
		synctest.Wait()
		s.Close()
		s.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, staleness.ErrClosed) {
				t.Errorf("a call during Close: %v, want ErrClosed", err)
			}
		}
	})
}

func TestShorterDrillsHaveShorterPeriods(t *testing.T) {
	for duration, want := range map[time.Duration]time.Duration{
		3 * time.Second: 250 * time.Millisecond, 24 * time.Second: time.Second, 48 * time.Second: 2 * time.Second, time.Hour: 2 * time.Second,
	} {
		o := staleness.Options{Options: drill.Options{Duration: duration}}
		if got := o.Period(); got != want {
			t.Errorf("a drill of %v has a period of %v, want %v", duration, got, want)
		}
		if got, want := staleness.KeysFor(duration), int(want/time.Millisecond); got != want {
			t.Errorf("a drill of %v has %d keys, want %d", duration, got, want)
		}
		if first, last := o.Backoff(0), o.Backoff(1<<30); first != 100*time.Millisecond || last != want/2 {
			t.Errorf("with a period of %v a breaker waits %v at first and %v at last, want 100ms and half a period", want, first, last)
		}
	}
}
