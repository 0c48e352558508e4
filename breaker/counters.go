package breaker

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// cacheLine is the distance that keeps two cores' counters apart; twice 64 bytes, as processors fetch lines in pairs.
const cacheLine = 128

// cell is one stripe of the counters. Goroutines are spread over the stripes, so that cores seldom write to the same one.
type cell struct {
	success, failure, ignored, rejected, started atomic.Uint64

	_ [cacheLine - 5*8]byte
}

// counters are a breaker's striped counts.
type counters struct {
	cells []cell // a power of two
	shift uint   // takes a hash to an index
}

const maxStripes = 64

func newCounters() counters {
	n := bits.Len(uint(min(8*runtime.GOMAXPROCS(0), maxStripes) - 1))
	return counters{cells: make([]cell, 1<<n), shift: uint(64 - n)}
}

// stripe picks one for whoever holds p on its stack: the address tells goroutines apart, and costs nothing to know.
func (c *counters) stripe(p unsafe.Pointer) int {
	const golden = 0x9E3779B97F4A7C15
	return int(uint64(uintptr(p)) >> 9 * golden >> c.shift)
}

// here returns the cell for the calling goroutine.
func (c *counters) here() *cell {
	var local byte
	return &c.cells[c.stripe(unsafe.Pointer(&local))]
}

func (c *counters) sum(field func(*cell) *atomic.Uint64) uint64 {
	total := uint64(0)
	for i := range c.cells {
		total += field(&c.cells[i]).Load()
	}
	return total
}

func (c *counters) successes() uint64 {
	total := uint64(0)
	for i := range c.cells {
		total += c.cells[i].success.Load()
	}
	return total
}

// inUse tells whether tracked permits have yet to be done. The ended are read first: what begins and ends meanwhile then looks in
// use, never the other way round.
func (c *counters) inUse() bool {
	ended := c.successes() + c.sum(failuresOf) + c.sum(ignoredOf)
	return c.sum(startedOf) > ended
}

// activity changes whenever the breaker was used.
func (c *counters) activity() uint64 {
	return c.sum(startedOf) + c.successes() + c.sum(failuresOf) + c.sum(ignoredOf) + c.sum(rejectedOf)
}

func failuresOf(c *cell) *atomic.Uint64 { return &c.failure }
func ignoredOf(c *cell) *atomic.Uint64  { return &c.ignored }
func rejectedOf(c *cell) *atomic.Uint64 { return &c.rejected }
func startedOf(c *cell) *atomic.Uint64  { return &c.started }
