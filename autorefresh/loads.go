package autorefresh

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// loads are the calls for keys that are not in the cache.
type loads[K comparable, V any] struct {
	// busy has the keys that may not be called for because a call is under way: of a load, or of a refresh of a deleted entry.
	busy map[K]*flight[V]
	// queue has the calls that wait for their turn, inner those of them that calls under way wait for.
	queue, inner list.List // of *loadCall
	gathering    gathering[K, V]
	// places are taken by calls under way; of those calls lent wait for others, and let inner ones have their place.
	places, lent int
	// stuck calls have overrun; of them gone have given up their place.
	stuck, gone int
}

// flight is the load of one key, for all who wait for it.
type flight[V any] struct {
	done  chan struct{}
	value V     // to be read once done is closed
	err   error // to be read once done is closed
	task  *task // of the call

	// All below is guarded by the cache's mu.
	waiters   int
	leave     func() // tells the call that nobody waits any more
	hurry     func() // tells the call that another call waits for it
	overrun   bool   // its waiters were told that its call is stuck; done is closed
	forgotten bool   // deleted meanwhile: the result is not for those who come later
	orphan    bool   // not a load: only to be waited for
	left      bool   // the last waiter has left
}

// loadCall is one call of the source for one or more flights. Those of them that another process is asking for wait until it has
// answered, and the call takes its turn again.
type loadCall[K comparable, V any] struct {
	ctx     context.Context
	cancel  context.CancelFunc
	task    *task
	end     int64         // until when leases of others are waited for
	wait    time.Duration // before the next look
	deleted tombs         // seen when the second level was last looked at
	abandon func()        // ends the call when nobody waits for it any more; to be called under the cache's mu

	// All below is guarded by the cache's mu.
	wishes  []*wish[K, V]
	list    *list.List    // the queue it is in, nil if in none
	element *list.Element // in the queue
	young   bool          // it waits for further keys
	waited  bool          // it has waited for them for a while
	pacing  bool          // it waits for the limiter
	began   int64         // when the refresh function was called, 0 if it is not being
	parked  *time.Timer   // while it waits for another process
	wanted  int           // flights with waiters
	placed  bool          // it has a place
	blocked int           // waits of its refresh function for other calls
	lends   bool          // its place is lent
	inner   bool          // a call under way waits for it
	stuck   bool          // it has overrun
	back    bool          // the refresh function has returned
}

// wish is one key of a call, and what is known of it so far.
type wish[K comparable, V any] struct {
	key    K
	flight *flight[V]
	known  stored[K, V] // what the second level has of it, be it old
	result result[V]
}

// forget keeps the result of a load under way out of the cache.
func (l *loads[K, V]) forget(key K) {
	if f := l.busy[key]; f != nil {
		f.forgotten = true
	}
}

// Load returns the value of a key from memory, or loads it with the refresh function: once, however many callers wait, each as long
// as its own context lives. With [NewBatch], keys that are missed at about the same time go with one call: one that is missed while others
// are under way may wait for further ones, 2 ms at most. The call has the values of the first caller's context; it is cancelled when the
// last waiter leaves. The error is the context's, what the refresh function returned, [ErrNotFound], [ErrUnavailable], [ErrStale],
// [ErrStuck] or [ErrClosed].
//
// A refresh function may load other keys, with the context it was given: it waits for them without keeping its place among the
// MaxLoads, or the Workers. If in the end it would wait for itself, the error is [ErrCycle]: with [NewBatch] so may be the load of a key that
// needs another one which was missed at the same time, and is in the same call. Such a refresh function loads what it needs itself.
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
	open := indexes(len(keys))
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
type ticket[V any] struct {
	index  int
	flight *flight[V] // nil if the key has come in the meantime
	joined bool       // its result is wanted; else only its end
}

