package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// privates are the connections of one primary that serve one caller at a time.
type privates struct {
	primary  *primary
	general  slots
	blocking slots // for what waits, so that the others need not wait for it

	mu    sync.Mutex
	idle  []*wire.Conn          // of the present generation, last used last; guarded by mu
	inUse map[*wire.Conn]uint64 // with its generation; guarded by mu
}

// slots hold a token for each connection in use.
type slots chan struct{}

func newPrivates(p *primary, o Options) *privates {
	return &privates{
		primary: p, general: make(slots, o.PrivateConns), blocking: make(slots, o.BlockingConns), inUse: make(map[*wire.Conn]uint64),
	}
}

// slotsFor are those that bound the connections for requests of a class.
func (v *privates) slotsFor(class wire.Class) slots {
	if class&wire.Blocks != 0 && class&wire.Unknown == 0 {
		return v.blocking
	}
	return v.general
}

// unwatchTimeout bounds what a connection is worth before it is closed instead.
const unwatchTimeout = 100 * time.Millisecond

// private is a connection of one caller at a time. It is a radix.Conn for that caller, until it is given back.
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
func (p *primary) alone(ctx context.Context, a radix.Action) error {
	of := p.private.general
	if command, ok := a.(resp.Marshaler); ok {
		of = p.private.slotsFor(p.client.calls.ClassOf(ctx, command))
	}
	return p.reserve(ctx, of, func(conn radix.Conn) error { return a.Perform(ctx, conn) })
}

// exclusive runs fn with a connection that nobody else uses meanwhile.
func (p *primary) exclusive(ctx context.Context, fn func(radix.Conn) error) error {
	return p.reserve(ctx, p.private.general, fn)
}

func (p *primary) reserve(ctx context.Context, of slots, fn func(radix.Conn) error) error {
	c, err := p.private.acquire(ctx, of)
	if err != nil {
		if p.client.tracer != nil {
			p.client.tracer.unsent(ctx, p, err)
		}
		return err
	}
	defer c.release()
	return fn(c)
}

// sendPrivately sends one request on a connection of its own.
func (p *primary) sendPrivately(ctx context.Context, r wire.Request, into any) error {
	c, err := p.private.acquire(ctx, p.private.slotsFor(r.Class()))
	if err != nil {
		p.client.calls.Drop(r)
		return err
	}
	defer c.release()
	return c.send(ctx, r, into) // without a receiver as well: the reply is awaited and dropped, for nobody will come for it
}

// acquire takes an idle connection to the present primary, or opens one.
func (v *privates) acquire(ctx context.Context, of slots) (*private, error) {
	p := v.primary
	if s := p.seat.Load(); s.err != nil {
		p.metrics.refused.Add(1)
		return nil, s.err
	}
	if err := v.takeSlot(ctx, of); err != nil {
		return nil, err
	}
	s := p.seat.Load() // there may be another primary than before the wait
	if s.err != nil {
		<-of
		p.metrics.refused.Add(1)
		return nil, s.err
	}
	conn := v.takeIdle(s.generation)
	for conn != nil && p.client.servers.renew(ctx, conn) != nil { // it has to be logged in anew, and is not
		v.drop(conn)
		conn = v.takeIdle(s.generation)
	}
	if conn == nil {
		var err error
		if conn, err = v.open(ctx, s); err != nil {
			<-of
			return nil, fmt.Errorf("%w: primary %q: %w", ErrNotSent, p.name, err)
		}
	}
	return &private{pool: v, slots: of, conn: conn, addr: s.addr, generation: s.generation}, nil
}

// takeSlot waits until one more connection may be in use.
func (v *privates) takeSlot(ctx context.Context, of slots) error {
	select {
	case of <- struct{}{}:
		return nil
	default:
	}
	p := v.primary
	select {
	case of <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w: primary %q: %d are in use: %w", ErrBusy, ErrNotSent, p.name, cap(of), ctx.Err())
	case <-p.client.ctx.Done():
		return p.noPrimary(ErrClosed)
	}
}

// takeIdle returns nil if there is none. Those that have ended meanwhile are dropped.
func (v *privates) takeIdle(generation uint64) *wire.Conn {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.idle) > 0 {
		conn := v.idle[len(v.idle)-1]
		v.idle = v.idle[:len(v.idle)-1]
		if conn.Err() == nil {
			v.inUse[conn] = generation
			return conn
		}
	}
	return nil
}

// drop ends a connection that was taken.
func (v *privates) drop(conn *wire.Conn) {
	v.mu.Lock()
	delete(v.inUse, conn)
	v.mu.Unlock()
	conn.End(wire.ErrRetired)
}

