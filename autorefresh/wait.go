package autorefresh

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// watchLocked registers a waiter, within a call or not, for an entry that is not dead.
func (c *Cache[K, V]) watchLocked(within *task.Task, e *timetable.Entry[K, V]) *watch {
	var by *task.Task
	if within != nil {
		by = c.crew.callOfLocked(e)
	}
	return c.waiters.watchLocked(e, within, by)
}

// unwatch ends a waiter, within a call or not, that was not told; w may be nil.
func (c *Cache[K, V]) unwatch(within *task.Task, e *timetable.Entry[K, V], w *watch) {
	if w == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var by *task.Task
	if within != nil {
		by = c.crew.callOfLocked(e)
	}
	c.waiters.unwatchLocked(e, w, within, by)
}

// Refresh gets the values of keys from the source now, rather than when they are due, and waits for
// them; a call that was under way already does not count. Terminal values stay; keys that the
// source did not have, see NegativeTTL, are asked for again. It returns the joined errors: what the
// refresh function returned, [ErrNotFound] for keys that the cache or the source does not have,
// [ErrBadKey], [ErrUnavailable] if the source was not asked, [ErrCycle] in a refresh function that
// orders the item it is called for; or the context's.
func (c *Cache[K, V]) Refresh(ctx context.Context, keys ...K) error {
	type pending struct {
		e *timetable.Entry[K, V]
		w *watch
	}
	var waits []pending
	var absent []K
	var errs []error
	since := c.now()
	for _, key := range keys {
		e, ok := c.storage.peek(key)
		switch {
		case ok && e.Has(timetable.Absent):
			c.storage.drop(e)
			absent = append(absent, key)
			continue
		case key != key: //nolint:staticcheck // NaN.
			errs = append(errs, ErrBadKey)
			continue
		case !ok:
			errs = append(errs, fmt.Errorf("%w: key %s", ErrNotFound, safe.Quote(key)))
			continue
		}
		w, err := c.order(task.Of(ctx), e)
		if err != nil {
			errs = append(errs, err)
		} else {
			waits = append(waits, pending{e, w})
		}
	}
	for _, a := range c.load(ctx, absent) {
		errs = append(errs, a.err)
	}
	for _, p := range waits {
		if err := c.attend(ctx, p.e, p.w, since); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// order has an entry refreshed now, unless it is terminal, and registers a waiter.
func (c *Cache[K, V]) order(within *task.Task, e *timetable.Entry[K, V]) (*watch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orderLocked(within, e)
}

func (c *Cache[K, V]) orderLocked(within *task.Task, e *timetable.Entry[K, V]) (*watch, error) {
	switch {
	case c.crew.isRefreshLocked(within, e):
		return nil, ErrCycle
	case c.life.isOverLocked():
		return nil, ErrClosed
	case e.IsDead():
		return nil, ErrNotFound
	case e.Has(timetable.Terminal):
		return settled(), nil
	case c.table.Source() == timetable.Down:
		return nil, c.fetch.Source.Refusal()
	}
	e.Set(timetable.Forced)
	c.table.Hurry(e, c.now())
	c.life.room.Signal()
	if within != nil && c.table.Expedite(e) {
		c.staffLocked()
	}
	return c.watchLocked(within, e), nil
}

// attend waits for the outcome of a call that began at since or later.
func (c *Cache[K, V]) attend(ctx context.Context, e *timetable.Entry[K, V], w *watch, since int64) error {
	within := task.Of(ctx)
	within.Pause()
	defer within.Unpause()
	for {
		select {
		case <-ctx.Done():
			c.unwatch(within, e, w)
			return ctx.Err()
		case <-c.life.run.Done():
			c.unwatch(within, e, w)
			return ErrClosed
		case <-w.done:
		}
		if w.note.started >= since {
			return w.note.err
		}
		var err error
		if w, err = c.reorder(within, e); err != nil {
			return err
		}
	}
}

// reorder registers a waiter once more after a call that began too early, and sees to it that
// another one follows.
func (c *Cache[K, V]) reorder(within *task.Task, e *timetable.Entry[K, V]) (*watch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.IsDead():
		return nil, ErrNotFound
	case e.IsFlying() && !c.crew.isRefreshLocked(within, e):
		return c.watchLocked(within, e), nil
	}
	return c.orderLocked(within, e)
}

// Wait waits until a value satisfies a condition, such as that a job is done, and returns it. It
// looks at the value at once and after each refresh; a value that fails to refresh is waited for
// further. With the error comes the last value seen: [ErrNotFound] if the key is not there or is
// deleted, [ErrTerminal] if its value has become final without satisfying the condition,
// [ErrClosed], or the context's.
func (c *Cache[K, V]) Wait(ctx context.Context, key K, until func(V) bool) (V, error) {
	e, ok := c.storage.get(key)
	if !ok || e.Has(timetable.Absent) {
		var zero V
		return zero, ErrNotFound
	}
	c.look(e)
	within := task.Of(ctx)
	for {
		w, last, end := c.sight(within, e)
		if !c.isPast(e) && until(last) {
			c.unwatch(within, e, w)
			return last, nil
		}
		if end != nil {
			c.unwatch(within, e, w)
			return last, end
		}
		select {
		case <-ctx.Done():
			c.unwatch(within, e, w)
			return last, ctx.Err()
		case <-c.life.run.Done():
			c.unwatch(within, e, w)
			return last, ErrClosed
		case <-w.done:
		}
	}
}

// sight returns an entry's value and registers a waiter for the next; the error says why there will
// be none.
func (c *Cache[K, V]) sight(within *task.Task, e *timetable.Entry[K, V]) (w *watch, last V, end error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last = *e.Value.Load()
	switch {
	case e.IsDead():
		return nil, last, ErrNotFound
	case e.Has(timetable.Terminal):
		return nil, last, ErrTerminal
	case c.life.isOverLocked():
		return nil, last, ErrClosed
	}
	return c.watchLocked(within, e), last, nil
}
