package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

// TestARefusalTellsWhoAndWhy: at 3 a.m. the log line of a refused call has to name the dependency
// and its fault.
func TestARefusalTellsWhoAndWhy(t *testing.T) {
	set := newSet(t, breaker.SetOptions{Options: breaker.Options{ConsecutiveFailures: 1, Backoff: never}})
	b := set.Get("db-1:5432")
	_ = report(b, errRefused)
	_, err := breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 0, nil })
	if want := "breaker: open, call not made: test db-1:5432: connection refused"; err == nil || err.Error() != want || !errors.Is(err, breaker.ErrOpen) || errors.Is(err, errRefused) {
		t.Errorf("Do = %v, want %s, which is ErrOpen and not the other call's error", err, want)
	}
	b.ForceOpen()
	if _, err := b.Allow(); err == nil || !strings.HasSuffix(err.Error(), "test db-1:5432: forced open") || !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("Allow = %v of a forced breaker", err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = b.Allow() }); n != 0 {
		t.Errorf("%v allocations to refuse a call", n)
	}
}

// brokenError panics when it is a nil pointer, as errors of others do.
type brokenError struct{ text string }

func (e *brokenError) Error() string { return e.text }

// TestARefusalOutlivesItsCause: what tells of a refused call must not panic for an error that was
// another call's.
func TestARefusalOutlivesItsCause(t *testing.T) {
	b := newBreaker(t, breaker.Options{ConsecutiveFailures: 1, Backoff: never})
	_ = report(b, (*brokenError)(nil))
	if err := report(b, nil); err == nil || !strings.HasPrefix(err.Error(), "breaker: open, call not made: test: ") {
		t.Errorf("Allow = %v", err)
	}
}

// never waits longer than any test.
func never(error, int) time.Duration { return 24 * time.Hour }

// TestARefusalTellsTheLastProbesError: the first cause may be long gone.
func TestARefusalTellsTheLastProbesError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{ConsecutiveFailures: 1, Probe: func(context.Context) error { return errRefused }})
		_ = report(b, errDown)
		time.Sleep(time.Second)
		var refusal *breaker.Refusal
		if _, err := b.Allow(); !errors.As(err, &refusal) || !errors.Is(refusal.Cause, errRefused) {
			t.Errorf("Allow = %v, want the probe's error", err)
		}
	})
}

// TestAJudgeSeesResults: a server that answers 503 gives no error.
func TestAJudgeSeesResults(t *testing.T) {
	b := newBreaker(t, breaker.Options{Backoff: never, Judge: func(result any, err error) breaker.Outcome {
		switch {
		case err != nil || result.(int) >= 500:
			return breaker.Failure
		default:
			return breaker.Success
		}
	}})
	ask := func(status int, err error) error {
		_, err = breaker.Do(t.Context(), b, func(context.Context) (int, error) { return status, err })
		return err
	}
	for range 100 {
		_ = ask(http.StatusNotFound, nil)
	}
	wantState(t, b, breaker.Closed)
	over, end := context.WithCancel(t.Context())
	end()
	for range 10 { // whose contexts were over before they began
		_, _ = breaker.Do(over, b, func(ctx context.Context) (int, error) { return 0, ctx.Err() })
	}
	wantState(t, b, breaker.Closed)
	for range 5 {
		if err := ask(http.StatusServiceUnavailable, nil); err != nil {
			t.Fatal(err)
		}
	}
	wantState(t, b, breaker.Open)
	if cause := b.Stats().LastCause; !errors.Is(cause, breaker.ErrResult) {
		t.Errorf("the cause is %v, want ErrResult", cause)
	}
}

// TestSettleTakesTheCallersVerdict, with the error as the cause whatever it is.
func TestSettleTakesTheCallersVerdict(t *testing.T) {
	b := newBreaker(t, breaker.Options{Backoff: never, Classify: classify})
	for range 10 {
		p, _ := b.Allow()
		p.Settle(breaker.Success, errDown)
		p.Settle(breaker.Failure, errDown) // done with
	}
	wantState(t, b, breaker.Closed)
	p, _ := b.Allow()
	p.Settle(breaker.Hard, nil)
	wantState(t, b, breaker.Open)
	if s := b.Stats(); s.Successes != 10 || s.Failures != 1 || !errors.Is(s.LastCause, breaker.ErrResult) {
		t.Errorf("stats %+v", s)
	}
}

// TestSeveralSuccessesClose: a dependency that fails four calls of five is not well after one that
// it answered.
func TestSeveralSuccessesClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{ConsecutiveFailures: 1, SuccessesToClose: 3, Backoff: func(error, int) time.Duration { return time.Second }})
		_ = report(b, errDown)
		trial := func(err error, want breaker.State) {
			t.Helper()
			if refused := report(b, err); refused != nil {
				t.Fatal(refused)
			}
			synctest.Wait()
			wantState(t, b, want)
		}
		time.Sleep(time.Second + time.Millisecond)
		trial(nil, breaker.HalfOpen)
		trial(nil, breaker.HalfOpen)
		trial(errDown, breaker.Open)
		time.Sleep(time.Second + time.Millisecond)
		trial(nil, breaker.HalfOpen) // those before do not count
		trial(nil, breaker.HalfOpen)
		trial(nil, breaker.Closed)
	})
}

