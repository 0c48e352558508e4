package autorefresh

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
)

// loads are the calls for keys that are not in the cache.
type loads[K comparable, V any] struct {
	// busy has the keys that may not be called for because a call is under way: of a load, or of a refresh of a deleted entry.
	busy    map[K]*flight[V]
	queue   list.List // of *loadCall
	running int
}

// flight is the load of one key, for all who wait for it.
type flight[V any] struct {
	done  chan struct{}
	value V     // to be read once done is closed
	err   error // to be read once done is closed

	// All below is guarded by the cache's mu.
	waiters   int
	leave     func() // tells the call that nobody waits any more
	forgotten bool   // deleted meanwhile: the result is not for those who come later
	orphan    bool   // not a load: only to be waited for
	left      bool   // the last waiter has left
}

// loadCall is one call of the source for one or more flights.
type loadCall[K comparable, V any] struct {
	ctx     context.Context
	cancel  context.CancelFunc
	keys    []K
	flights []*flight[V]
	place   *list.Element // in the queue, nil if not there; guarded by the cache's mu
	wanted  int           // flights with waiters; guarded by the cache's mu
	abandon func()        // ends the call when nobody waits for it any more; to be called under the cache's mu
}

// forget keeps the result of a load under way out of the cache.
func (l *loads[K, V]) forget(key K) {
	if f := l.busy[key]; f != nil {
		f.forgotten = true
	}
}

// Load returns the value of a key from memory, or loads it with the refresh function: once, however many callers wait, each as long
// as its own context lives. The call has the values of the first caller's context; it is cancelled when the last waiter leaves. The error
// is the context's, what the refresh function returned, [ErrNotFound], [ErrUnavailable], [ErrStale] or [ErrClosed].
func (c *Cache[K, V]) Load(ctx context.Context, key K) (V, error) {
	if e, ok := c.storage.get(key); ok && e.flags.Load()&c.slow == 0 && !c.closed.Load() {
		return *e.value.Load(), nil
	}
	answers := c.load(ctx, []K{key})
	return answers[0].value, answers[0].err
}

// LoadMulti returns the values of keys from memory and loads those it does not have, up to BatchSize with one call. Keys that the
// source does not have are left out. The error joins those of the other keys that are left out, each once.
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
	open := make([]int, len(keys))
	for i := range keys {
		open[i] = i
	}
	for len(open) > 0 {
		if c.run.Err() != nil {
			for _, i := range open {
				answers[i].err = ErrClosed
			}
			break
		}
		open = c.loadOnce(ctx, keys, open, answers)
	}
	return answers
}

