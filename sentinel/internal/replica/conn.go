package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/route"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// Do performs an action on this replica. A failure that is unused can be tried elsewhere.
func (r *Replica) Do(ctx context.Context, a radix.Action) error {
	c := &Conn{replica: r}
	if !a.Properties().CanShareConn {
		conn, end, err := r.connect(ctx)
		if err != nil {
			return err
		}
		defer end()
		c.own = conn
	}
	return a.Perform(ctx, c)
}

// connect opens a connection beside the shared one, for one action, which ends it. The end of the
// client does as well: what blocks may wait for ever.
//
//nolint:contextcheck // the client's end is not the caller's.
func (r *Replica) connect(ctx context.Context) (conn *wire.Conn, end func(), err error) {
	p := r.set.primary
	conn, err = p.Servers.ConnectFor(ctx, r.addr, access.ToServe, wire.Options{Silence: p.HeartbeatTimeout, Witness: &r.heard})
	if err != nil {
		return nil, nil, outcome.Of(&wire.Failure{Unused: true, Err: err}, p.Name, r.addr)
	}
	unwatch := context.AfterFunc(p.Context, func() { conn.End(outcome.ErrClosed) })
	return conn, func() {
		unwatch()
		conn.End(wire.ErrRetired)
	}, nil
}

// Conn is a connection to one replica: the shared one, or one for an action of its own.
type Conn struct {
	replica  *Replica
	own      *wire.Conn  // nil: the shared one
	switched atomic.Bool // own was told to speak RESP3
}

var _ radix.Conn = (*Conn)(nil)

// Addr is the address of the replica.
func (c *Conn) Addr() net.Addr { return route.Address(c.replica.addr) }

// Do performs an action on the replica.
func (c *Conn) Do(ctx context.Context, a radix.Action) error {
	if c.own != nil {
		return a.Perform(ctx, c)
	}
	return c.replica.Do(ctx, a)
}

// Close ends a connection that is the caller's own; the shared one is everybody's.
func (c *Conn) Close() error {
	if c.own != nil {
		c.own.End(wire.ErrClosed)
	}
	return nil
}

// EncodeDecode sends one request.
func (c *Conn) EncodeDecode(ctx context.Context, request, into any) error {
	if request == nil && into == nil {
		return nil
	}
	r, err := c.replica.set.primary.Calls.Encode(ctx, request)
	if err != nil {
		return c.failed(err)
	}
	p := c.replica.set.primary
	if p.Tracer == nil || request == nil {
		return c.transmit(ctx, r, request, into)
	}
	ctx, span := p.Tracer.Request(ctx, r, p.Name, c.replica.addr)
	err = c.transmit(ctx, r, request, into)
	span.End(route.OutcomeOf(err, c.replica.addr))
	return err
}

// transmit sends an encoded request, or only waits for a reply.
func (c *Conn) transmit(ctx context.Context, r wire.Request, request, into any) error {
	if r.Class()&wire.Pushed != 0 && c.switched.Load() {
		c.replica.set.primary.Calls.Drop(r)
		return outcome.Unsendable(wire.ErrPushed)
	}
	if r.Class()&wire.Switches != 0 {
		c.switched.Store(true)
	}
	conn, end, err := c.connFor(ctx, r, request)
	if err != nil {
		c.replica.set.primary.Calls.Drop(r)
		return err
	}
	defer end()
	if c.own != nil && into == nil {
		r.SendOnly()
	}
	_, err = conn.Send(r, into)
	if outcome.Unused(err) != nil {
		c.replica.set.primary.Calls.Drop(r)
	}
	return c.failed(err)
}

// connFor returns the connection that a request may go over, and the function that ends its use.
func (c *Conn) connFor(ctx context.Context, r wire.Request, request any) (conn *wire.Conn, end func(), err error) {
	if c.own != nil {
		return c.own, func() {}, nil
	}
	switch conn := c.replica.conn.Load(); {
	case r.Class()&wire.Unknown != 0:
		return c.replica.connect(ctx)
	case r.Class()&wire.Private != 0 || request == nil:
		return nil, nil, resp.ErrConnUsable{Err: fmt.Errorf("%w: %w: on a replica use radix.WithConn", outcome.ErrStateful, outcome.ErrNotSent)}
	case conn == nil:
		return nil, nil, c.failed(&wire.Failure{Unused: true, Err: outcome.ErrNoReplica})
	default:
		return conn, func() {}, nil
	}
}

// failed gives a request that was not answered its outcome.
func (c *Conn) failed(err error) error {
	if f := (*wire.Failure)(nil); errors.As(err, &f) {
		return outcome.Of(f, c.replica.set.primary.Name, c.replica.addr)
	}
	return outcome.Unsendable(err)
}

// NewConn returns a connection to the replica that is everybody's.
func NewConn(r *Replica) *Conn { return &Conn{replica: r} }