// TestSeveralProbesClose: the same with a Probe.
func TestSeveralProbesClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		b := newBreaker(t, breaker.Options{ConsecutiveFailures: 1, SuccessesToClose: 3, Backoff: func(error, int) time.Duration { return time.Second }, Probe: func(context.Context) error {
			if asked++; asked == 3 {
				return errDown
			}
			return nil
		}})
		_ = report(b, errDown)
		time.Sleep(1500 * time.Millisecond)
		wantState(t, b, breaker.Open)
		time.Sleep(time.Second)
		if wantState(t, b, breaker.Closed); asked != 6 {
			t.Errorf("%d probes, want 3 that ended with a bad one, and 3 good ones", asked)
		}
	})
}

// TestTheRampLetsCallsThroughLittleByLittle: a database with cold caches that gets all calls at
// once fails again.
func TestTheRampLetsCallsThroughLittleByLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{ConsecutiveFailures: 1, RampUp: 10 * time.Second, Probe: func(context.Context) error { return nil }})
		passed := func(n int) (count int) {
			for range n {
				if report(b, nil) == nil {
					count++
				}
			}
			return count
		}
		if n := passed(1000); n != 1000 {
			t.Fatalf("%d of 1000 calls before any outage", n)
		}
		_ = report(b, errDown)
		for b.State() != breaker.Closed {
			time.Sleep(10 * time.Millisecond)
		}
		for second := range 10 {
			want := 10_000 * (5 + 95*second/10) / 100
			if n := passed(10_000); n < want-400 || n > want+400 {
				t.Errorf("%d s after the outage %d of 10 000 calls are let through, want %d or so", second, n, want)
			}
			time.Sleep(time.Second)
		}
		if n := passed(1000); n != 1000 {
			t.Errorf("%d of 1000 calls at the end", n)
		}
		_ = report(b, errDown) // a failure counts as ever
		wantState(t, b, breaker.Open)
		b.Reset()
		if n := passed(1000); n != 1000 {
			t.Errorf("%d of 1000 calls after Reset", n)
		}
	})
}

// TestAFailureInTheRampCounts also if the ramp ends while the call is under way.
func TestAFailureInTheRampCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{ConsecutiveFailures: 1, RampUp: time.Second, Probe: func(context.Context) error { return nil }})
		_ = report(b, errDown)
		time.Sleep(900 * time.Millisecond)
		var p breaker.Permit
		for err := error(breaker.ErrOpen); err != nil; {
			p, err = b.Allow()
		}
		time.Sleep(time.Second)
		_ = report(b, nil)
		p.Done(errDown)
		wantState(t, b, breaker.Open)
	})
}

// TestLostPermitsAreGivenBack: a Set whose endpoints were all used by code that forgot Done is full
// for a time, not for ever.
func TestLostPermitsAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := newSet(t, breaker.SetOptions{MaxEndpoints: 10, IdleExpiry: time.Minute})
		late := make([]breaker.Permit, 10)
		for i := range late {
			late[i], _ = set.Get(fmt.Sprint("old", i)).Allow()
		}
		time.Sleep(5 * time.Minute)
		if b := set.Get("new"); b.Endpoint() != "_other" {
			t.Errorf("calls of 5 minutes are taken for lost: %q", b.Endpoint())
		}
		time.Sleep(3 * time.Minute)
		b := set.Get("new")
		if b.Endpoint() != "new" {
			t.Fatalf("a new endpoint shares %q with others", b.Endpoint())
		}
		for i := range late { // one that was not lost does no harm
			late[i].Done(errDown)
		}
		wantState(t, b, breaker.Closed)
	})
}

// TestASetFillsInLinearTime: each new endpoint replaced the map of all, so that 16 000 of them took
// seconds, with the lock held.
func TestASetFillsInLinearTime(t *testing.T) {
	fill := func(n int) uint64 {
		set := newSet(t, breaker.SetOptions{MaxEndpoints: n, Options: breaker.Options{Endpoint: ""}})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range n {
			set.Get(fmt.Sprint("endpoint-", i))
		}
		runtime.ReadMemStats(&after)
		for i := range n {
			if name := fmt.Sprint("endpoint-", i); set.Get(name).Endpoint() != name {
				t.Fatalf("%s was lost", name)
			}
		}
		if n != len(set.Stats()) {
			t.Errorf("%d endpoints, want %d", len(set.Stats()), n)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	fill(10)
	if few, many := fill(1000), fill(8000); many > 12*few {
		t.Errorf("8000 endpoints allocate %d bytes, 1000 %d: %d times as much", many, few, many/few)
	}
}

// TestASetIsUsedWhileItFills: nobody gets the breaker of the endpoints beyond the bound for one
// that is there, and nobody another's.
func TestASetIsUsedWhileItFills(t *testing.T) {
	const endpoints = 200
	set := newSet(t, breaker.SetOptions{MaxEndpoints: endpoints})
	first := make([]atomic.Pointer[breaker.Breaker], endpoints)
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker))) //nolint:gosec // to be repeatable.
			for range 20_000 {
				i := random.IntN(endpoints)
				b := set.Get(fmt.Sprint(i))
				if first[i].CompareAndSwap(nil, b); first[i].Load() != b || b.Endpoint() != fmt.Sprint(i) {
					t.Errorf("endpoint %d has %q", i, b.Endpoint())
					return
				}
			}
		})
	}
	workers.Wait()
	if b := set.Get("beyond"); b.Endpoint() != "_other" {
		t.Errorf("%q is beyond the bound", b.Endpoint())
	}
}
