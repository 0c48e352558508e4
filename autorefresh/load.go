package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/refresh"
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
	if e, ok := c.storage.Get(key); ok && e.Flags.Load()&c.slow == 0 && !c.life.IsClosed() {
		return *e.Value.Load(), nil
	}
	answers := c.load(ctx, []K{key})
	return answers[0].Value, answers[0].Err
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
		case a.Err == nil:
			found[keys[i]] = a.Value
		case !errors.Is(a.Err, ErrNotFound):
			bad[a.Err.Error()] = a.Err
		}
	}
	var errs []error
	for err := range maps.Values(bad) {
		errs = append(errs, err)
	}
	return found, errors.Join(errs...)
}

// load answers keys, one by one from memory, all others together.
func (c *Cache[K, V]) load(ctx context.Context, keys []K) []loader.Answer[V] {
	answers := make([]loader.Answer[V], len(keys))
	open := indexes(len(keys))
	for len(open) > 0 {
		if c.life.Run().Err() != nil {
			for _, i := range open {
				answers[i].Err = ErrClosed
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
func (c *Cache[K, V]) loadOnce(ctx context.Context, keys []K, open []int, answers []loader.Answer[V]) []int {
	var absent []int
	for _, i := range open {
		if keys[i] != keys[i] { //nolint:staticcheck // NaN.
			answers[i].Err = ErrBadKey
			continue
		}
		e, ok := c.storage.Get(keys[i])
		if !ok {
			absent = append(absent, i)
			continue
		}
		answers[i].Value, answers[i].Err = c.serve(ctx, e)
	}
	if len(absent) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil { // the source is not to be called for nobody
		for _, i := range absent {
			answers[i].Err = err
		}
		return nil
	}
	if c.tracer != nil {
		return c.tracer.wait(ctx, keys, absent, answers, c.loadAbsent)
	}
	return c.loadAbsent(ctx, keys, absent, answers)
}

// loadAbsent waits for keys that are not in memory and returns those that have to be tried again.
func (c *Cache[K, V]) loadAbsent(ctx context.Context, keys []K, absent []int, answers []loader.Answer[V]) (again []int) {
	wanted := keys
	if len(absent) < len(keys) {
		wanted = make([]K, len(absent))
		for n, i := range absent {
			wanted[n] = keys[i]
		}
	}
	for n, ticket := range c.loads.Board(ctx, wanted, c.items.GroupsOf(wanted)) {
		i := absent[n]
		var retry bool
		if answers[i], retry = c.loads.Attend(ctx, ticket); retry {
			again = append(again, i)
		}
	}
	return again
}

// serve answers a load from memory.
func (c *Cache[K, V]) serve(ctx context.Context, e *timetable.Entry[K, V]) (v V, err error) {
	if c.look(e) {
		return *e.Value.Load(), nil
	}
	if e.Has(timetable.Absent) {
		return v, ErrNotFound
	}
	if c.opts.WhenStale == StaleFails && e.Has(timetable.Stale) && !c.items.IsPast(e) {
		c.misses.Add(1)
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
	order, err := c.orders.Join(ctx, e)
	if err != nil {
		return err
	}
	await := func(ctx context.Context) error { return c.orders.Await(ctx, order, refresh.ASAP) }
	if c.tracer != nil {
		return c.tracer.waitFor(ctx, e.Key, await)
	}
	return await(ctx)
}
