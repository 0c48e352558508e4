package route

import (
	"context"
	"errors"
	"net"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// rescue sends SCRIPT KILL and FUNCTION KILL, of all that was refused, to the server that was the
// primary last: it may be none because it is busy with a script, and answers nothing else. They do
// no harm twice.
func (p *Route) rescue(ctx context.Context, a radix.Action, refused error) error {
	if len(a.Properties().Keys) > 0 || p.Seat().Addr == "" || !errors.Is(refused, outcome.ErrNoPrimary) && !errors.Is(refused, outcome.ErrOutcomeUnknown) {
		return refused
	}
	return a.Perform(ctx, &rescuer{primary: p, refused: refused})
}

// rescuer is a connection that is opened for a command that rescues. It refuses all others.
type rescuer struct {
	primary *Route
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
	c := r.primary
	q, err := c.Calls.Encode(ctx, request)
	if err != nil {
		return r.refused
	}
	if q.Class()&wire.Rescues == 0 || q.Commands() != 1 {
		c.Calls.Drop(q)
		return r.refused
	}
	addr := c.Seat().Addr
	conn, err := c.Servers.ConnectFor(ctx, addr, access.ToRescue, wire.Options{})
	if err != nil {
		c.Calls.Drop(q)
		return outcome.Of(&wire.Failure{Err: err}, c.Name, addr)
	}
	defer conn.End(wire.ErrRetired)
	_, err = conn.Send(q, into)
	if outcome.Unused(err) != nil {
		c.Calls.Drop(q)
	}
	if f := (*wire.Failure)(nil); errors.As(err, &f) {
		return outcome.Of(f, c.Name, addr)
	}
	return err
}
