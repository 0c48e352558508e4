package autorefresh

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-go/holdfast/autorefresh/internal/refresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Refresh gets the values of keys from the source now, rather than when they are due, and waits for
// them; a call that was under way already does not count. Terminal values stay; keys that the
// source did not have, see NegativeTTL, are asked for again. It returns the joined errors: what the
// refresh function returned, [ErrNotFound] for keys that the cache or the source does not have,
// [ErrBadKey], [ErrUnavailable] if the source was not asked, [ErrCycle] in a refresh function that
// orders the item it is called for; or the context's.
func (c *Cache[K, V]) Refresh(ctx context.Context, keys ...K) error {
	var waits []refresh.Order[K, V]
	var absent []K
	var errs []error
	since := c.life.Now()
	for _, key := range keys {
		e, ok := c.storage.Peek(key)
		switch {
		case ok && e.Has(timetable.Absent):
			c.storage.Drop(e)
			absent = append(absent, key)
			continue
		case key != key: //nolint:staticcheck // NaN.
			errs = append(errs, ErrBadKey)
			continue
		case !ok:
			errs = append(errs, fmt.Errorf("%w: key %s", ErrNotFound, safe.Quote(key)))
			continue
		}
		order, err := c.orders.Refresh(ctx, e)
		if err != nil {
			errs = append(errs, err)
		} else {
			waits = append(waits, order)
		}
	}
	for _, a := range c.load(ctx, absent) {
		errs = append(errs, a.Err)
	}
	for _, order := range waits {
		if err := c.orders.Await(ctx, order, since); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Wait waits until a value satisfies a condition, such as that a job is done, and returns it. It
// looks at the value at once and after each refresh; a value that fails to refresh is waited for
// further. With the error comes the last value seen: [ErrNotFound] if the key is not there or is
// deleted, [ErrTerminal] if its value has become final without satisfying the condition,
// [ErrClosed], or the context's.
func (c *Cache[K, V]) Wait(ctx context.Context, key K, until func(V) bool) (V, error) {
	e, ok := c.storage.Get(key)
	if !ok || e.Has(timetable.Absent) {
		var zero V
		return zero, ErrNotFound
	}
	c.look(e)
	for {
		order, last, end := c.orders.Look(ctx, e)
		if !c.items.IsPast(e) && until(last) {
			c.orders.Cancel(order)
			return last, nil
		}
		if end != nil {
			return last, end
		}
		if _, err := c.orders.Next(ctx, order); err != nil {
			return last, err
		}
	}
}
