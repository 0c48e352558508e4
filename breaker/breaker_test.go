package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

func TestZeroOptionsWork(t *testing.T) {
	b := newBreaker(t, breaker.Options{})
	got, err := breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 7, nil })
	if got != 7 || err != nil {
		t.Errorf("Do = %v, %v, want 7, nil", got, err)
	}
	wantState(t, b, breaker.Closed)
	if s := b.Stats(); s.Successes != 1 || s.Name != "test" || !s.LastTransition.IsZero() {
		t.Errorf("Stats() = %+v", s)
	}
}

func TestTripsAfterConsecutiveFailures(t *testing.T) {
	b := newBreaker(t, breaker.Options{})
	reportTimes(b, 4, errDown)
	reportTimes(b, 1, nil) // breaks the run
	reportTimes(b, 4, errDown)
	wantState(t, b, breaker.Closed)
	reportTimes(b, 1, errDown)
	wantState(t, b, breaker.Open)
	var refusal *breaker.Refusal
	if err := report(b, nil); !errors.As(err, &refusal) || !errors.Is(err, breaker.ErrOpen) || errors.Is(err, errDown) || !errors.Is(refusal.Cause, errDown) || refusal.Name != "test" {
		t.Errorf("Allow = %v, want a refusal that is ErrOpen and tells the cause", err)
	}
	s := b.Stats()
	if s.Rejected != 1 || s.Failures != 9 || s.Successes != 1 || s.Transitions[breaker.Open] != 1 || !errors.Is(s.LastCause, errDown) {
		t.Errorf("Stats() = %+v", s)
	}
}

func TestSuccessByClassifierBreaksARunToo(t *testing.T) {
	b := newBreaker(t, breaker.Options{Classify: classify, FailureRatio: -1})
	for range 10 {
		reportTimes(b, 4, errDown)
		reportTimes(b, 1, errMiss)
	}
	wantState(t, b, breaker.Closed)
}

func TestIgnoredNeitherTripsNorBreaksARun(t *testing.T) {
	b := newBreaker(t, breaker.Options{Classify: classify})
	for range 4 {
		reportTimes(b, 1, errDown)
		reportTimes(b, 9, context.Canceled)
	}
	wantState(t, b, breaker.Closed)
	reportTimes(b, 1, errDown)
	wantState(t, b, breaker.Open)
	if s := b.Stats(); s.Ignored != 36 {
		t.Errorf("Ignored = %d, want 36", s.Ignored)
	}
}

func TestHardFailures(t *testing.T) {
	for _, c := range []struct{ hard, want int }{{0, 1}, {1, 1}, {3, 3}, {-1, 5}} {
		b := newBreaker(t, breaker.Options{HardFailures: c.hard, Classify: classify})
		calls := 0
		for b.State() == breaker.Closed {
			reportTimes(b, 1, errRefused)
			calls++
		}
		if calls != c.want {
			t.Errorf("HardFailures %d: opened after %d, want %d", c.hard, calls, c.want)
		}
	}
}

func TestSuccessBreaksARunOfHardFailures(t *testing.T) {
	b := newBreaker(t, breaker.Options{HardFailures: 2, Classify: classify})
	reportTimes(b, 1, errRefused)
	reportTimes(b, 1, nil)
	reportTimes(b, 1, errDown) // an ordinary failure is no part of the run
	reportTimes(b, 1, errRefused)
	wantState(t, b, breaker.Closed)
	reportTimes(b, 1, errRefused)
	wantState(t, b, breaker.Open)
}

func TestFailureRatio(t *testing.T) {
	b := newBreaker(t, breaker.Options{ConsecutiveFailures: -1})
	reportTimes(b, 1000, nil) // before the window's first failure: not counted
	for range 9 {
		reportTimes(b, 1, errDown)
		reportTimes(b, 1, nil)
	}
	reportTimes(b, 1, errDown)
	wantState(t, b, breaker.Closed) // 10 of 19
	reportTimes(b, 1, errDown)
	wantState(t, b, breaker.Open) // 11 of 20
}

func TestFailureRatioNeedsItsShare(t *testing.T) {
	b := newBreaker(t, breaker.Options{ConsecutiveFailures: -1})
	for range 1000 {
		reportTimes(b, 1, errDown)
		reportTimes(b, 2, nil)
	}
	wantState(t, b, breaker.Closed)
}

func TestWindowForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{ConsecutiveFailures: -1, StableAfter: -1})
		for range 100 {
			reportTimes(b, 15, errDown)
			time.Sleep(11 * time.Second)
		}
		wantState(t, b, breaker.Closed)
		reportTimes(b, 15, errDown)
		time.Sleep(5 * time.Second)
		reportTimes(b, 5, errDown)
		wantState(t, b, breaker.Open)
		_ = b.Close()
	})
}

func TestWindowSlidesBySlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{ConsecutiveFailures: -1, MinCalls: 11})
		for range 50 { // one failure a second: never more than ten in the window
			reportTimes(b, 1, errDown)
			time.Sleep(time.Second)
		}
		wantState(t, b, breaker.Closed)
		reportTimes(b, 2, errDown)
		wantState(t, b, breaker.Open)
		_ = b.Close()
	})
}

func TestWindowEndsToTheSlice(t *testing.T) {
	for apart, want := range map[time.Duration]breaker.State{
		10*time.Second - 1: breaker.Open, 10 * time.Second: breaker.Closed,
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Options{ConsecutiveFailures: -1, MinCalls: 2})
			reportTimes(b, 1, errDown)
			time.Sleep(apart)
			reportTimes(b, 1, errDown)
			wantState(t, b, want)
			_ = b.Close()
		})
	}
}

func TestSlowCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{SlowCallDuration: time.Second, MinCalls: 4})
		slow := func(err error) {
			p, _ := b.Allow()
			time.Sleep(time.Second)
			p.Done(err)
		}
		reportTimes(b, 100, nil)
		for range 3 {
			slow(nil)
			slow(context.Canceled)
		}
		wantState(t, b, breaker.Closed)
		slow(nil)
		wantState(t, b, breaker.Open)
		if s := b.Stats(); s.Slow != 4 || !errors.Is(s.LastCause, breaker.ErrSlow) || s.Failures != 0 {
			t.Errorf("Stats() = %+v", s)
		}
		_ = b.Close()
	})
}

func TestSlowCallRatioOffStillCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{SlowCallDuration: time.Second, SlowCallRatio: -1, MinCalls: 1})
		for range 50 {
			p, _ := b.Allow()
			time.Sleep(time.Second)
			p.Done(nil)
		}
		wantState(t, b, breaker.Closed)
		if s := b.Stats(); s.Slow != 50 {
			t.Errorf("Slow = %d, want 50", s.Slow)
		}
	})
}

func TestLateFailuresOfAnOlderGenerationNeverReopen(t *testing.T) {
	b := newBreaker(t, breaker.Options{Classify: classify})
	late := make([]breaker.Permit, 50)
	for i := range late {
		late[i], _ = b.Allow()
	}
	b.Trip(errDown)
	b.Reset()
	for i := range late {
		late[i].Done(errRefused)
	}
	wantState(t, b, breaker.Closed)
	if s := b.Stats(); s.Transitions[breaker.Open] != 1 || s.Failures != 50 {
		t.Errorf("Stats() = %+v, want one opening, 50 failures", s)
	}
}

func TestSimultaneousFailuresOpenOnce(t *testing.T) {
	for consecutive := range 10 {
		b := newBreaker(t, breaker.Options{ConsecutiveFailures: consecutive})
		release := b.Hold()
		var all sync.WaitGroup
		for range 200 {
			p, _ := b.Allow()
			all.Go(func() { p.Done(errDown) })
		}
		for b.Failures() < 200 { // all are on the slow path
			runtime.Gosched()
		}
		release()
		all.Wait()
		if s := b.Stats(); s.Transitions[breaker.Open] != 1 || s.Failures != 200 {
			t.Errorf("Stats() = %+v, want one opening, 200 failures", s)
		}
		_ = b.Close()
	}
}

func TestDoneTwiceCountsOnce(t *testing.T) {
	for name, o := range map[string]breaker.Options{"counted": {}, "timed": {Durations: true}} {
		b := newBreaker(t, o)
		for _, err := range []error{nil, errDown} {
			p, _ := b.Allow()
			p.Done(err)
			p.Done(err)
			p.Done(errDown)
		}
		if s := b.Stats(); s.Successes != 1 || s.Failures != 1 {
			t.Errorf("%s: Stats() = %+v, want 1 success, 1 failure", name, s)
		}
	}
	var zero breaker.Permit
	zero.Done(errDown)
}

