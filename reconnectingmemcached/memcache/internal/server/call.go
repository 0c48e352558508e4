package server

import (
	"context"
	"sync"
	"sync/atomic"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

// call is where one caller waits for one reply.
//
// The first to settle it wins: the reader that has the reply, the watch whose time limit passed,
// the connection that failed, or the caller whose context ended. They hold its generation, so that
// a settled call can be used again at once, although a connection may still hold an entry for its
// former life.
type call struct {
	state atomic.Uint64 // generation<<1 | settled
	done  chan struct{} // receives once for each life that another than the caller settles
	place place         // of its request; the caller's own
	given int64         // as of its flight; the caller's own

	// Written by the one who settled it, before done.
	item    *gomemcache.Item
	items   []*gomemcache.Item // GetMulti
	number  uint64             // Increment, Decrement
	err     error
	sent    bool  // a byte of the request may have reached the server
	replied bool  // err, if any, is the server's answer
	ended   int64 // when the reply was read, in nanoseconds of the client's clock; 0: not known
}

// calls recycles waiting places.
type calls struct{ pool sync.Pool }

func (p *calls) take() *call {
	c, ok := p.pool.Get().(*call)
	if !ok {
		c = &call{done: make(chan struct{}, 1)}
	}
	return c
}

func (p *calls) put(c *call) {
	c.clear()
	p.pool.Put(c)
}

// begin starts a new life and returns its generation.
func (c *call) begin() uint64 {
	generation := c.state.Load()>>1 + 1
	c.clear()
	c.state.Store(generation << 1)
	return generation
}

func (c *call) clear() {
	c.item, c.items, c.number, c.err, c.sent, c.replied, c.ended = nil, nil, 0, nil, false, false, 0
	c.place, c.given = place{}, 0
}

// settle claims the right to write the outcome; only the first of a life gets it.
func (c *call) settle(generation uint64) bool {
	return c.state.CompareAndSwap(generation<<1, generation<<1|1)
}

// settled reports whether that life is over for its caller.
func (c *call) settled(generation uint64) bool { return c.state.Load() != generation<<1 }

// wait returns when the call is settled, by another or by the end of ctx.
func (c *call) wait(ctx context.Context, generation uint64) error {
	if ctx.Done() == nil {
		<-c.done
		return c.err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if c.settle(generation) {
			c.err, c.sent = ctx.Err(), true
			return c.err
		}
		<-c.done
	}
	return c.err
}

// entry is a request's place in the order of replies of a connection.
type entry struct {
	call       *call
	generation uint64
	key        string
	keys       []string // GetMulti
	start      int64    // when the call began, in nanoseconds of the client's clock
	given      int64    // since when the server has its time for it, same clock
	size       int      // bytes on the wire
	op         protocol.Op
	overdue    bool // its time has passed, and the watch has seen it
	joined     bool // shares the line of the entry before it
	valueless  bool // of a hand-over
}

func (e *entry) fail(err error, sent bool) {
	if e.call.settle(e.generation) {
		e.call.err, e.call.sent = err, sent
		e.call.done <- struct{}{}
	}
}

// answer gives the outcome of a reply that was read at the time given. Exactly one of item, items
// and number has a meaning.
func (e *entry) answer(at int64, item *gomemcache.Item, items []*gomemcache.Item, number uint64, err error) {
	if e.call.settle(e.generation) {
		e.call.item, e.call.items, e.call.number = item, items, number
		e.call.err, e.call.sent, e.call.replied, e.call.ended = err, true, true, at
		e.call.done <- struct{}{}
	}
}

// fifo is a growing ring of entries.
type fifo struct {
	ring []entry // its length is a power of two, or 0
	head int
	size int
}

func (f *fifo) nth(i int) *entry { return &f.ring[(f.head+i)&(len(f.ring)-1)] }

func (f *fifo) push(e entry) {
	if f.size == len(f.ring) {
		grown := make([]entry, max(16, 2*f.size))
		for i := range f.size {
			grown[i] = *f.nth(i)
		}
		f.ring, f.head = grown, 0
	}
	f.size++
	*f.nth(f.size - 1) = e
}

// sharesLine reports whether some of the first n share a line.
func (f *fifo) sharesLine(n int) bool {
	for i := range n {
		if f.nth(i).joined {
			return true
		}
	}
	return false
}

func (f *fifo) drop(n int) {
	for i := range n {
		*f.nth(i) = entry{}
	}
	f.head = (f.head + n) & (len(f.ring) - 1)
	f.size -= n
}

// place is that of a request in the order of a line.
type place struct {
	line   *line // nil: none
	number uint64
}

// open reports whether the request may still be carried out: its line lives and has brought no
// answer to it. Its caller may be gone.
func (p place) open() bool {
	if p.line == nil {
		return false
	}
	p.line.mu.Lock()
	defer p.line.mu.Unlock()
	return p.line.err == nil && p.line.placed-uint64(p.line.waiting.size) < p.number
}