// board joins the flights of absent keys, and begins those that there are not. If the work has ended all tickets are without a flight.
func (c *Cache[K, V]) board(ctx context.Context, keys []K, absent []int) []ticket[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	inner := taskOf(ctx) != nil
	tickets := make([]ticket[V], 0, len(absent))
	var call *loadCall[K, V]
	for _, i := range absent {
		f := c.loads.busy[keys[i]]
		switch {
		case f != nil && f.overrun:
			f.waiters++
			tickets = append(tickets, ticket[V]{i, f, true})
			continue
		case f != nil && (f.orphan || f.forgotten || f.left):
			tickets = append(tickets, ticket[V]{i, f, false})
			continue
		case f == nil && c.arrived(keys[i]):
			tickets = append(tickets, ticket[V]{i, nil, false})
			continue
		case f == nil:
			if call == nil || len(call.wishes) == c.opts.BatchSize {
				call = c.callFor(ctx)
			}
			f = &flight[V]{done: make(chan struct{}), task: call.task}
			c.addWish(call, &wish[K, V]{key: keys[i], flight: f})
			c.loads.busy[keys[i]] = f
			c.ripen(call)
		case inner:
			f.hurry()
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

// newLoadCall makes a call without keys, asked for within another or not. It outlives the caller, whose values it has.
//
//nolint:contextcheck // see above.
func (c *Cache[K, V]) newLoadCall(ctx context.Context, outer *task) *loadCall[K, V] {
	call := &loadCall[K, V]{wait: firstLook, inner: outer != nil}
	call.ctx, call.cancel = context.WithCancel(context.WithoutCancel(ctx))
	call.task = &task{cache: c, outer: outer, lend: func(*task) { c.lend(call) }, reclaim: func(*task) { c.reclaim(call) }}
	call.abandon = func() { c.abandon(call) }
	return call
}

// abandon cancels a call, and ends it if it has not begun: those who want its keys from now on need not wait for its turn. The caller
// holds mu.
func (c *Cache[K, V]) abandon(call *loadCall[K, V]) {
	call.cancel()
	switch {
	case call.list != nil:
		call.dequeue()
	case call.parked != nil:
		call.parked.Stop()
		call.parked = nil
	default:
		return
	}
	c.giveUp(call.wishes...)
}

// giveUp ends the flights of wishes for which no call is to be made. The caller holds mu.
func (c *Cache[K, V]) giveUp(wishes ...*wish[K, V]) {
	err := context.Canceled
	if c.run.Err() != nil {
		err = ErrClosed
	}
	for _, w := range wishes {
		w.flight.err = err
		delete(c.loads.busy, w.key)
		c.counts.loads[loadCanceled]++
		close(w.flight.done)
	}
}

// addWish makes a key one of a call. The caller holds mu.
func (c *Cache[K, V]) addWish(call *loadCall[K, V], w *wish[K, V]) {
	f := w.flight
	f.hurry = func() { c.hurryLoad(call) }
	f.leave = func() {
		f.left = true
		switch call.wanted--; {
		case call.wanted == 0:
			call.abandon()
		case call.list != nil || call.parked != nil: // the source is not to be asked for nobody
			c.giveUp(w)
			call.dropWishes([]*wish[K, V]{w})
		}
	}
	call.wishes = append(call.wishes, w)
	if !f.left {
		call.wanted++
	}
}

// dropWishes takes keys out of a call, which is not ended for want of others. The caller holds mu.
func (l *loadCall[K, V]) dropWishes(some []*wish[K, V]) {
	l.wishes = slices.DeleteFunc(l.wishes, func(w *wish[K, V]) bool {
		drop := slices.Contains(some, w)
		if drop && !w.flight.left {
			l.wanted--
		}
		return drop
	})
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
	within := taskOf(ctx)
	if a.err = within.wait(f.task); a.err == nil {
		defer within.resume(f.task)
		select {
		case <-f.done:
			return c.collect(t, a)
		case <-c.run.Done():
			a.err = ErrClosed
		case <-ctx.Done():
			a.err = ctx.Err()
		}
		if isClosed(f.done) { // the wait for another key has used up the time
			return c.collect(t, a)
		}
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

// collect answers with what a ticket's flight has, if that was wanted.
func (c *Cache[K, V]) collect(t ticket[V], a *answer[V]) retry {
	if !t.joined {
		return toRetry
	}
	a.value, a.err = t.flight.value, t.flight.err
	if c.run.Err() != nil && errors.Is(a.err, context.Canceled) { // by Close, not by the caller
		a.err = ErrClosed
	}
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
	err = c.awaitRefresh(ctx, e)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrCycle) {
		err = fmt.Errorf("%w: %w", ErrStale, err)
	}
	if err != nil {
		return v, err
	}
	return *e.value.Load(), nil
}

// awaitRefresh waits for the refresh of an entry under way, or for the next.
func (c *Cache[K, V]) awaitRefresh(ctx context.Context, e *entry[K, V]) error {
	w, err := c.join(taskOf(ctx), e)
	switch {
	case err != nil:
		return err
	case c.tracer != nil:
		return c.attendTraced(ctx, e, w)
	}
	return c.attend(ctx, e, w, math.MinInt64)
}

// join registers a waiter for the refresh of an entry under way, or has it refreshed.
func (c *Cache[K, V]) join(within *task, e *entry[K, V]) (*watch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !e.dead && e.place == placeFlying && c.run.Err() == nil && !c.refreshes(within, e) {
		return c.watch(within, e), nil
	}
	return c.orderLocked(within, e)
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