// loadOnce tries the open keys once and returns those that have to be tried again.
func (c *Cache[K, V]) loadOnce(ctx context.Context, keys []K, open []int, answers []answer[V]) []int {
	var absent []int
	for _, i := range open {
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
	var again []int
	for _, t := range c.board(ctx, keys, absent) {
		if c.attendFlight(ctx, t, &answers[t.index]) == toRetry {
			again = append(again, t.index)
		}
	}
	return again
}

// ticket is the wait for one key that was absent.
type ticket[V any] struct {
	index  int
	flight *flight[V] // nil if the key has come in the meantime
	joined bool       // its result is wanted; else only its end
}

// board joins the flights of absent keys, and begins those that there are not. If the work has ended all tickets are without a flight.
func (c *Cache[K, V]) board(ctx context.Context, keys []K, absent []int) []ticket[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	tickets := make([]ticket[V], 0, len(absent))
	var call *loadCall[K, V]
	for _, i := range absent {
		f := c.loads.busy[keys[i]]
		switch {
		case f != nil && (f.orphan || f.forgotten || f.left):
			tickets = append(tickets, ticket[V]{i, f, false})
			continue
		case f == nil && c.arrived(keys[i]):
			tickets = append(tickets, ticket[V]{i, nil, false})
			continue
		case f == nil:
			if call == nil || len(call.keys) == c.opts.BatchSize {
				call = c.newLoadCall(ctx)
			}
			f = call.add(keys[i])
			c.loads.busy[keys[i]] = f
		}
		f.waiters++
		tickets = append(tickets, ticket[V]{i, f, true})
	}
	return tickets
}

// arrived tells whether there is no need for a flight: because the key has come, or because the work has ended. The caller holds mu.
func (c *Cache[K, V]) arrived(key K) bool {
	_, ok := c.storage.peek(key)
	return ok || c.run.Err() != nil
}

// newLoadCall queues a call, to which keys are added before mu is unlocked. It outlives the caller, whose values it has. The caller
// holds mu.
//
//nolint:contextcheck // see above.
func (c *Cache[K, V]) newLoadCall(ctx context.Context) *loadCall[K, V] {
	call := &loadCall[K, V]{}
	call.ctx, call.cancel = context.WithCancel(context.WithoutCancel(ctx))
	call.abandon = func() { c.abandon(call) }
	call.place = c.loads.queue.PushBack(call)
	if c.loads.running < c.opts.MaxLoads {
		c.loads.running++
		c.tasks.Go(c.runLoads)
	}
	return call
}

// abandon cancels a call, and ends it if it has not begun: those who want its keys from now on need not wait for its turn. The caller
// holds mu.
func (c *Cache[K, V]) abandon(call *loadCall[K, V]) {
	call.cancel()
	if call.place == nil {
		return
	}
	c.loads.queue.Remove(call.place)
	call.place = nil
	err := context.Canceled
	if c.run.Err() != nil {
		err = ErrClosed
	}
	for i, f := range call.flights {
		f.err = err
		delete(c.loads.busy, call.keys[i])
		c.counts.loads[loadCanceled]++
		close(f.done)
	}
}

// add makes the flight of a key. The caller holds mu.
func (l *loadCall[K, V]) add(key K) *flight[V] {
	f := &flight[V]{done: make(chan struct{})}
	f.leave = func() {
		f.left = true
		if l.wanted--; l.wanted == 0 {
			l.abandon()
		}
	}
	l.keys = append(l.keys, key)
	l.flights = append(l.flights, f)
	l.wanted++
	return f
}

// retry tells whether a key has to be looked for once more.
type retry bool

const toRetry retry = true

// attendFlight waits for a ticket's flight.
func (c *Cache[K, V]) attendFlight(ctx context.Context, t ticket[V], a *answer[V]) retry {
	f := t.flight
	if f == nil {
		return toRetry
	}
	select {
	case <-f.done:
		if !t.joined {
			return toRetry
		}
		a.value, a.err = f.value, f.err
		return !toRetry
	case <-c.run.Done():
		a.err = ErrClosed
	case <-ctx.Done():
		a.err = ctx.Err()
	}
	if t.joined {
		c.mu.Lock()
		if f.waiters--; f.waiters == 0 && !f.left {
			f.leave()
		}
		c.mu.Unlock()
	}
	return !toRetry
}

// serve answers a load from memory.
func (c *Cache[K, V]) serve(ctx context.Context, e *entry[K, V]) (v V, err error) {
	if c.look(e) {
		return *e.value.Load(), nil
	}
	if e.has(flagAbsent) {
		return v, ErrNotFound
	}
	if c.opts.WhenStale == StaleFails {
		c.misses.Add(1)
		return v, ErrStale
	}
	w, err := c.join(e)
	if err == nil {
		err = c.attend(ctx, e, w, math.MinInt64)
	}
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrClosed) {
		err = fmt.Errorf("%w: %w", ErrStale, err)
	}
	if err != nil {
		return v, err
	}
	return *e.value.Load(), nil
}

// join registers a waiter for the refresh of an entry under way, or has it refreshed.
func (c *Cache[K, V]) join(e *entry[K, V]) (*watch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !e.dead && e.place == placeFlying && c.run.Err() == nil {
		return c.watch(e), nil
	}
	return c.orderLocked(e)
}

// abandonLoads cancels all loads, and ends those that have not begun.
func (c *Cache[K, V]) abandonLoads() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.loads.busy {
		if f.leave != nil && !f.left {
			f.leave()
		}
	}
}
