package sentinel

import (
	"context"
	"fmt"
	"time"

	"github.com/mediocregopher/radix/v4"
)

// Durability is how far a write got.
type Durability struct {
	// Replicas is how many replicas acknowledged it, and all writes before it on the primary.
	Replicas int
}

// DoDurable performs an action on the primary of the name and waits, for the timeout at most, until
// a number of replicas have acknowledged what it wrote: both on one connection, without which
// redis' WAIT answers for nothing. It returns how many did.
//
// If they are fewer than asked, the error is ErrNotDurable: the action was carried out all the
// same. Any other error is the action's own, as Client.Do returns it, and nobody was waited for.
// The timeout is at least 1 ms; should ctx end before, it is shortened. A replica acknowledges what
// it has received, not what it has on disk; a failover may still choose another replica.
func (c *Client) DoDurable(ctx context.Context, name string, replicas int, timeout time.Duration, a radix.Action) (Durability, error) {
	p, err := c.lookup(name)
	if err != nil {
		return Durability{}, err
	}
	if replicas < 0 || timeout < time.Millisecond {
		return Durability{}, fmt.Errorf("%w: %w: DoDurable with %d replicas within %v: give at least 0, and 1 ms", ErrBadOptions, ErrNotSent, replicas, timeout)
	}
	n, err := p.DoDurable(ctx, replicas, timeout, a)
	return Durability{Replicas: n}, err
}
