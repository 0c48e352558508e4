package sentinel

import (
	"context"
	"errors"
	"net"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// perform performs an action on the primary, on a connection of its own if it needs one.
func (p *primary) perform(ctx context.Context, a radix.Action) error {
	if !a.Properties().CanShareConn {
		return p.alone(ctx, a)
	}
	err := p.Do(ctx, a)
	if err == nil || p.seat.Load().err == nil {
		return err
	}
	return p.rescue(ctx, a, err)
}

// rescue sends SCRIPT KILL and FUNCTION KILL, of all that was refused, to the server that was the primary last: it may be none because
// it is busy with a script, and answers nothing else. They do no harm twice.
func (p *primary) rescue(ctx context.Context, a radix.Action, refused error) error {
	if len(a.Properties().Keys) > 0 || p.seat.Load().addr == "" || !errors.Is(refused, ErrNoPrimary) && !errors.Is(refused, ErrOutcomeUnknown) {
		return refused
	}
	return a.Perform(ctx, &rescuer{primary: p, refused: refused})
}

// rescuer is a connection that is opened for a command that rescues. It refuses all others.
type rescuer struct {
	primary *primary
	refused error
}

// Addr is the address of the last primary.
func (r *rescuer) Addr() net.Addr { return r.primary.Addr() }

// Do performs an action.
func (r *rescuer) Do(ctx context.Context, a radix.Action) error { return a.Perform(ctx, r) }

// Close does nothing: each command has a connection of its own.
func (r *rescuer) Close() error { return nil }

// EncodeDecode sends one command.
func (r *rescuer) EncodeDecode(ctx context.Context, request, into any) error {
	if request == nil {
		return r.refused
	}
	c := r.primary.client
	q, err := c.calls.Encode(ctx, request)
	if err != nil {
		return r.refused
	}
	if q.Class()&wire.Rescues == 0 || q.Commands() != 1 {
		c.calls.Drop(q)
		return r.refused
	}
	addr := r.primary.seat.Load().addr
	conn, err := c.servers.connectFor(ctx, addr, toRescue, wire.Options{})
	if err != nil {
		c.calls.Drop(q)
		return outcome(&wire.Failure{Err: err}, r.primary.name, addr)
	}
	defer conn.End(wire.ErrRetired)
	_, err = conn.Send(q, into)
	if unused(err) != nil {
		c.calls.Drop(q)
	}
	if f := (*wire.Failure)(nil); errors.As(err, &f) {
		return outcome(f, r.primary.name, addr)
	}
	return err
}
