package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"

	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Load returns the value of a key from memory, or loads it with the refresh function: once, however
// many callers wait, each as long as its own context lives. With [NewBatch], keys that are missed
// at about the same time go with one call: one that is missed while others are under way may wait
// for further ones, 2 ms at most. The call has the values of the first caller's context; it is
// cancelled when the last waiter leaves. The error is the context's, what the refresh function
// returned, [ErrNotFound], [ErrUnavailable], [ErrStale], [ErrStuck] or [ErrClosed].
//
// A refresh function may load other keys, with the context it was given: it waits for them without
// keeping its place among the MaxLoads, or the Workers. If in the end it would wait for itself, the
// error is [ErrCycle]: with [NewBatch] so may be the load of a key that needs another one which was
// missed at the same time, and is in the same call. Such a refresh function loads what it needs
// itself.
func (c *Cache[K, V]) Load(ctx context.Context, key K) (V, error) {
	if e, ok := c.storage.get(key); ok && e.Flags.Load()&c.slow == 0 && !c.life.closed.Load() {
		return *e.Value.Load(), nil
	}
	answers := c.load(ctx, []K{key})
	return answers[0].value, answers[0].err
}

// LoadMulti returns the values of keys from memory and loads those it does not have, up to
// BatchSize with one call. Keys that the source does not have are left out. The error joins those
// of the other keys that are left out, each once.
func (c *Cache[K, V]) LoadMulti(ctx context.Context, keys []K) (map[K]V, error) {
	answers := c.load(ctx, keys)
	found := make(map[K]V, len(keys))
	bad := make(map[string]error)
	for i, a := range answers {
		switch {
		case a.err == nil:
			found[keys[i]] = a.value
		case !errors.Is(a.err, ErrNotFound):
			bad[a.err.Error()] = a.err
		}
	}
	var errs []error
	for err := range maps.Values(bad) {
		errs = append(errs, err)
	}
	return found, errors.Join(errs...)
}

// answer is what a load has for one key.
type answer[V any] struct {
	value V
	err   error
}

// load answers keys, one by one from memory, all others together.
func (c *Cache[K, V]) load(ctx context.Context, keys []K) []answer[V] {
	answers := make([]answer[V], len(keys))
	open := indexes(len(keys))
	for len(open) > 0 {
		if c.life.run.Err() != nil {
			for _, i := range open {
				answers[i].err = ErrClosed
			}
			break
		}
		open = c.loadOnce(ctx, keys, open, answers)
	}
	return answers
}

// indexes are 0 to n-1.
func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// loadOnce tries the open keys once and returns those that have to be tried again.
func (c *Cache[K, V]) loadOnce(ctx context.Context, keys []K, open []int, answers []answer[V]) []int {
	var absent []int
	for _, i := range open {
		if keys[i] != keys[i] { //nolint:staticcheck // NaN.
			answers[i].err = ErrBadKey
			continue
		}
		e, ok := c.storage.get(keys[i])
		if !ok {
			absent = append(absent, i)
			continue
		}
		answers[i].value, answers[i].err = c.serve(ctx, e)
	}
	if len(absent) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil { // the source is not to be called for nobody
		for _, i := range absent {
			answers[i].err = err
		}
		return nil
	}
	if c.tracer != nil {
		return c.loadTraced(ctx, keys, absent, answers)
	}
	return c.loadAbsent(ctx, keys, absent, answers)
}

// loadAbsent waits for keys that are not in memory and returns those that have to be tried again.
func (c *Cache[K, V]) loadAbsent(ctx context.Context, keys []K, absent []int, answers []answer[V]) []int {
	var again []int
	for _, t := range c.board(ctx, keys, absent) {
		if c.attendFlight(ctx, t, &answers[t.index]) == toRetry {
			again = append(again, t.index)
		}
	}
	return again
}

// ticket is the wait for one key that was absent.
type ticket[K comparable, V any] struct {
	index  int
	flight *loader.Flight[K, V] // nil if the key has come in the meantime
	joined bool                 // its result is wanted; else only its end
}

