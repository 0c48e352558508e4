package breaker

import (
	"sync/atomic"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// cell is one stripe of the counters. Goroutines are spread over the stripes, so that cores seldom
// write to the same one.
type cell struct {
	success, failure, ignored, rejected, started atomic.Uint64

	_ [observe.CacheLine - 5*8]byte
}

// counters are a breaker's striped counts.
type counters struct {
	stripes observe.Stripes
	cells   []cell // one a stripe
}

func newCounters() counters {
	stripes := observe.NewStripes()
	return counters{stripes: stripes, cells: make([]cell, stripes.Len())}
}

// here returns the cell for the calling goroutine.
func (c *counters) here() *cell { return &c.cells[c.stripes.Here()] }

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

// ended is how many calls were made and are over.
func (c *counters) ended() uint64 { return c.successes() + c.sum(failuresOf) + c.sum(ignoredOf) }

// inUse reports whether tracked permits have yet to be done. The ended are read first: what begins
// and ends meanwhile then looks in use, never the other way round.
func (c *counters) inUse() bool {
	ended := c.ended()
	return c.sum(startedOf) > ended
}

// activity changes whenever the breaker was used.
func (c *counters) activity() uint64 {
	return c.sum(startedOf) + c.ended() + c.sum(rejectedOf)
}

func failuresOf(c *cell) *atomic.Uint64 { return &c.failure }
func ignoredOf(c *cell) *atomic.Uint64  { return &c.ignored }
func rejectedOf(c *cell) *atomic.Uint64 { return &c.rejected }
func startedOf(c *cell) *atomic.Uint64  { return &c.started }
