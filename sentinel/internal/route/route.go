// Package route carries the commands for a primary: over the connection that all share, over those
// of one caller each, and those of other clients. It decides nothing: where commands go is a Seat,
// and others install it.
package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/signals"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// Shared are the common parts of the routes of one client.
type Shared struct {
	// Context is the client's, Now its clock in nanoseconds; Spawn runs a goroutine that its Close
	// waits for, and reports whether it will.
	Context context.Context //nolint:containedctx // the client's lifetime
	Now     func() int64
	Spawn   func(work func()) bool
	Servers *access.Connector
	Calls   *wire.Calls
	Tracer  *Tracer // nil if there is none
	// Changed tells of each new seat, and of all else that somebody may wait for.
	Changed signals.Notifier
	Log     *slog.Logger
	// These four are sentinel.Options'.
	FenceWait, HeartbeatTimeout time.Duration
	PrivateConns, BlockingConns int
	// Alarmed is told of a reply of the primary of a name that none sends, such as READONLY, and of
	// the generation of its seat.
	Alarmed func(name string, generation uint64)
}

// Route carries the commands for one name. As a radix.Conn it is the shared connection to the
// primary of the moment in which a command is sent.
type Route struct {
	*Shared

	Name    string
	Metrics Metrics
	// Offset is that of replication, as the primary last told; Curt: it tells none to this user.
	Offset atomic.Int64
	Curt   atomic.Bool

	seat      atomic.Pointer[Seat]
	private   *privates
	followers followers // the connections of Dialers
}

var _ radix.Conn = (*Route)(nil)

// New returns a Route for a name, on which nothing can be sent before a seat is installed.
func New(s *Shared, name string, replied *observe.Histogram) *Route {
	p := &Route{Shared: s, Name: name}
	p.Metrics.Replied = replied
	p.private = newPrivates(p)
	return p
}

// Seat is the present seat.
func (p *Route) Seat() *Seat { return p.seat.Load() }

// Install makes another seat the present one. There is one goroutine that may.
func (p *Route) Install(s *Seat) { p.seat.Store(s) }

// Addr is the address of the present primary, or of the last one.
func (p *Route) Addr() net.Addr { return Address(p.Seat().Addr) }

// Close does nothing: the connection is everybody's.
func (p *Route) Close() error { return nil }

// Perform performs an action on the primary, on a connection of its own if it needs one.
func (p *Route) Perform(ctx context.Context, a radix.Action) error {
	if !a.Properties().CanShareConn {
		return p.alone(ctx, a)
	}
	err := p.Do(ctx, a)
	if err == nil || p.Seat().Err == nil {
		return err
	}
	return p.rescue(ctx, a, err)
}

// Do performs an action on the primary.
func (p *Route) Do(ctx context.Context, a radix.Action) error {
	if a.Properties().CanShareConn {
		if s := p.Seat(); s.Err != nil && p.Tracer == nil { // with one, a refused command must have a name
			p.Metrics.Refused.Add(1)
			return s.Err
		}
		return a.Perform(ctx, p)
	}
	return p.Exclusive(ctx, func(conn radix.Conn) error { return a.Perform(ctx, conn) })
}

// EncodeDecode sends one request, on a connection of its own if it needs that.
func (p *Route) EncodeDecode(ctx context.Context, request, into any) error {
	switch {
	case request == nil && into == nil:
		return nil
	case request == nil:
		return resp.ErrConnUsable{Err: fmt.Errorf("%w: %w: to wait for messages, use Client.Subscribe", outcome.ErrStateful, outcome.ErrNotSent)}
	}
	r, err := p.Calls.Encode(ctx, request)
	if err != nil {
		return p.failed(err, p.Seat())
	}
	s, single := p.Seat(), r.Commands() == 1
	if p.Tracer != nil {
		err = p.transmitTraced(ctx, r, into)
	} else {
		err = p.transmit(ctx, r, into)
	}
	if err != nil && single && s.Err == nil && demoted(err) { // without a primary no server has refused anything
		return p.sendAgain(ctx, s, request, into, err)
	}
	return err
}

