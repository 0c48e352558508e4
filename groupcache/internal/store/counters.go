package store

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// cacheLine is the distance that keeps what one core writes from what another reads; twice
// 64 bytes, as processors fetch lines in pairs.
const cacheLine = 128

// counters count hits and misses, in stripes: goroutines are spread over them, so that cores seldom
// write to the same one.
type counters struct {
	cells []cell // a power of two
	shift uint   // takes a hash to a cell
}

type cell struct {
	hits, misses atomic.Uint64

	_ [cacheLine - 2*8]byte
}

const maxStripes = 64

func newCounters() counters {
	n := bits.Len(uint(min(4*runtime.GOMAXPROCS(0), maxStripes) - 1))
	return counters{cells: make([]cell, 1<<n), shift: uint(64 - n)}
}

// here returns the cell for the calling goroutine: the address of something on its stack tells it
// from others, and costs nothing.
func (c *counters) here() *cell {
	const golden = 0x9E3779B97F4A7C15
	var local byte
	return &c.cells[uint64(uintptr(unsafe.Pointer(&local)))>>9*golden>>c.shift]
}

// hit counts one and returns its number in its stripe.
func (c *counters) hit() uint64 { return c.here().hits.Add(1) }

func (c *counters) miss() { c.here().misses.Add(1) }

func (c *counters) sum() (hits, misses int64) {
	for i := range c.cells {
		hits += int64(c.cells[i].hits.Load())
		misses += int64(c.cells[i].misses.Load())
	}
	return hits, misses
}
