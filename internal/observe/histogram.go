package observe

import (
	"sync/atomic"
	"time"
)

// Latencies are the upper bounds of all buckets for the duration of calls, in nanoseconds: 50 µs
// to 10 s.
func Latencies() []int64 {
	return []int64{
		50e3, 100e3, 250e3, 500e3, 1e6, 2.5e6, 5e6, 10e6, 25e6, 50e6, 100e6, 250e6, 500e6, 1e9, 2.5e9, 5e9, 10e9,
	}
}

// Ages are those for the age of values, and for lateness, in nanoseconds: 10 ms to a day.
func Ages() []int64 {
	return []int64{
		10e6, 50e6, 100e6, 500e6, 1e9, 2.5e9, 5e9, 10e9, 30e9, 60e9, 300e9, 900e9, 3600e9, 6 * 3600e9, 24 * 3600e9,
	}
}

// Sizes are those for the size of values, in bytes: 64 B to 16 MiB.
func Sizes() []int64 {
	return []int64{1 << 6, 1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24}
}

// Histogram counts measurements in buckets. It is safe for concurrent use, without a lock: counters
// that all processors share would cost more than the rest of a call's bookkeeping, so there are
// several copies.
type Histogram struct {
	bounds  []int64
	stripes Stripes
	width   int             // of a copy
	cells   []atomic.Uint64 // of each copy: a count for each bucket, one for values beyond, and the sum
}

// NewHistogram has buckets up to and including each of bounds, which ascend. The zero Stripes suit
// what one goroutine observes.
func NewHistogram(bounds []int64, stripes Stripes) *Histogram {
	const words = CacheLine / 8
	width := (len(bounds) + 2 + words - 1) / words * words
	return &Histogram{bounds: bounds, stripes: stripes, width: width, cells: make([]atomic.Uint64, width*stripes.Len())}
}

// Observe counts one measurement, in the unit of the bounds.
func (h *Histogram) Observe(v int64) {
	h.ObserveAt(h.stripes.Here(), v)
}

// ObserveAt is Observe by a goroutine that knows its stripe.
func (h *Histogram) ObserveAt(stripe int, v int64) {
	bucket := 0
	for bucket < len(h.bounds) && v > h.bounds[bucket] {
		bucket++
	}
	cells := h.cells[stripe*h.width:][:len(h.bounds)+2]
	cells[bucket].Add(1)
	cells[len(cells)-1].Add(uint64(max(v, 0)))
}

// Counts are what a Histogram has seen.
type Counts struct {
	N       uint64
	Sum     int64    // in the unit of the bounds
	Buckets []uint64 // not cumulative; the last is beyond all bounds
}

// Read adds the copies up. Values observed meanwhile may be in the buckets and not yet in the sum.
func (h *Histogram) Read() Counts {
	c := Counts{Buckets: make([]uint64, len(h.bounds)+1)}
	for copied := 0; copied < len(h.cells); copied += h.width {
		for i := range c.Buckets {
			c.Buckets[i] += h.cells[copied+i].Load()
		}
		c.Sum += int64(h.cells[copied+len(c.Buckets)].Load())
	}
	for _, n := range c.Buckets {
		c.N += n
	}
	return c
}

// Mean is the average of durations; 0 if there are none.
func (c Counts) Mean() time.Duration { return time.Duration(c.Sum / int64(max(c.N, 1))) }
