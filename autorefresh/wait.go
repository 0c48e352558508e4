package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-go/holdfast/breaker"
)

// note is what those who wait for an entry are told.
type note struct {
	err     error
	started int64 // when the call began that it is about
}

// watch is the wait for the next note on an entry.
type watch struct {
	done    chan struct{}
	note    note // to be read once done is closed
	waiters int
	calls   []*task // those of the waiters that are calls under way
}

// watch registers a waiter, within a call or not, for an entry that is not dead. The caller holds mu.
func (c *Cache[K, V]) watch(within *task, e *entry[K, V]) *watch {
	w := c.watches[e]
	if w == nil {
		w = &watch{done: make(chan struct{})}
		c.watches[e] = w
		e.set(flagWatched)
	}
	w.waiters++
	if within != nil {
		w.calls = append(w.calls, within)
		within.awaits(c.callOf(e))
	}
	return w
}

// unwatch ends a waiter, within a call or not, that was not told; w may be nil.
func (c *Cache[K, V]) unwatch(within *task, e *entry[K, V], w *watch) {
	if w == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(w.calls, within); within != nil && i >= 0 {
		w.calls = slices.Delete(w.calls, i, i+1)
		within.forget(c.callOf(e))
	}
	if w.waiters--; w.waiters == 0 && c.watches[e] == w {
		delete(c.watches, e)
		e.clear(flagWatched)
	}
}

// note tells all who wait for an entry. The caller holds mu.
func (c *Cache[K, V]) note(e *entry[K, V], n note) {
	if !e.has(flagWatched) {
		return
	}
	w := c.watches[e]
	delete(c.watches, e)
	e.clear(flagWatched)
	w.note = n
	close(w.done)
}

// noteOutage tells all who wait for an entry whose refresh has not begun. The caller holds mu.
func (c *Cache[K, V]) noteOutage(now int64) {
	for e := range c.watches {
		if e.place != placeFlying {
			c.note(e, note{err: c.errOpen(), started: now})
		}
	}
}

// settled is a watch that has been told that all is well.
func settled() *watch {
	w := &watch{done: make(chan struct{}), note: note{started: never}}
	close(w.done)
	return w
}

// errOpen says why the source is not asked. The caller holds mu.
func (c *Cache[K, V]) errOpen() error {
	refusal := &breaker.Refusal{Name: c.breaker.Name()}
	if last := c.lastError.Load(); last != nil && c.outage.state != breaker.ForcedOpen {
		refusal.Cause = last.err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, refusal)
}

// Refresh gets the values of keys from the source now, rather than when they are due, and waits for them; a call that was under way
// already does not count. Terminal values stay; keys that the source did not have, see NegativeTTL, are asked for again. It returns the joined errors: what the refresh function returned, [ErrNotFound] for
// keys that the cache or the source does not have, [ErrBadKey], [ErrUnavailable] if the source was not asked, [ErrCycle] in a refresh function that
// orders the item it is called for; or the context's.
func (c *Cache[K, V]) Refresh(ctx context.Context, keys ...K) error {
	type pending struct {
		e *entry[K, V]
		w *watch
	}
	var waits []pending
	var absent []K
	var errs []error
	since := c.now()
	for _, key := range keys {
		e, ok := c.storage.peek(key)
		switch {
		case ok && e.has(flagAbsent):
			c.storage.drop(e)
			absent = append(absent, key)
			continue
		case key != key: //nolint:staticcheck // NaN.
			errs = append(errs, ErrBadKey)
			continue
		case !ok:
			errs = append(errs, fmt.Errorf("%w: key %s", ErrNotFound, quote(key)))
			continue
		}
		w, err := c.order(taskOf(ctx), e)
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
func (c *Cache[K, V]) order(within *task, e *entry[K, V]) (*watch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orderLocked(within, e)
}

func (c *Cache[K, V]) orderLocked(within *task, e *entry[K, V]) (*watch, error) {
	switch {
	case c.refreshes(within, e):
		return nil, ErrCycle
	case c.run.Err() != nil:
		return nil, ErrClosed
	case e.dead:
		return nil, ErrNotFound
	case e.has(flagTerminal):
		return settled(), nil
	case c.outage.state == breaker.Open || c.outage.state == breaker.ForcedOpen:
		return nil, c.errOpen()
	}
	e.set(flagForced)
	c.hurry(e, c.now())
	if within != nil {
		c.expedite(e)
	}
	return c.watch(within, e), nil
}

// attend waits for the outcome of a call that began at since or later.
func (c *Cache[K, V]) attend(ctx context.Context, e *entry[K, V], w *watch, since int64) error {
	within := taskOf(ctx)
	within.pause()
	defer within.unpause()
	for {
		select {
		case <-ctx.Done():
			c.unwatch(within, e, w)
			return ctx.Err()
		case <-c.run.Done():
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

// reorder registers a waiter once more after a call that began too early, and sees to it that another one follows.
func (c *Cache[K, V]) reorder(within *task, e *entry[K, V]) (*watch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.dead:
		return nil, ErrNotFound
	case e.place == placeFlying && !c.refreshes(within, e):
		return c.watch(within, e), nil
	}
	return c.orderLocked(within, e)
}

// Wait waits until a value satisfies a condition, such as that a job is done, and returns it. It looks at the value at once and
// after each refresh; a value that fails to refresh is waited for further. With the error comes the last value seen: [ErrNotFound] if the
// key is not there or is deleted, [ErrTerminal] if its value has become final without satisfying the condition, [ErrClosed], or
// the context's.
func (c *Cache[K, V]) Wait(ctx context.Context, key K, until func(V) bool) (V, error) {
	e, ok := c.storage.get(key)
	if !ok || e.has(flagAbsent) {
		var zero V
		return zero, ErrNotFound
	}
	c.look(e)
	within := taskOf(ctx)
	for {
		w, last, end := c.sight(within, e)
		if until(last) {
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
		case <-c.run.Done():
			c.unwatch(within, e, w)
			return last, ErrClosed
		case <-w.done:
		}
	}
}

// sight returns an entry's value and registers a waiter for the next; the error says why there will be none.
func (c *Cache[K, V]) sight(within *task, e *entry[K, V]) (w *watch, last V, end error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last = *e.value.Load()
	switch {
	case e.dead:
		return nil, last, ErrNotFound
	case e.has(flagTerminal):
		return nil, last, ErrTerminal
	case c.run.Err() != nil:
		return nil, last, ErrClosed
	}
	return c.watch(within, e), last, nil
}