// transmit sends a request on the shared connection, or on one of its own if it needs that.
func (p *Route) transmit(ctx context.Context, r wire.Request, into any) error {
	if r.Class()&wire.Private != 0 {
		return p.sendPrivately(ctx, r, into)
	}
	return p.send(ctx, r, into)
}

func (p *Route) transmitTraced(ctx context.Context, r wire.Request, into any) error {
	ctx, span := p.Tracer.Request(ctx, r, p.Name, p.Seat().Addr)
	err := p.transmit(ctx, r, into)
	span.End(OutcomeOf(err, p.Seat().Addr))
	return err
}

// send sends a request on the shared connection, once there is a seat that takes it.
func (p *Route) send(ctx context.Context, r wire.Request, into any) error {
	start := p.Now()
	for {
		s, err := p.ready(ctx, r.Class())
		if err != nil {
			p.Calls.Drop(r)
			return err
		}
		at, err := s.Conn.Send(r, into)
		if err == nil || at != 0 {
			p.Metrics.answered(at-start, err)
			return err
		}
		if f := outcome.Unused(err); f == nil || !p.changed(ctx, s) {
			if f != nil {
				p.Calls.Drop(r)
			}
			return p.failed(err, s)
		}
	}
}

// changed reports whether the seat is another now. If its connection has ended it will be in a
// moment, which is waited for.
func (p *Route) changed(ctx context.Context, s *Seat) bool {
	for {
		changed := p.Changed.Wait()
		if p.Seat() != s {
			return true
		}
		if s.Conn.Err() == nil {
			return false
		}
		select {
		case <-changed:
		case <-p.Context.Done():
			return p.Seat() != s
		case <-ctx.Done():
			return false
		}
	}
}

// failed translates and counts the end of a command without a reply.
func (p *Route) failed(err error, s *Seat) error {
	var f *wire.Failure
	if !errors.As(err, &f) {
		return outcome.Unsendable(err)
	}
	p.Metrics.failed(f)
	return outcome.Of(f, p.Name, s.Addr)
}

// ready returns a seat that commands of the class may be sent to, once there is one.
func (p *Route) ready(ctx context.Context, class wire.Class) (*Seat, error) {
	s := p.Seat()
	if s.Err == nil && s.Mended == nil && (s.Fence == nil || class&wire.Writes == 0) {
		return s, nil
	}
	return p.await(ctx, s, class)
}

// await waits until the connection is mended and the fence lifted.
func (p *Route) await(ctx context.Context, s *Seat, class wire.Class) (*Seat, error) {
	var limit <-chan time.Time
	for {
		switch {
		case s.Err != nil:
			p.Metrics.Refused.Add(1)
			return nil, s.Err
		case s.Mended != nil:
			select {
			case <-s.Mended:
				s = p.Seat()
				continue
			case <-ctx.Done():
				return nil, p.failed(&wire.Failure{Err: ctx.Err()}, s)
			}
		case s.Fence == nil || class&wire.Writes == 0:
			return s, nil
		case p.FenceWait < 0:
			return nil, p.fenced(s, nil)
		case limit == nil:
			timer := time.NewTimer(p.FenceWait)
			defer timer.Stop()
			limit = timer.C
		}
		select {
		case <-s.Fence.Lifted:
			s = p.Seat()
		case <-limit:
			return nil, p.fenced(s, nil)
		case <-ctx.Done():
			return nil, p.fenced(s, ctx.Err())
		}
	}
}

func (p *Route) fenced(s *Seat, cause error) error {
	p.Metrics.Fenced.Add(1)
	err := fmt.Errorf("%w: %w: primary %q at %s", outcome.ErrFailover, outcome.ErrNotSent, p.Name, s.Addr)
	if cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// NoPrimary is the error of commands while there is none.
func (p *Route) NoPrimary(cause error) error {
	if errors.Is(cause, outcome.ErrClosed) {
		return fmt.Errorf("%w: %w", outcome.ErrClosed, outcome.ErrNotSent)
	}
	return fmt.Errorf("%w: %w: %q: %w", outcome.ErrNoPrimary, outcome.ErrNotSent, p.Name, cause)
}

// Address is a host:port as a net.Addr.
type Address string

// Network is "tcp".
func (Address) Network() string { return "tcp" }

// String is the host:port.
func (a Address) String() string { return string(a) }