func TestDoIgnoresCallersWhoGaveUp(t *testing.T) {
	b := newBreaker(t, breaker.Options{ConsecutiveFailures: 1})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	for _, ctx := range []context.Context{gone, expired} {
		_, err := breaker.Do(ctx, b, func(ctx context.Context) (int, error) { return 0, fmt.Errorf("call: %w", ctx.Err()) })
		if !errors.Is(err, ctx.Err()) {
			t.Errorf("Do = %v, want %v", err, ctx.Err())
		}
	}
	wantState(t, b, breaker.Closed)
	if s := b.Stats(); s.Ignored != 2 {
		t.Errorf("Ignored = %d, want 2", s.Ignored)
	}
	// The call's own limit is the dependency's fault.
	_, _ = breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 0, context.DeadlineExceeded })
	wantState(t, b, breaker.Open)
}

func TestDoCountsPanicAndGoexitAsFailure(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		b := newBreaker(t, breaker.Options{ConsecutiveFailures: 1})
		thrown := make(chan any, 1)
		go func() {
			defer func() { thrown <- recover() }()
			_, _ = breaker.Do(t.Context(), b, func(context.Context) (int, error) { leave(); return 0, nil })
		}()
		if v := <-thrown; (name == "panic") != (v == "boom") {
			t.Errorf("%s: recovered %v", name, v)
		}
		wantState(t, b, breaker.Open)
		if s := b.Stats(); !errors.Is(s.LastCause, breaker.ErrAborted) {
			t.Errorf("%s: LastCause = %v", name, s.LastCause)
		}
	}
}

func TestDoCountsPanickingClassifierAsFailure(t *testing.T) {
	b := newBreaker(t, breaker.Options{ConsecutiveFailures: 1, Classify: func(error) breaker.Outcome { panic("boom") }})
	func() {
		defer func() { _ = recover() }()
		_, _ = breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 0, errDown })
	}()
	wantState(t, b, breaker.Open)
}

func TestNewRejectsBadOptions(t *testing.T) {
	ready := func(context.Context) error { return nil }
	for want, o := range map[string]breaker.Options{
		"FailureRatio is 1.5":      {FailureRatio: 1.5},
		"FailureRatio is NaN":      {FailureRatio: math.NaN()},
		"SlowCallRatio is 2":       {SlowCallRatio: 2, SlowCallDuration: 1},
		"SlowCallRatio is 0.3":     {SlowCallRatio: 0.3},
		"Window is -1s":            {Window: -time.Second},
		"Window is 5ns":            {Window: 5},
		"SlowCallDuration is -1ns": {SlowCallDuration: -1},
		"ProbeTimeout is -1ns":     {ProbeTimeout: -1},
		"ReadyTimeout is -1ns":     {ReadyTimeout: -1},
		"TrialTimeout is -1ns":     {TrialTimeout: -1},
		"MinCalls is -3":           {MinCalls: -3},
		"OnReady is set":           {OnReady: ready},
	} {
		b, err := breaker.New("test", o)
		if b != nil || err == nil || !strings.Contains(err.Error(), "breaker: Options."+want+": set ") {
			t.Errorf("New = %v, %v, want an error with %q and advice", b, err, want)
		}
	}
	if _, err := breaker.New("", breaker.Options{}); err == nil || !strings.Contains(err.Error(), "name") {
		t.Errorf("New without a name = %v", err)
	}
}

func TestStateString(t *testing.T) {
	want := []string{"closed", "half-open", "open", "forced-open", "forced-closed", "State(5)"}
	for i, text := range want {
		if got := breaker.State(i).String(); got != text {
			t.Errorf("State(%d) = %q, want %q", i, got, text)
		}
	}
}

func TestCallsDoNotAllocate(t *testing.T) {
	closed := newBreaker(t, breaker.Options{})
	timed := newBreaker(t, breaker.Options{SlowCallDuration: time.Hour})
	open := newBreaker(t, breaker.Options{})
	open.ForceOpen()
	member := newSet(t, breaker.SetOptions{})
	ctx := t.Context()
	for name, call := range map[string]func(){
		"closed":   func() { _ = report(closed, nil) },
		"timed":    func() { _ = report(timed, nil) },
		"rejected": func() { _ = report(open, nil) },
		"Set":      func() { _ = report(member.Get("a"), nil) },
		"Do":       func() { _, _ = breaker.Do(ctx, closed, nothing) },
	} {
		if n := testing.AllocsPerRun(1000, call); n != 0 {
			t.Errorf("%s: %v allocations a call, want 0", name, n)
		}
	}
}
