package route

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
)

// DoDurable performs an action on the primary and waits, for the timeout at most, until replicas
// have acknowledged what it wrote: both on one connection. It returns how many have.
func (p *Route) DoDurable(ctx context.Context, replicas int, timeout time.Duration, a radix.Action) (n int, err error) {
	err = p.reserve(ctx, p.private.blocking, func(conn radix.Conn) error {
		if err := a.Perform(ctx, conn); err != nil {
			return err
		}
		var err error
		n, err = p.reached(ctx, conn, replicas, timeout)
		return err
	})
	return n, err
}

// reached waits until replicas have acknowledged the writes of the connection.
func (p *Route) reached(ctx context.Context, conn radix.Conn, replicas int, timeout time.Duration) (n int, err error) {
	if end, ok := ctx.Deadline(); ok { // the count is to be here before
		timeout = max(time.Millisecond, min(timeout, time.Until(end)*9/10))
	}
	wait := radix.Cmd(&n, "WAIT", strconv.Itoa(replicas), strconv.FormatInt(timeout.Milliseconds(), 10))
	switch err := conn.Do(ctx, wait); {
	case err != nil && ctx.Err() != nil:
		return n, fmt.Errorf("%w: primary %q carried it out; how many replicas have it was not learned: %w", outcome.ErrNotDurable, p.Name, ctx.Err())
	case err != nil: // which says of WAIT whether it was sent, and is not to be taken for the write's
		return n, fmt.Errorf("%w: primary %q carried it out; how many replicas have it was not learned: %v", outcome.ErrNotDurable, p.Name, err) //nolint:errorlint // as said
	case n < replicas:
		return n, fmt.Errorf("%w: primary %q carried it out, and %d of the %d replicas asked for acknowledged it within %v", outcome.ErrNotDurable, p.Name, n, replicas, timeout)
	}
	return n, nil
}
