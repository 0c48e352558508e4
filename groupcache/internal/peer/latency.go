package peer

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// percentile keeps the 95th and 99th percentile of recent durations, to a quarter. Its zero value
// has seen nothing.
type percentile struct {
	buckets [64]atomic.Uint32 // four to each doubling, from firstBucket on
	seen    atomic.Uint32
	p99     atomic.Int64
	p95     atomic.Int64
}

const (
	firstBucket = 16 * time.Microsecond
	enough      = 8    // observations before the first look at the buckets
	recompute   = 64   // observations between two looks later on
	memory      = 1024 // observations after which earlier ones count half
)

func bucketOf(d time.Duration) int {
	n := uint64(max(d, firstBucket) / (firstBucket / 4)) // 4 and more
	octave := bits.Len64(n) - 3
	return min(octave*4+int(n>>octave)-4, 63)
}

// upper is the end of a bucket.
func upper(bucket int) time.Duration {
	return time.Duration(5+bucket%4) << (bucket / 4) * (firstBucket / 4)
}

func (p *percentile) observe(d time.Duration) {
	p.buckets[bucketOf(d)].Add(1)
	seen := p.seen.Add(1)
	if seen%memory == 0 {
		for i := range p.buckets {
			p.buckets[i].Store(p.buckets[i].Load() / 2)
		}
	}
	if seen%recompute == 0 || seen >= enough && seen&(seen-1) == 0 {
		p.compute()
	}
}

func (p *percentile) compute() {
	var total, above uint32
	for i := range p.buckets {
		total += p.buckets[i].Load()
	}
	last := time.Duration(-1)
	for i := len(p.buckets) - 1; i >= 0; i-- {
		above += p.buckets[i].Load()
		if last < 0 && above*100 > total {
			last = upper(i)
			p.p99.Store(int64(last))
		}
		if above*20 > total {
			p.p95.Store(int64(upper(i)))
			return
		}
	}
}

// reset forgets all observations.
func (p *percentile) reset() {
	for i := range p.buckets {
		p.buckets[i].Store(0)
	}
	p.seen.Store(0)
	p.p99.Store(0)
	p.p95.Store(0)
}

// value is the 99th percentile, 0 before there were enough observations.
func (p *percentile) value() time.Duration { return time.Duration(p.p99.Load()) }
