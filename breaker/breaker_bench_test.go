package breaker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"

	"github.com/holdfast-go/holdfast/breaker"
)

// bench runs an operation on one goroutine and on all.
func bench(b *testing.B, name string, op func()) {
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

func benchBreaker(b *testing.B, o breaker.Options) *breaker.Breaker {
	b.Helper()
	br, err := breaker.New("bench", o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = br.Close() })
	return br
}

func allowDone(br *breaker.Breaker) func() {
	return func() {
		if p, err := br.Allow(); err == nil {
			p.Done(nil)
		}
	}
}

func nothing(context.Context) (int, error) { return 0, nil }

// BenchmarkCall compares a call that does nothing: under a breaker in each of its states, under
// gobreaker, and with a bare counter.
func BenchmarkCall(b *testing.B) {
	ctx := context.Background()
	var counter atomic.Uint64
	bench(b, "atomic-add", func() { counter.Add(1) })

	counted := benchBreaker(b, breaker.Options{})
	bench(b, "closed", allowDone(counted))
	bench(b, "closed-Do", func() { _, _ = breaker.Do(ctx, counted, nothing) })
	timed := benchBreaker(b, breaker.Options{Durations: true})
	bench(b, "closed-timed", allowDone(timed))
	open := benchBreaker(b, breaker.Options{})
	open.ForceOpen()
	bench(b, "rejected", allowDone(open))
	set, err := breaker.NewSet("bench", breaker.SetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = set.Close() })
	bench(b, "closed-of-set", allowDone(set.Get("a")))
	bench(b, "set-Get", func() { set.Get("a") })

	peer := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{})
	call := func() (int, error) { return 0, nil }
	bench(b, "gobreaker-closed", func() { _, _ = peer.Execute(call) })
	tripped := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
		Timeout: time.Hour, ReadyToTrip: func(gobreaker.Counts) bool { return true },
	})
	_, _ = tripped.Execute(func() (int, error) { return 0, context.Canceled })
	bench(b, "gobreaker-rejected", func() { _, _ = tripped.Execute(call) })
}

// BenchmarkFailure measures the slow path, by failures that do not trip.
func BenchmarkFailure(b *testing.B) {
	br := benchBreaker(b, breaker.Options{ConsecutiveFailures: -1, FailureRatio: -1})
	bench(b, "closed", func() {
		if p, err := br.Allow(); err == nil {
			p.Done(context.DeadlineExceeded)
		}
	})
}

// BenchmarkScrape measures one breaker's share of a scrape.
func BenchmarkScrape(b *testing.B) {
	for name, o := range map[string]breaker.Options{"counted": {}, "timed": {Durations: true}} {
		b.Run(name, func(b *testing.B) {
			registry := prometheus.NewRegistry()
			if err := registry.Register(benchBreaker(b, o)); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := registry.Gather(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
