package route

import (
	"context"
	"fmt"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// leaseTimeout bounds a request on a lease whose context has no end, unless it blocks.
const leaseTimeout = 5 * time.Second

// Lease leads to the primary as it was when the lease began. It shares the connection of all until
// its first command that cannot: from then on it has one of its own. It is for one goroutine at a
// time.
type Lease struct {
	route      *Route
	generation uint64
	own        *private // once it needs one
	wrote      bool     // on the shared connection
	returned   bool
}

// Lease begins a lease. While there is no primary the error says why.
func (p *Route) Lease() (*Lease, error) {
	s := p.Seat()
	if s.Err != nil {
		p.Metrics.Refused.Add(1)
		return nil, s.Err
	}
	return &Lease{route: p, generation: s.Generation}, nil
}

// Addr is the address of the primary that the lease leads to, or empty once it no longer is.
func (c *Lease) Addr() string {
	if s := c.route.Seat(); s.Err == nil && s.Generation == c.generation {
		return s.Addr
	}
	return ""
}

// Do performs an action over the lease, within ctx or, should that have no end, with 5 s for each
// request that does not block.
func (c *Lease) Do(ctx context.Context, a radix.Action) error {
	p := c.route
	s := p.Seat()
	switch {
	case c.returned:
		return fmt.Errorf("%w: the lease was put back: get another", outcome.ErrNotSent)
	case s.Err != nil:
		p.Metrics.Refused.Add(1)
		if p.Tracer != nil {
			p.Tracer.Unsent(ctx, p.Name, p.Seat().Addr, s.Err)
		}
		return s.Err
	case s.Generation != c.generation:
		return fmt.Errorf("%w: %w: primary %q is now %s: get another lease", outcome.ErrFailover, outcome.ErrNotSent, p.Name, s.Addr)
	}
	return a.Perform(ctx, &lessee{Route: p, lease: c})
}

// Spoil makes sure that the lease's own connection is not used again. A nil lease has none.
func (c *Lease) Spoil() {
	if c != nil && c.own != nil {
		_ = c.own.Close()
	}
}

// PutBack ends the lease, if there is one. Its own connection is used again if it is as new.
func (c *Lease) PutBack() {
	if c == nil || c.returned {
		return
	}
	c.returned = true
	if c.own != nil {
		c.own.release()
	}
}

// lessee is what the actions of a lease are performed on. While it shares the connection it finds
// out whether it still can.
type lessee struct {
	*Route

	lease *Lease
}

// EncodeDecode sends one request, or, on a connection of its own, waits for the reply to an earlier
// one.
func (l *lessee) EncodeDecode(ctx context.Context, request, into any) error {
	own := l.lease.own
	switch {
	case request == nil && own != nil:
		return own.EncodeDecode(ctx, nil, into)
	case request == nil:
		return l.Route.EncodeDecode(ctx, nil, into)
	}
	r, err := l.Calls.Encode(ctx, request)
	if err != nil {
		return l.failed(err, l.Seat())
	}
	if _, ends := ctx.Deadline(); !ends && (r.Class()&wire.Blocks == 0 || r.Class()&wire.Unknown != 0) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, leaseTimeout)
		defer cancel()
		r.Within(ctx)
	}
	if l.Tracer == nil {
		return l.forward(ctx, r, into)
	}
	ctx, span := l.Tracer.Request(ctx, r, l.Name, l.Seat().Addr)
	err = l.forward(ctx, r, into)
	span.End(OutcomeOf(err, l.Seat().Addr))
	return err
}

// forward sends a request on the shared connection, or takes one of its own for the rest of the
// lease.
func (l *lessee) forward(ctx context.Context, r wire.Request, into any) error {
	if l.lease.own == nil && r.Class()&wire.Private == 0 {
		l.lease.wrote = l.lease.wrote || r.Class()&wire.Writes != 0
		return l.send(ctx, r, into)
	}
	if l.lease.own == nil {
		own, err := l.private.acquire(ctx, l.private.slotsFor(r.Class()))
		if err != nil {
			l.Calls.Drop(r)
			return err
		}
		own.elsewhere = l.lease.wrote
		l.lease.own = own
	}
	return l.lease.own.send(ctx, r, into)
}
