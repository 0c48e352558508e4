package autorefresh

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

// call asks the source once the limiter and the breaker allow it. Begin, if not nil, is told when. It returns when the call began;
// the error is [ErrUnavailable] if it did not.
func (c *Cache[K, V]) call(ctx context.Context, timeout time.Duration, items []Item[K, V], out []Result[V], begin func(at int64)) (int64, error) {
	if err := c.pace(ctx); err != nil {
		return c.now(), err
	}
	var permit breaker.Permit
	if c.breaker != nil {
		var err error
		if permit, err = c.breaker.Allow(); err != nil {
			return c.now(), fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	verdict := ErrPanicked
	c.calls.Add(1)
	defer func() {
		c.calls.Add(-1)
		permit.Done(verdict)
	}()
	if err := ctx.Err(); err != nil {
		verdict = err
		return c.now(), err
	}
	started := c.now()
	if begin != nil {
		begin(started)
	}
	if timeout > 0 {
		var end func()
		ctx, end = withDeadline(ctx, c.epoch.Add(time.Duration(started)+timeout))
		defer end()
	}
	err := c.protect(ctx, items, out)
	verdict = blame(out, err)
	return started, err
}

// protect turns a panic of the refresh function into an error.
func (c *Cache[K, V]) protect(ctx context.Context, items []Item[K, V], out []Result[V]) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrPanicked, v)
		}
	}()
	return c.source(ctx, items, out)
}

// blame is what the breaker is told of a call: it failed if all of its items did.
func blame[V any](out []Result[V], err error) error {
	if err != nil {
		return err
	}
	for i := range out {
		if !isFailure(out[i].Err) {
			return nil
		}
	}
	return out[0].Err
}
