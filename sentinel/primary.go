package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// seat is who the primary of a name is at the moment. It is immutable: every change is a new one.
type seat struct {
	generation uint64
	addr       string        // as the sentinels name it; of the last primary if there is none now
	link       *link         // whose conn all callers share; nil if there is no primary
	err        error         // why there is none
	fence      *fence        // nil: writes may pass
	mended     chan struct{} // closed once the connection was replaced or there is no primary; nil: it is whole
}

// fence holds writes back.
type fence struct{ lifted chan struct{} }

// primary is what the commands for one name go through. As a radix.Conn it is the shared connection to whoever is the primary when
// a command is sent.
type primary struct {
	client  *Client
	name    string
	label   string               // the name, as a metric label
	seat    atomic.Pointer[seat] // changed by the director only
	breaker *breaker.Breaker
	private *privates
	metrics primaryMetrics

	followers followers // the connections of Dialers

	cause       atomic.Pointer[error] // why the last try to find it failed; nil before the first
	offset      atomic.Int64          // of replication, as the primary last told
	curt        atomic.Bool           // it tells none to this user
	alarmPosted atomic.Bool           // an alarm is on its way
	topology    atomic.Pointer[Topology]
	replicas    *replicaSet
}

var _ radix.Conn = (*primary)(nil)

// Addr is the address of the present primary, or of the last one.
func (p *primary) Addr() net.Addr { return address(p.seat.Load().addr) }

// Close does nothing: the connection is everybody's.
func (p *primary) Close() error { return nil }

// Do performs an action on the primary.
func (p *primary) Do(ctx context.Context, a radix.Action) error {
	if a.Properties().CanShareConn {
		if s := p.seat.Load(); s.err != nil && p.client.tracer == nil { // with one, what is refused must have a name
			p.metrics.refused.Add(1)
			return s.err
		}
		return a.Perform(ctx, p)
	}
	return p.exclusive(ctx, func(conn radix.Conn) error { return a.Perform(ctx, conn) })
}

// EncodeDecode sends one request, on a connection of its own if it needs that.
func (p *primary) EncodeDecode(ctx context.Context, request, into any) error {
	switch {
	case request == nil && into == nil:
		return nil
	case request == nil:
		return resp.ErrConnUsable{Err: fmt.Errorf("%w: %w: to wait for messages, use Client.Subscribe", ErrStateful, ErrNotSent)}
	}
	r, err := p.client.calls.Encode(ctx, request)
	if err != nil {
		return p.failed(err, p.seat.Load())
	}
	s, single := p.seat.Load(), r.Commands() == 1
	if p.client.tracer != nil {
		err = p.transmitTraced(ctx, r, into)
	} else {
		err = p.transmit(ctx, r, into)
	}
	if err != nil && single && s.err == nil && demoted(err) { // without a primary no server has refused anything
		return p.sendAgain(ctx, s, request, into, err)
	}
	return err
}

// transmit sends a request on the shared connection, or on one of its own if it needs that.
func (p *primary) transmit(ctx context.Context, r wire.Request, into any) error {
	if r.Class()&wire.Private != 0 {
		return p.sendPrivately(ctx, r, into)
	}
	return p.send(ctx, r, into)
}

func (p *primary) transmitTraced(ctx context.Context, r wire.Request, into any) error {
	ctx, span := p.client.tracer.request(ctx, r, p.name, p.seat.Load().addr)
	err := p.transmit(ctx, r, into)
	span.End(outcomeOf(err, p.seat.Load().addr))
	return err
}

// send sends a request on the shared connection, once there is a seat that takes it.
func (p *primary) send(ctx context.Context, r wire.Request, into any) error {
	start := p.client.now()
	for {
		s, err := p.ready(ctx, r.Class())
		if err != nil {
			p.client.calls.Drop(r)
			return err
		}
		at, err := s.link.conn.Send(r, into)
		if err == nil || at != 0 {
			p.metrics.answered(at-start, err)
			return err
		}
		if f := unused(err); f == nil || !p.changed(ctx, s) {
			if f != nil {
				p.client.calls.Drop(r)
			}
			return p.failed(err, s)
		}
	}
}

// changed reports whether the seat is another now. If its connection has ended it will be in a moment, which is waited for.
func (p *primary) changed(ctx context.Context, s *seat) bool {
	for {
		changed := p.client.changed.wait()
		if p.seat.Load() != s {
			return true
		}
		if s.link.conn.Err() == nil {
			return false
		}
		select {
		case <-changed:
		case <-p.client.ctx.Done():
			return p.seat.Load() != s
		case <-ctx.Done():
			return false
		}
	}
}

// unused returns the failure of a request that can still be sent elsewhere.
func unused(err error) *wire.Failure {
	if f := (*wire.Failure)(nil); errors.As(err, &f) && f.Unused {
		return f
	}
	return nil
}

// failed translates and counts the end of a command without a reply.
func (p *primary) failed(err error, s *seat) error {
	var f *wire.Failure
	if !errors.As(err, &f) {
		return unsendable(err)
	}
	p.metrics.failed(f)
	return outcome(f, p.name, s.addr)
}

// ready returns a seat that commands of the class may be sent to, once there is one.
func (p *primary) ready(ctx context.Context, class wire.Class) (*seat, error) {
	s := p.seat.Load()
	if s.err == nil && s.mended == nil && (s.fence == nil || class&wire.Writes == 0) {
		return s, nil
	}
	return p.await(ctx, s, class)
}

// await waits until the connection is mended and the fence lifted.
func (p *primary) await(ctx context.Context, s *seat, class wire.Class) (*seat, error) {
	var limit <-chan time.Time
	for {
		switch {
		case s.err != nil:
			p.metrics.refused.Add(1)
			return nil, s.err
		case s.mended != nil:
			select {
			case <-s.mended:
				s = p.seat.Load()
				continue
			case <-ctx.Done():
				return nil, p.failed(&wire.Failure{Err: ctx.Err()}, s)
			}
		case s.fence == nil || class&wire.Writes == 0:
			return s, nil
		case p.client.options.FenceWait < 0:
			return nil, p.fenced(s, nil)
		case limit == nil:
			timer := time.NewTimer(p.client.options.FenceWait)
			defer timer.Stop()
			limit = timer.C
		}
		select {
		case <-s.fence.lifted:
			s = p.seat.Load()
		case <-limit:
			return nil, p.fenced(s, nil)
		case <-ctx.Done():
			return nil, p.fenced(s, ctx.Err())
		}
	}
}

func (p *primary) fenced(s *seat, cause error) error {
	p.metrics.fenced.Add(1)
	err := fmt.Errorf("%w: %w: primary %q at %s", ErrFailover, ErrNotSent, p.name, s.addr)
	if cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// noPrimary is what commands get while there is none.
func (p *primary) noPrimary(cause error) error {
	if errors.Is(cause, ErrClosed) {
		return fmt.Errorf("%w: %w", ErrClosed, ErrNotSent)
	}
	return fmt.Errorf("%w: %w: %q: %w", ErrNoPrimary, ErrNotSent, p.name, cause)
}

// address is a host:port as a net.Addr.
type address string

func (address) Network() string { return "tcp" }

func (a address) String() string { return string(a) }
