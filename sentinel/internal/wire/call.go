package wire

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/mediocregopher/radix/v4/resp"
)

// The states of a call. The goroutine that moves it out of pending writes its outcome, and no other
// does after that.
const (
	pending int32 = iota
	settled
	givenUp // its place in the order of replies is still kept
)

// call is one request and the place where its caller waits for the reply.
//
// A settled one is used again; one that was given up is not, because the connection still expects
// its reply.
type call struct {
	state atomic.Int32
	done  chan struct{} // receives once, from the goroutine that settles it; capacity 1
	opts  *resp.Opts    // the caller's; they are not safe for concurrent use

	ctx      context.Context // ends the call; looked at by the connection's tick, so that no caller needs a select
	deadline int64           // of ctx, on the connection's clock; 0: none
	request  []byte          // encoded
	size     int             // of the request, once it is queued
	replies  int             // how many it expects; 0: the caller waits for the request to be written only
	owes     int             // how many replies it leaves to later calls without a request
	class    Class
	into     any     // what the reader decodes the replies into; nil: it drops them
	apart    bool    // it leaves that to the caller
	decoder  decoder // of the caller

	// Written by the one who settled it, before done.
	err   error
	sent  bool   // a byte of it may have reached the server
	at    int64  // when the last reply was read, on the connection's clock
	reply []byte // undecoded, if the caller decodes it
}

// receives says that it only waits for a reply to an earlier request.
func (c *call) receives() bool { return c.size == 0 }

// letGo drops what a call that was given up does not need to keep its place.
func (c *call) letGo() { c.request, c.into, c.ctx = nil, nil, nil }

// Calls makes calls of requests, and recycles them.
type Calls struct {
	// Known are commands beyond the table that may share a connection. Default none.
	Known Known
	// Pushes says that the connections speak RESP3, where some commands are answered by pushes
	// alone. Default false.
	Pushes bool

	pool sync.Pool
}

func (p *Calls) take() *call {
	c, ok := p.pool.Get().(*call)
	if !ok {
		c = &call{done: make(chan struct{}, 1), opts: resp.NewOpts()}
	}
	return c
}

// keepRequest is the largest request buffer that is kept for the next call. That of a reply may be
// larger: connections give their own away instead, if a reply is longer than keepBuffer.
const keepRequest = 16 << 10

func (p *Calls) put(c *call) {
	if c.state.Load() == givenUp {
		return
	}
	c.ctx, c.deadline, c.request, c.replies, c.owes, c.class = nil, 0, emptied(c.request, keepRequest), 0, 0, 0
	c.size, c.into, c.apart = 0, nil, false
	c.err, c.sent, c.at, c.reply, c.decoder.b = nil, false, 0, emptied(c.reply, keepBuffer), nil
	c.state.Store(pending)
	p.pool.Put(c)
}

// emptied is a buffer for the next call.
func emptied(b []byte, most int) []byte {
	if cap(b) > most {
		return nil
	}
	return b[:0]
}

// claim wins the right to write the outcome.
func (c *call) claim(as int32) bool { return c.state.CompareAndSwap(pending, as) }

// fail ends the call with an error, unless it has ended already.
func (c *call) fail(as int32, err error, sent bool) {
	if c.claim(as) {
		c.err, c.sent = err, sent
		c.done <- struct{}{}
	}
}

// Write makes a call the io.Writer that its request is encoded into.
func (c *call) Write(b []byte) (int, error) {
	c.request = append(c.request, b...)
	return len(b), nil
}

// fifo is a growing ring of calls.
type fifo struct {
	ring []*call // its length is a power of two, or 0
	head int
	size int
}

func (f *fifo) peek(i int) *call { return f.ring[(f.head+i)&(len(f.ring)-1)] }

func (f *fifo) add(c *call) {
	if f.size == len(f.ring) {
		grown := make([]*call, max(16, 2*f.size))
		for i := range f.size {
			grown[i] = f.peek(i)
		}
		f.ring, f.head = grown, 0
	}
	f.ring[(f.head+f.size)&(len(f.ring)-1)] = c
	f.size++
}

func (f *fifo) pop() *call {
	c := f.ring[f.head]
	f.ring[f.head] = nil
	f.head = (f.head + 1) & (len(f.ring) - 1)
	f.size--
	return c
}

// put replaces the i-th.
func (f *fifo) put(i int, c *call) { f.ring[(f.head+i)&(len(f.ring)-1)] = c }

// cut drops all but the first n.
func (f *fifo) cut(n int) {
	for ; f.size > n; f.size-- {
		f.put(f.size-1, nil)
	}
}

// remove takes the i-th out.
func (f *fifo) remove(i int) {
	for ; i > 0; i-- { // those before it move up by one
		f.ring[(f.head+i)&(len(f.ring)-1)] = f.peek(i - 1)
	}
	f.pop()
}
