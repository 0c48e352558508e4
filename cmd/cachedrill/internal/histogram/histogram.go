// Package histogram keeps durations in buckets of constant relative width.
package histogram

import (
	"math/bits"
	"time"
)

const (
	// subBits sets the precision: 2^subBits buckets per power of two, so that a bucket is 1/64 of
	// its value wide.
	subBits = 6
	sub     = 1 << subBits
	// octaves covers 1 µs to about 2.4 hours; longer times count in the last bucket.
	octaves = 28
	buckets = sub * (octaves + 1)
)

// Histogram counts durations in buckets that are at most 1/64 of their value wide, to the
// microsecond below 64 µs. The zero value is empty and ready. Most callers want Add and Quantile.
// It is not safe for concurrent use.
type Histogram struct {
	counts [buckets]uint32
	total  int
	max    time.Duration
}

// Add counts d. Negative durations count as zero.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[index(uint64(d.Microseconds()))]++
	h.total++
	h.max = max(h.max, d)
}

// Count returns how many durations have been added.
func (h *Histogram) Count() int { return h.total }

// Max returns the longest duration added, exactly; zero if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the duration that the share q (0 to 1) of all durations does not exceed, to 1/64
// of its value and never below the truth by more than a microsecond; zero if there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := int(q * float64(h.total))
	if float64(rank) < q*float64(h.total) {
		rank++
	}
	rank = min(max(rank, 1), h.total)
	seen := 0
	for i, n := range h.counts {
		if seen += int(n); seen >= rank {
			return min(time.Duration(highest(i))*time.Microsecond, h.max)
		}
	}
	return h.max
}

// Over returns how many of the durations were longer than d. Those in the same bucket as d do not
// count.
func (h *Histogram) Over(d time.Duration) (n int) {
	for _, c := range h.counts[index(uint64(max(d, 0).Microseconds()))+1:] {
		n += int(c)
	}
	return n
}

// index returns the bucket of v: v itself below 2*sub, then sub buckets for each power of two.
func index(v uint64) int {
	shift := bits.Len64(v>>subBits) - 1
	if shift <= 0 {
		return int(v)
	}
	return min(shift*sub+int(v>>shift), buckets-1)
}

// highest returns the largest value of bucket i.
func highest(i int) uint64 {
	shift := i/sub - 1
	if shift <= 0 {
		return uint64(i)
	}
	return (uint64(i-shift*sub)+1)<<shift - 1
}
