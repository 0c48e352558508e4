package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// unwatchTimeout bounds the question that makes a connection fit for the next user.
const unwatchTimeout = 100 * time.Millisecond

// private is a connection of one caller at a time. It is a radix.Conn for that caller, until it is
// given back.
type private struct {
	pool       *privates
	slots      slots // that it has a token of
	conn       *wire.Conn
	addr       string
	generation uint64
	state      atomic.Uint32 // a wire.Class: what of it the next user must not find
	wrote      atomic.Bool   // its user has written on it
	elsewhere  bool          // its user had written on another connection before
	returned   atomic.Bool
}

var _ radix.Conn = (*private)(nil)

// alone performs an action that cannot share a connection.
func (p *Route) alone(ctx context.Context, a radix.Action) error {
	of := p.private.general
	if command, ok := a.(resp.Marshaler); ok {
		of = p.private.slotsFor(p.Calls.ClassOf(ctx, command))
	}
	return p.reserve(ctx, of, func(conn radix.Conn) error { return a.Perform(ctx, conn) })
}

// Exclusive runs fn with a connection that nobody else uses meanwhile.
func (p *Route) Exclusive(ctx context.Context, fn func(radix.Conn) error) error {
	return p.reserve(ctx, p.private.general, fn)
}

func (p *Route) reserve(ctx context.Context, of slots, fn func(radix.Conn) error) error {
	c, err := p.private.acquire(ctx, of)
	if err != nil {
		if p.Tracer != nil {
			p.Tracer.Unsent(ctx, p.Name, p.Seat().Addr, err)
		}
		return err
	}
	defer c.release()
	return fn(c)
}

// sendPrivately sends one request on a connection of its own.
func (p *Route) sendPrivately(ctx context.Context, r wire.Request, into any) error {
	c, err := p.private.acquire(ctx, p.private.slotsFor(r.Class()))
	if err != nil {
		p.Calls.Drop(r)
		return err
	}
	defer c.release()
	return c.send(ctx, r, into) // without a receiver as well: the reply is awaited and dropped, for nobody will come for it
}

// Addr is the address of the server.
func (c *private) Addr() net.Addr { return c.conn.Addr() }

// Do performs an action on this connection.
func (c *private) Do(ctx context.Context, a radix.Action) error { return a.Perform(ctx, c) }

// Close gives the connection up; it is not used again.
func (c *private) Close() error {
	c.conn.End(wire.ErrClosed)
	return nil
}

// EncodeDecode sends a request and decodes its replies. As radix has it, the step whose argument is
// nil is left out: the replies then wait for calls without a request.
func (c *private) EncodeDecode(ctx context.Context, request, into any) error {
	if c.returned.Load() {
		return resp.ErrConnUsable{Err: fmt.Errorf("%w: the connection was given back: do not use it after its function", outcome.ErrNotSent)}
	}
	p := c.pool.primary
	if request == nil {
		return c.failed(c.conn.EncodeDecode(ctx, nil, into))
	}
	r, err := p.Calls.Encode(ctx, request)
	if err != nil {
		return p.failed(err, p.Seat())
	}
	if into == nil {
		r.SendOnly()
	}
	if p.Tracer != nil {
		return c.sendTraced(ctx, r, into)
	}
	return c.send(ctx, r, into)
}

// failed says of a call that only waited for a reply what became of the request: it was sent.
func (c *private) failed(err error) error {
	f := (*wire.Failure)(nil)
	if !errors.As(err, &f) {
		return err
	}
	return outcome.Of(&wire.Failure{Sent: true, Err: f.Err}, c.pool.primary.Name, c.addr)
}

func (c *private) sendTraced(ctx context.Context, r wire.Request, into any) error {
	p := c.pool.primary
	ctx, span := p.Tracer.Request(ctx, r, p.Name, c.addr)
	err := c.send(ctx, r, into)
	span.End(OutcomeOf(err, c.addr))
	return err
}

// send sends a request, unless the connection is no longer one to the primary.
func (c *private) send(ctx context.Context, r wire.Request, into any) error {
	p := c.pool.primary
	if r.Class()&wire.Pushed != 0 && wire.Class(c.state.Load())&wire.Switches != 0 {
		p.Calls.Drop(r)
		return outcome.Unsendable(wire.ErrPushed)
	}
	if c.elsewhere || !c.wrote.Load() {
		if err := p.pointless(r); err != nil {
			return err
		}
	}
	start := p.Now()
	for {
		s, err := p.ready(ctx, r.Class())
		if err == nil && s.Generation != c.generation {
			err = fmt.Errorf("%w: %w: primary %q is now %s: begin again", outcome.ErrFailover, outcome.ErrNotSent, p.Name, s.Addr)
		}
		if err != nil {
			p.Calls.Drop(r)
			return err
		}
		c.note(r.Class())
		if r.Class()&wire.Writes != 0 {
			c.wrote.Store(true)
		}
		at, err := c.conn.Send(r, into)
		if err == nil || at != 0 {
			p.Metrics.answered(at-start, err)
			return err
		}
		if f := outcome.Unused(err); f == nil || c.conn.Err() != nil || p.Seat() == s {
			if f != nil {
				p.Calls.Drop(r)
			}
			return p.failed(err, s)
		}
	}
}

// note keeps track of the connection's state.
func (c *private) note(class wire.Class) {
	const state = wire.Dirty | wire.Begins | wire.Watches | wire.Switches
	for {
		old := c.state.Load()
		now, added := wire.Class(old), class&state
		if class&wire.Ends != 0 {
			now &^= wire.Begins | wire.Watches
			added &^= wire.Begins | wire.Watches
		}
		if class&wire.Unwatches != 0 {
			now &^= wire.Watches
		}
		if c.state.CompareAndSwap(old, uint32(now|added)) {
			return
		}
	}
}

// release gives the connection back: for the next user if it is as new, else it is closed.
func (c *private) release() {
	c.returned.Store(true)
	v := c.pool
	defer func() { <-c.slots }()
	if wire.Class(c.state.Load()) == wire.Watches && c.conn.Idle() && c.unwatch() == nil {
		c.state.Store(0)
	}
	if !v.keep(c) {
		c.conn.End(wire.ErrRetired)
	}
}

// unwatch forgets the keys that were watched for a transaction that never came.
//
//nolint:contextcheck // the caller's context may have ended, and has nothing to do with it.
func (c *private) unwatch() error {
	ctx, cancel := context.WithTimeout(c.pool.primary.Context, unwatchTimeout)
	defer cancel()
	return c.conn.Do(ctx, radix.Cmd(nil, "UNWATCH"))
}

// pointless refuses a request that asks about the writes of a connection that has none, and drops
// it.
func (p *Route) pointless(r wire.Request) error {
	if r.Class()&wire.Waits == 0 {
		return nil
	}
	p.Calls.Drop(r)
	return resp.ErrConnUsable{Err: fmt.Errorf("%w: %w: %w", outcome.ErrStateful, outcome.ErrNotSent, errPointless)}
}

var errPointless = errors.New("WAIT and WAITAOF answer for the writes of their own connection alone, and those before this one went over another: " +
	"use Client.DoDurable, or write and wait in one Client.Exclusive")
