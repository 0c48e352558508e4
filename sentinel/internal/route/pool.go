package route

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// privates are the connections of one primary that serve one caller at a time.
type privates struct {
	primary  *Route
	general  slots
	blocking slots // for what waits, so that the others need not wait for it

	mu    sync.Mutex
	idle  []*wire.Conn          // of the present generation, last used last; guarded by mu
	inUse map[*wire.Conn]uint64 // with its generation; guarded by mu
}

// slots hold a token for each connection in use.
type slots chan struct{}

func newPrivates(p *Route) *privates {
	return &privates{
		primary: p, general: make(slots, p.PrivateConns), blocking: make(slots, p.BlockingConns), inUse: make(map[*wire.Conn]uint64),
	}
}

// slotsFor are those that bound the connections for requests of a class.
func (v *privates) slotsFor(class wire.Class) slots {
	if class&wire.Blocks != 0 && class&wire.Unknown == 0 {
		return v.blocking
	}
	return v.general
}

// acquire takes an idle connection to the present primary, or opens one.
func (v *privates) acquire(ctx context.Context, of slots) (*private, error) {
	p := v.primary
	if s := p.Seat(); s.Err != nil {
		p.Metrics.Refused.Add(1)
		return nil, s.Err
	}
	if err := v.takeSlot(ctx, of); err != nil {
		return nil, err
	}
	s := p.Seat() // there may be another primary than before the wait
	if s.Err != nil {
		<-of
		p.Metrics.Refused.Add(1)
		return nil, s.Err
	}
	conn := v.takeIdle(s.Generation)
	for conn != nil && p.Servers.Renew(ctx, conn) != nil { // it has to be logged in anew, and is not
		v.drop(conn)
		conn = v.takeIdle(s.Generation)
	}
	if conn == nil {
		var err error
		if conn, err = v.open(ctx, s); err != nil {
			<-of
			return nil, fmt.Errorf("%w: primary %q: %w", outcome.ErrNotSent, p.Name, err)
		}
	}
	return &private{pool: v, slots: of, conn: conn, addr: s.Addr, generation: s.Generation}, nil
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
		return fmt.Errorf("%w: %w: primary %q: %d are in use: %w", outcome.ErrBusy, outcome.ErrNotSent, p.Name, cap(of), ctx.Err())
	case <-p.Context.Done():
		return p.NoPrimary(outcome.ErrClosed)
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

func (v *privates) open(ctx context.Context, s *Seat) (*wire.Conn, error) {
	p := v.primary
	conn, err := p.Servers.ConnectFor(ctx, s.Addr, access.ToServe, wire.Options{
		OnAlarm: func(wire.Alarm) { p.Alarmed(p.Name, s.Generation) },
		Silence: p.HeartbeatTimeout, Witness: s.Beats,
	})
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.inUse[conn] = s.Generation
	v.mu.Unlock()
	switch now := p.Seat(); { // a fence or a change that came before the connection was listed did not reach it
	case now.Generation != s.Generation:
		conn.Retire()
	case now.Fence != nil:
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

// leave gives all connections up that are older than the generation: idle ones at once, the others
// when their users are done, or are ended with the function returned.
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

// keep puts the connection among the idle ones, if the next user can not tell it from a new one.
func (v *privates) keep(c *private) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.inUse, c.conn)
	s := v.primary.Seat()
	if c.state.Load() != 0 || !c.conn.Idle() || s.Err != nil || c.generation != s.Generation || len(v.idle) >= cap(v.general) {
		return false
	}
	v.idle = append(v.idle, c.conn)
	return true
}

// PrivateCount is how many connections there are that serve one caller at a time.
func (p *Route) PrivateCount() int { return p.private.count() }

// EachPrivate does something with each of them.
func (p *Route) EachPrivate(do func(*wire.Conn)) { p.private.each(do) }

// LeavePrivate gives up those that are older than the generation: idle ones at once, the others
// when their users are done, or are ended with the function returned.
func (p *Route) LeavePrivate(generation uint64) (end func(error)) { return p.private.leave(generation) }
