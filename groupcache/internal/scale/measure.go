package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// percentile is the value below which so many of a hundred values lie. The values are sorted by it;
// there must be one.
func percentile[T int | float64 | time.Duration](values []T, hundredths int) T {
	slices.Sort(values)
	return values[min(len(values)*hundredths/100, len(values)-1)]
}

func median[T int | float64 | time.Duration](values []T) T { return percentile(values, 50) }

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// timing is what calls have shown.
type timing struct {
	p50, p99 time.Duration // of a call, median of the rounds
	cpu      time.Duration // of this process for a call, median of the rounds
}

// measureCalls makes calls one after the other.
func measureCalls(s settings, call func(i int) error) (timing, error) {
	var p50, p99, used []time.Duration
	for round := range s.rounds {
		runtime.GC()
		took := make([]time.Duration, s.calls)
		before := cpu()
		for i := range took {
			start := time.Now()
			if err := call(round*s.calls + i); err != nil {
				return timing{}, err
			}
			took[i] = time.Since(start)
		}
		used = append(used, (cpu()-before)/time.Duration(s.calls))
		p50, p99 = append(p50, percentile(took, 50)), append(p99, percentile(took, 99))
	}
	return timing{median(p50), median(p99), median(used)}, nil
}

// footprint is what this process holds at a moment.
type footprint struct {
	bytes      float64 // heap and stacks
	heap       float64 // bytes of the heap alone
	goroutines float64
}

func takeFootprint() footprint {
	var m runtime.MemStats
	runtime.GC() // the second one collects what finalizers and pools still held at the first
	runtime.GC()
	runtime.ReadMemStats(&m)
	return footprint{float64(m.HeapAlloc + m.StackInuse), float64(m.HeapAlloc), float64(runtime.NumGoroutine())}
}

// since is what has been added after an earlier footprint, for each of n things.
func (f footprint) since(before footprint, n int) footprint {
	each := func(now, then float64) float64 { return (now - then) / float64(n) }
	return footprint{each(f.bytes, before.bytes), each(f.heap, before.heap), each(f.goroutines, before.goroutines)}
}

// allocated is how many bytes have been allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// eventually waits for a condition that must come true.
func eventually(ctx context.Context, what string, condition func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}
