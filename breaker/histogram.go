package breaker

import (
	"sync/atomic"
	"time"
)

const durationBuckets = 16

// durationCell is one stripe of the histogram.
type durationCell struct {
	sum     atomic.Int64                       // nanoseconds
	buckets [durationBuckets + 1]atomic.Uint64 // not cumulative; the last is beyond all bounds

	_ [2*cacheLine - (durationBuckets+2)*8]byte
}

// durations is a striped histogram of call times; its zero value counts nothing and must not be observed.
type durations struct {
	bounds [durationBuckets]time.Duration
	cells  []durationCell
}

func newDurations(stripes int) *durations {
	const us, ms, s = time.Microsecond, time.Millisecond, time.Second
	return &durations{
		cells: make([]durationCell, stripes),
		bounds: [durationBuckets]time.Duration{
			50 * us, 100 * us, 250 * us, 500 * us, 1 * ms, 2500 * us, 5 * ms, 10 * ms, 25 * ms, 50 * ms,
			100 * ms, 250 * ms, 500 * ms, 1 * s, 2500 * ms, 5 * s,
		},
	}
}

func (d *durations) observe(stripe int, elapsed time.Duration) {
	low, high := 0, durationBuckets
	for low < high {
		if middle := (low + high) / 2; elapsed <= d.bounds[middle] {
			high = middle
		} else {
			low = middle + 1
		}
	}
	c := &d.cells[stripe]
	c.buckets[low].Add(1)
	c.sum.Add(int64(elapsed))
}

// read returns what Prometheus wants: the count, the sum in seconds, and cumulative counts by upper bound in seconds.
func (d *durations) read() (count uint64, sum float64, buckets map[float64]uint64) {
	var counts [durationBuckets + 1]uint64
	total := int64(0)
	for i := range d.cells {
		total += d.cells[i].sum.Load()
		for j := range counts {
			counts[j] += d.cells[i].buckets[j].Load()
		}
	}
	buckets = make(map[float64]uint64, durationBuckets)
	for i, bound := range d.bounds {
		count += counts[i]
		buckets[bound.Seconds()] = count
	}
	return count + counts[durationBuckets], time.Duration(total).Seconds(), buckets
}