// board joins the flights of absent keys, and begins those that there are not. If the work has
// ended all tickets are without a flight.
func (c *Cache[K, V]) board(ctx context.Context, keys []K, absent []int) []ticket[K, V] {
	groups := c.groupsOf(keys, absent)
	c.mu.Lock()
	defer c.mu.Unlock()
	within := task.Of(ctx)
	tickets := make([]ticket[K, V], 0, len(absent))
	calls := make(map[string]*loader.Call[K, V], 1)
	var group string
	callFor := func() *loader.Call[K, V] {
		call := calls[group]
		if call == nil || call.IsFullLocked(c.opts.BatchSize) {
			call = c.loads.CallForLocked(ctx, group, func() *loader.Call[K, V] { return c.newLoadCall(ctx, within) })
			calls[group] = call
		}
		return call
	}
	for n, i := range absent {
		if groups != nil {
			group = groups[n]
		}
		t := ticket[K, V]{index: i}
		if _, arrived := c.storage.peek(keys[i]); c.loads.IsBusyLocked(keys[i]) || !arrived && !c.life.isOverLocked() {
			t.flight, t.joined = c.loads.BoardLocked(keys[i], within, callFor)
		}
		tickets = append(tickets, t)
	}
	return tickets
}

// retry reports whether a key has to be looked for once more.
type retry bool

const toRetry retry = true

// attendFlight waits for a ticket's flight.
func (c *Cache[K, V]) attendFlight(ctx context.Context, t ticket[K, V], a *answer[V]) retry {
	f := t.flight
	if f == nil {
		return toRetry
	}
	within := task.Of(ctx)
	if a.err = within.Wait(f.Task); a.err == nil {
		defer within.Resume(f.Task)
		select {
		case <-f.Done:
			return c.collect(t, a)
		case <-c.life.run.Done():
			a.err = ErrClosed
		case <-ctx.Done():
			a.err = ctx.Err()
		}
		if isClosed(f.Done) { // the wait for another key has used up the time
			return c.collect(t, a)
		}
	}
	if t.joined {
		c.mu.Lock()
		c.loads.LeaveLocked(f)
		c.mu.Unlock()
	}
	return !toRetry
}

// collect answers with what a ticket's flight has, if that was wanted.
func (c *Cache[K, V]) collect(t ticket[K, V], a *answer[V]) retry {
	if !t.joined {
		return toRetry
	}
	a.value, a.err = t.flight.Value, c.ownError(t.flight.Err)
	return !toRetry
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// serve answers a load from memory.
func (c *Cache[K, V]) serve(ctx context.Context, e *timetable.Entry[K, V]) (v V, err error) {
	if c.look(e) {
		return *e.Value.Load(), nil
	}
	if e.Has(timetable.Absent) {
		return v, ErrNotFound
	}
	if c.opts.WhenStale == StaleFails && e.Has(timetable.Stale) && !c.isPast(e) {
		c.meter.misses.Add(1)
		return v, ErrStale
	}
	err = c.awaitRefresh(ctx, e)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrCycle) {
		err = fmt.Errorf("%w: %w", ErrStale, err)
	}
	if err != nil {
		return v, err
	}
	return *e.Value.Load(), nil
}

// awaitRefresh waits for the refresh of an entry under way, or for the next.
func (c *Cache[K, V]) awaitRefresh(ctx context.Context, e *timetable.Entry[K, V]) error {
	w, err := c.join(task.Of(ctx), e)
	switch {
	case err != nil:
		return err
	case c.tracer != nil:
		return c.attendTraced(ctx, e, w)
	}
	return c.attend(ctx, e, w, math.MinInt64)
}

// join registers a waiter for the refresh of an entry under way, or has it refreshed.
func (c *Cache[K, V]) join(within *task.Task, e *timetable.Entry[K, V]) (*watch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !e.IsDead() && e.IsFlying() && !c.life.isOverLocked() && !c.crew.isRefreshLocked(within, e) {
		return c.watchLocked(within, e), nil
	}
	return c.orderLocked(within, e)
}