func (v *privates) open(ctx context.Context, s *seat) (*wire.Conn, error) {
	p := v.primary
	conn, err := p.client.servers.connectFor(ctx, s.addr, toServe, wire.Options{
		OnAlarm: func(wire.Alarm) { p.client.director.alarmed(p, s.generation) },
		Silence: p.client.options.HeartbeatTimeout, Witness: s.link.beats,
	})
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.inUse[conn] = s.generation
	v.mu.Unlock()
	switch now := p.seat.Load(); { // a fence or a change that came before the connection was listed did not reach it
	case now.generation != s.generation:
		conn.Retire()
	case now.fence != nil:
		conn.Fence()
	}
	return conn, nil
}

func (v *privates) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.idle) + len(v.inUse)
}

// each does something with all connections.
func (v *privates) each(do func(*wire.Conn)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, conn := range v.idle {
		do(conn)
	}
	for conn := range v.inUse {
		do(conn)
	}
}

// leave gives all connections up that are older than the generation: idle ones at once, the others when their users are done, or
// are ended with the function returned.
func (v *privates) leave(generation uint64) (end func(error)) {
	v.mu.Lock()
	idle := v.idle
	v.idle = nil
	var old []*wire.Conn
	for conn, g := range v.inUse {
		if g < generation {
			old = append(old, conn)
		}
	}
	v.mu.Unlock()
	for _, conn := range slices.Concat(idle, old) {
		conn.Retire()
	}
	return func(err error) {
		for _, conn := range old {
			conn.End(err)
		}
	}
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

// EncodeDecode sends a request and decodes its replies. As radix has it, the step whose argument is nil is left out: the replies then
// wait for calls without a request.
func (c *private) EncodeDecode(ctx context.Context, request, into any) error {
	if c.returned.Load() {
		return resp.ErrConnUsable{Err: fmt.Errorf("%w: the connection was given back: do not use it after its function", ErrNotSent)}
	}
	p := c.pool.primary
	if request == nil {
		return c.failed(c.conn.EncodeDecode(ctx, nil, into))
	}
	r, err := p.client.calls.Encode(ctx, request)
	if err != nil {
		return p.failed(err, p.seat.Load())
	}
	if into == nil {
		r.SendOnly()
	}
	if p.client.tracer != nil {
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
	return outcome(&wire.Failure{Sent: true, Err: f.Err}, c.pool.primary.name, c.addr)
}

func (c *private) sendTraced(ctx context.Context, r wire.Request, into any) error {
	p := c.pool.primary
	ctx, span := p.client.tracer.request(ctx, r, p.name, c.addr)
	err := c.send(ctx, r, into)
	span.End(outcomeOf(err, c.addr))
	return err
}

// send sends a request, unless the connection is no longer one to the primary.
func (c *private) send(ctx context.Context, r wire.Request, into any) error {
	p := c.pool.primary
	if r.Class()&wire.Pushed != 0 && wire.Class(c.state.Load())&wire.Switches != 0 {
		p.client.calls.Drop(r)
		return unsendable(wire.ErrPushed)
	}
	if c.elsewhere || !c.wrote.Load() {
		if err := p.client.pointless(r); err != nil {
			return err
		}
	}
	start := p.client.now()
	for {
		s, err := p.ready(ctx, r.Class())
		if err == nil && s.generation != c.generation {
			err = fmt.Errorf("%w: %w: primary %q is now %s: begin again", ErrFailover, ErrNotSent, p.name, s.addr)
		}
		if err != nil {
			p.client.calls.Drop(r)
			return err
		}
		c.note(r.Class())
		if r.Class()&wire.Writes != 0 {
			c.wrote.Store(true)
		}
		at, err := c.conn.Send(r, into)
		if err == nil || at != 0 {
			p.metrics.answered(at-start, err)
			return err
		}
		if f := unused(err); f == nil || c.conn.Err() != nil || p.seat.Load() == s {
			if f != nil {
				p.client.calls.Drop(r)
			}
			return p.failed(err, s)
		}
	}
}

// note keeps track of what the connection remembers.
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
	ctx, cancel := context.WithTimeout(c.pool.primary.client.ctx, unwatchTimeout)
	defer cancel()
	return c.conn.Do(ctx, radix.Cmd(nil, "UNWATCH"))
}

// keep puts the connection among the idle ones, if the next user can not tell it from a new one.
func (v *privates) keep(c *private) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.inUse, c.conn)
	s := v.primary.seat.Load()
	if c.state.Load() != 0 || !c.conn.Idle() || s.err != nil || c.generation != s.generation || len(v.idle) >= cap(v.general) {
		return false
	}
	v.idle = append(v.idle, c.conn)
	return true
}
