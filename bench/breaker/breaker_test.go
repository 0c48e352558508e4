// Package breaker compares our circuit breaker with those of others, on calls that do nothing.
package breaker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"

	"github.com/holdfast-go/holdfast/breaker"
)

var errDown = errors.New("down")

// newOurs returns our breaker, closed.
func newOurs(b *testing.B) *breaker.Breaker {
	b.Helper()
	ours, err := breaker.New("bench", breaker.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ours.Close() })
	return ours
}

func newGobreaker() *gobreaker.CircuitBreaker[int] {
	return gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
		Timeout: time.Hour, ReadyToTrip: func(gobreaker.Counts) bool { return true },
	})
}

// measure runs an operation on one goroutine and on all.
func measure(b *testing.B, name string, op func()) {
	b.Run(name+"/serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			op()
		}
	})
	b.Run(name+"/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				op()
			}
		})
	})
}

func operations(ours *breaker.Breaker, failsafe circuitbreaker.CircuitBreaker[int], sony *gobreaker.CircuitBreaker[int]) map[string]func() {
	ctx := context.Background()
	return map[string]func(){
		"holdfast-Allow": func() {
			if permit, err := ours.Allow(); err == nil {
				permit.Done(nil)
			}
		},
		"holdfast-Do": func() {
			_, _ = breaker.Do(ctx, ours, func(context.Context) (int, error) { return 0, nil })
		},
		"failsafe-permit": func() {
			if failsafe.TryAcquirePermit() {
				failsafe.RecordSuccess()
			}
		},
		"gobreaker-Execute": func() {
			_, _ = sony.Execute(func() (int, error) { return 0, nil })
		},
	}
}

// BenchmarkClosed measures a call that is let through and succeeds.
func BenchmarkClosed(b *testing.B) {
	var counter atomic.Uint64
	measure(b, "atomic-add", func() { counter.Add(1) })
	for name, op := range operations(newOurs(b), circuitbreaker.NewWithDefaults[int](), newGobreaker()) {
		measure(b, name, op)
	}
}

// BenchmarkRejected measures a call that is refused.
func BenchmarkRejected(b *testing.B) {
	ours, failsafe, sony := newOurs(b), circuitbreaker.NewWithDefaults[int](), newGobreaker()
	ours.ForceOpen()
	failsafe.Open()
	_, _ = sony.Execute(func() (int, error) { return 0, errDown })
	for name, op := range operations(ours, failsafe, sony) {
		measure(b, name, op)
	}
}
