package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// order is a call of the source that is to be made.
type order[K comparable, V any] struct {
	task     *task
	rank     rank
	timeout  time.Duration // 0 is none
	blind    blindness
	standing standing
	items    []Item[K, V]
	out      []Result[V]
	begin    func(at int64) // is told when the call begins
}

// call asks the source once the limiter and the breaker allow it. It returns when the call began; the error is [ErrUnavailable] or
// [ErrClosed] if it did not.
func (c *Cache[K, V]) call(ctx context.Context, o order[K, V]) (int64, error) {
	if c.tracer != nil {
		return c.callTraced(ctx, o)
	}
	return c.callSource(ctx, o)
}

func (c *Cache[K, V]) callSource(ctx context.Context, o order[K, V]) (int64, error) {
	if err := c.pace(ctx, o.rank, o.blind); err != nil {
		return c.now(), err
	}
	// A call within a call is part of that: its permit covers both, and one trial is one.
	if c.breaker != nil && !o.task.outer.isWithin(c) {
		permit, err := c.breaker.Allow()
		switch {
		case errors.Is(err, breaker.ErrClosed):
			return c.now(), ErrClosed
		case err != nil:
			return c.now(), fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		o.task.charge(permit)
	}
	verdict := ErrPanicked
	c.calls.Add(1)
	defer func() {
		c.calls.Add(-1)
		o.task.end()
		o.task.settle(verdict)
	}()
	if err := ctx.Err(); err != nil {
		verdict = err
		return c.now(), err
	}
	started := c.now()
	o.begin(started)
	deadline := time.Time{}
	if o.timeout > 0 {
		deadline = c.epoch.Add(time.Duration(started) + o.timeout)
	}
	ctx, end := newCallContext(ctx, o.task, deadline)
	defer end()
	err := c.protect(ctx, o.items, o.out)
	verdict = c.weigh(&o, blame(o.out, err))
	return started, err
}

// protect turns a panic of the refresh function into an error, and errors that would panic later into such.
func (c *Cache[K, V]) protect(ctx context.Context, items []Item[K, V], out []Result[V]) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrPanicked, v)
		}
	}()
	err = sound(c.source(ctx, items, out))
	for i := range out {
		out[i].Err = sound(out[i].Err)
		//nolint:errorlint // what was there before the call, and not an error of the source.
		if out[i].Err == ErrNoResult && !reflect.ValueOf(&out[i].Value).Elem().IsZero() {
			out[i].Err = nil // only the value was assigned
		}
	}
	return err
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

// overrun is after what time a call of the source that is given so long is taken for one that ignores its context.
func overrun(timeout time.Duration) time.Duration { return timeout + timeout/8 }

// newBreaker makes the breaker around the source. A trial may take as long as any call; else a source that is slower than that is never
// used again once it was down.
func (c *Cache[K, V]) newBreaker() (*breaker.Breaker, error) {
	o := c.opts.Breaker
	if o.TrialTimeout == 0 {
		o.TrialTimeout = max(minTrial, overrun(max(c.opts.Timeout, c.opts.LoadTimeout)))
	}
	o.Classify = c.classifier(o.Classify)
	o.Kind = metrics.KindAutorefresh
	return breaker.New(c.opts.Name, o)
}

// Breaker returns the breaker around the source, for operators: its state and statistics, ForceOpen to keep the source from being asked,
// ForceClosed, Reset. It is nil with NoBreaker. The cache closes it.
func (c *Cache[K, V]) Breaker() *breaker.Breaker { return c.breaker }

// complain logs the panic of a callback, at most once a second.
func (c *Cache[K, V]) complain(err error) {
	if c.complaints.may(c.now()) {
		c.write([]notice{{slog.LevelError, "callback panicked", []any{observe.KeyCause, err}}})
	}
}
