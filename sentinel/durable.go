package sentinel

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// Durability is how far a write got.
type Durability struct {
	// Replicas is how many replicas acknowledged it, and all writes before it on the primary.
	Replicas int
}

// DoDurable performs an action on the primary of the name and waits, for the timeout at most, until a number of replicas have
// acknowledged what it wrote: both on one connection, without which redis' WAIT answers for nothing. It returns how many did.
//
// If they are fewer than asked, the error is ErrNotDurable: the action was carried out all the same. Any other error is the
// action's own, as Client.Do returns it, and nobody was waited for. The timeout is at least 1 ms; should ctx end before, it is
// shortened. A replica acknowledges what it has received, not what it has on disk; a failover may still choose another replica.
func (c *Client) DoDurable(ctx context.Context, name string, replicas int, timeout time.Duration, a radix.Action) (Durability, error) {
	p, err := c.lookup(name)
	if err != nil {
		return Durability{}, err
	}
	if replicas < 0 || timeout < time.Millisecond {
		return Durability{}, fmt.Errorf("%w: %w: DoDurable with %d replicas within %v: give at least 0, and 1 ms", ErrBadOptions, ErrNotSent, replicas, timeout)
	}
	var d Durability
	err = p.reserve(ctx, p.private.blocking, func(conn radix.Conn) error {
		if err := a.Perform(ctx, conn); err != nil {
			return err
		}
		var err error
		d, err = p.reached(ctx, conn, replicas, timeout)
		return err
	})
	return d, err
}

// reached waits until replicas have acknowledged what was written on the connection.
func (p *primary) reached(ctx context.Context, conn radix.Conn, replicas int, timeout time.Duration) (d Durability, err error) {
	if end, ok := ctx.Deadline(); ok { // the count is to be here before
		timeout = max(time.Millisecond, min(timeout, time.Until(end)*9/10))
	}
	wait := radix.Cmd(&d.Replicas, "WAIT", strconv.Itoa(replicas), strconv.FormatInt(timeout.Milliseconds(), 10))
	switch err := conn.Do(ctx, wait); {
	case err != nil && ctx.Err() != nil:
		return d, fmt.Errorf("%w: primary %q carried it out; how many replicas have it was not learned: %w", ErrNotDurable, p.name, ctx.Err())
	case err != nil: // which says of WAIT whether it was sent, and is not to be taken for the write's
		return d, fmt.Errorf("%w: primary %q carried it out; how many replicas have it was not learned: %v", ErrNotDurable, p.name, err) //nolint:errorlint // as said
	case d.Replicas < replicas:
		return d, fmt.Errorf("%w: primary %q carried it out, and %d of the %d replicas asked for acknowledged it within %v", ErrNotDurable, p.name, d.Replicas, replicas, timeout)
	}
	return d, nil
}

// pointless refuses a request that asks about the writes of a connection that has none, and drops it.
func (c *Client) pointless(r wire.Request) error {
	if r.Class()&wire.Waits == 0 {
		return nil
	}
	c.calls.Drop(r)
	return resp.ErrConnUsable{Err: fmt.Errorf("%w: %w: %w", ErrStateful, ErrNotSent, errPointless)}
}

var errPointless = errors.New("WAIT and WAITAOF answer for the writes of their own connection alone, and those before this one went over another: " +
	"use Client.DoDurable, or write and wait in one Client.Exclusive")
