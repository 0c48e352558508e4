package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// do performs an action on this replica. A failure that is unused can be tried elsewhere.
func (r *replica) do(ctx context.Context, a radix.Action) error {
	c := &replicaClient{replica: r}
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

// connect opens a connection beside the shared one, for one action, which ends it. The end of the client does as well: what blocks may
// wait for ever.
//
//nolint:contextcheck // the client's end is not the caller's.
func (r *replica) connect(ctx context.Context) (conn *wire.Conn, end func(), err error) {
	c := r.set.primary.client
	conn, err = c.servers.connectFor(ctx, r.addr, toServe, wire.Options{Silence: c.options.HeartbeatTimeout, Witness: &r.heard})
	if err != nil {
		return nil, nil, outcome(&wire.Failure{Unused: true, Err: err}, r.set.primary.name, r.addr)
	}
	unwatch := context.AfterFunc(c.ctx, func() { conn.End(ErrClosed) })
	return conn, func() {
		unwatch()
		conn.End(wire.ErrRetired)
	}, nil
}

// replicaClient is a connection to one replica: the shared one, or one for an action of its own.
type replicaClient struct {
	replica  *replica
	own      *wire.Conn  // nil: the shared one
	switched atomic.Bool // own was told to speak RESP3
}

var _ radix.Conn = (*replicaClient)(nil)

// Addr is the address of the replica.
func (c *replicaClient) Addr() net.Addr { return address(c.replica.addr) }

// Do performs an action on the replica.
func (c *replicaClient) Do(ctx context.Context, a radix.Action) error {
	if c.own != nil {
		return a.Perform(ctx, c)
	}
	return c.replica.do(ctx, a)
}

// Close ends a connection that is the caller's own; the shared one is everybody's.
func (c *replicaClient) Close() error {
	if c.own != nil {
		c.own.End(wire.ErrClosed)
	}
	return nil
}

// EncodeDecode sends one request.
func (c *replicaClient) EncodeDecode(ctx context.Context, request, into any) error {
	if request == nil && into == nil {
		return nil
	}
	r, err := c.replica.set.primary.client.calls.Encode(ctx, request)
	if err != nil {
		return c.failed(err)
	}
	p := c.replica.set.primary
	if p.client.tracer == nil || request == nil {
		return c.transmit(ctx, r, request, into)
	}
	ctx, span := p.client.tracer.request(ctx, r, p.name, c.replica.addr)
	err = c.transmit(ctx, r, request, into)
	span.End(outcomeOf(err, c.replica.addr))
	return err
}

// transmit sends an encoded request, or only waits for a reply.
func (c *replicaClient) transmit(ctx context.Context, r wire.Request, request, into any) error {
	if r.Class()&wire.Pushed != 0 && c.switched.Load() {
		c.replica.set.primary.client.calls.Drop(r)
		return unsendable(wire.ErrPushed)
	}
	if r.Class()&wire.Switches != 0 {
		c.switched.Store(true)
	}
	conn, end, err := c.connFor(ctx, r, request)
	if err != nil {
		c.replica.set.primary.client.calls.Drop(r)
		return err
	}
	defer end()
	if c.own != nil && into == nil {
		r.SendOnly()
	}
	_, err = conn.Send(r, into)
	if unused(err) != nil {
		c.replica.set.primary.client.calls.Drop(r)
	}
	return c.failed(err)
}

// connFor returns the connection that a request may go over, and what ends its use.
func (c *replicaClient) connFor(ctx context.Context, r wire.Request, request any) (conn *wire.Conn, end func(), err error) {
	if c.own != nil {
		return c.own, func() {}, nil
	}
	switch conn := c.replica.conn.Load(); {
	case r.Class()&wire.Unknown != 0:
		return c.replica.connect(ctx)
	case r.Class()&wire.Private != 0 || request == nil:
		return nil, nil, resp.ErrConnUsable{Err: fmt.Errorf("%w: %w: on a replica use radix.WithConn", ErrStateful, ErrNotSent)}
	case conn == nil:
		return nil, nil, c.failed(&wire.Failure{Unused: true, Err: ErrNoReplica})
	default:
		return conn, func() {}, nil
	}
}

// failed says what became of a request that was not answered.
func (c *replicaClient) failed(err error) error {
	if f := (*wire.Failure)(nil); errors.As(err, &f) {
		return outcome(f, c.replica.set.primary.name, c.replica.addr)
	}
	return unsendable(err)
}
