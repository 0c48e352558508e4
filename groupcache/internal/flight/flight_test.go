package flight_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
)

var errClosed = errors.New("closed")

// table makes one in a bubble, whose end closes it.
func table(t *testing.T, work func(ctx context.Context, f *flight.Flight[string]) error) *flight.Table[string] {
	life, end := context.WithCancel(context.Background())
	all := flight.New(flight.Options[string]{
		Work:     work,
		Panicked: func(key string, cause any) error { return fmt.Errorf("%s: %v", key, cause) },
		Life:     life,
		Closed:   errClosed,
	})
	t.Cleanup(func() {
		end()
		all.Close()
		all.Wait()
	})
	return all
}

func TestTheContextOfAFlight(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		gone := errors.New("the first caller has gone")
		caller, leave := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
		all := table(t, func(ctx context.Context, _ *flight.Flight[string]) error {
			defer close(ended)
			child, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			leave(gone)
			synctest.Wait()
			if got := ctx.Value(key{}); got != "value" {
				t.Errorf("the load sees %v of the caller's values", got)
			}
			if err, cause := ctx.Err(), context.Cause(ctx); err != nil || cause != nil {
				t.Errorf("the caller's end is that of the load: %v, %v", err, cause)
			}
			begun := time.Now()
			<-child.Done() // the flight is abandoned after a second
			if err := child.Err(); !errors.Is(err, context.Canceled) || time.Since(begun) != time.Second {
				t.Errorf("the child ends with %v after %v, want Canceled after 1s", err, time.Since(begun))
			}
			if err, cause := ctx.Err(), context.Cause(ctx); !errors.Is(err, context.Canceled) || !errors.Is(cause, context.Canceled) {
				t.Errorf("the load's context ends with %v, %v, want Canceled", err, cause)
			}
			late := make(chan struct{})
			context.AfterFunc(ctx, func() { close(late) })
			<-late
			return nil
		})
		if _, err := all.Do(caller, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v, want Canceled", err)
		}
		<-ended
	})
}

func TestAContextOfAFlightCanBeLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var called atomic.Int64
		var stops []func() bool
		all := table(t, func(ctx context.Context, _ *flight.Flight[string]) error {
			own := ctx.(interface {
				AfterFunc(fn func()) (stop func() bool)
			})
			stops = append(stops, own.AfterFunc(func() { called.Add(1) }), own.AfterFunc(func() { called.Add(10) }))
			if !stops[0]() {
				t.Error("the function is called already")
			}
			return nil
		})
		if _, err := all.Do(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := called.Load(); got != 10 || stops[0]() || stops[1]() {
			t.Errorf("the end of the load has called functions that sum up to %d, want the second alone: 10", got)
		}
	})
}

func TestALoadThatIsLeftIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int64
		all := table(t, func(ctx context.Context, f *flight.Flight[string]) error {
			loads.Add(1)
			time.Sleep(100 * time.Millisecond)
			f.Data = "value"
			return ctx.Err()
		})
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			if _, err := all.Do(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Do = %v, want DeadlineExceeded", err)
			}
			cancel()
		}
		f, err := all.Do(t.Context(), "a")
		if err != nil || f.Data != "value" || loads.Load() != 1 {
			t.Errorf("Do = %q, %v after %d loads, want the value of one load", f.Data, err, loads.Load())
		}
	})
}

func TestCloseWaitsForFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := table(t, func(ctx context.Context, f *flight.Flight[string]) error {
			<-ctx.Done()
			if time.Sleep(time.Second); f.Fence.Load() { // tidies up
				time.Sleep(time.Second)
			}
			return ctx.Err()
		})
		for i := range 100 {
			go func() { _, _ = all.Do(t.Context(), fmt.Sprint(i)) }()
		}
		synctest.Wait()
		all.Fence("7") // those that cannot be joined are waited for, too
		begun := time.Now()
		all.Close()
		all.Close()
		all.Wait()
		if n, _ := all.Active(); n != 0 || time.Since(begun) != 2*time.Second {
			t.Errorf("%d flights are left %v after Close, want none after 2s", n, time.Since(begun))
		}
		if _, err := all.Do(t.Context(), "a"); !errors.Is(err, errClosed) {
			t.Errorf("Do = %v after Close", err)
		}
	})
}

func TestABatchEndsWhenAllHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := table(t, nil)
		ctx, leave := context.WithCancel(t.Context())
		b := all.Batch(ctx, []string{"a", "b"})
		defer b.LandAll(flight.ErrUndone)
		leave()
		_ = b.Flights[0].Wait(ctx)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := b.Lifetime().Err(); err != nil {
			t.Errorf("the batch has ended while one waits for b: %v", err)
		}
		_ = b.Flights[1].Wait(ctx)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := b.Lifetime().Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("the batch that nobody waits for ends with %v", err)
		}
	})
}
