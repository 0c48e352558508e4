package autorefresh

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Calls of loads take turns on MaxLoads places. A call whose refresh function waits for another load lends its place to calls that are
// waited for in this way: they may be the ones it waits for. One that is stuck gives it away, one that waits for another process leaves
// it.

// enqueue has a call take its turn. The caller holds mu.
func (c *Cache[K, V]) enqueue(call *loadCall[K, V]) {
	call.list = &c.loads.queue
	if call.inner {
		call.list = &c.loads.inner
	}
	call.element = call.list.PushBack(call)
	c.dispatch()
}

// dequeue takes a call out of the queue it is in. The cache's mu is held.
func (l *loadCall[K, V]) dequeue() {
	l.list.Remove(l.element)
	l.list, l.element = nil, nil
}

// hurryLoad makes a call one that another call waits for. The caller holds mu.
func (c *Cache[K, V]) hurryLoad(call *loadCall[K, V]) {
	if call.inner {
		return
	}
	call.inner = true
	if call.list != nil {
		call.dequeue()
		c.enqueue(call)
	}
}

// dispatch takes one more place if there is one, and a call for it. The caller holds mu.
func (c *Cache[K, V]) dispatch() {
	l := &c.loads
	free := l.newestRipe(l.places) != nil && l.places < c.opts.MaxLoads || l.inner.Len() > 0 && l.places-l.lent < c.opts.MaxLoads
	if free && c.run.Err() == nil {
		l.places++
		c.tasks.Go(c.runLoads)
	}
}

// nextLoad takes the newest call off the queues, those first that calls under way wait for; nil, and the place is left, if there is none
// to be made on it. When there are more than can be made the oldest are those whose callers are about to give up: to make them first
// would be to make all in vain.
func (c *Cache[K, V]) nextLoad() *loadCall[K, V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.loads
	var newest *list.Element
	switch {
	case l.places-l.lent > c.opts.MaxLoads:
	case l.inner.Len() > 0:
		newest = l.inner.Back()
	case l.places <= c.opts.MaxLoads:
		newest = l.newestRipe(l.places - 1)
	}
	if newest == nil {
		l.places--
		return nil
	}
	call, _ := newest.Value.(*loadCall[K, V])
	call.dequeue()
	call.placed, call.back, call.young = true, false, false
	return call
}

// leavePlace ends a call's turn, and tells whether the place is still there for another.
func (c *Cache[K, V]) leavePlace(call *loadCall[K, V]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	placed := call.placed
	call.placed = false
	c.takeBack(call)
	return placed
}

// lend lends the place of a call whose refresh function waits for another call.
func (c *Cache[K, V]) lend(call *loadCall[K, V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call.blocked++; call.placed && !call.lends {
		call.lends = true
		c.loads.lent++
		c.dispatch()
	}
}

// reclaim is the end of lend.
func (c *Cache[K, V]) reclaim(call *loadCall[K, V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call.blocked--; call.blocked == 0 {
		c.takeBack(call)
	}
}

// takeBack ends the lending of a place. The caller holds mu.
func (c *Cache[K, V]) takeBack(call *loadCall[K, V]) {
	if call.lends {
		call.lends = false
		c.loads.lent--
	}
}

// park has a call wait, without a place, for what another process is getting.
func (c *Cache[K, V]) park(call *loadCall[K, V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call.placed = false
	if call.wanted == 0 || c.run.Err() != nil {
		call.cancel()
		c.giveUp(call.wishes...)
		return
	}
	c.parkLocked(call)
}

// split makes a call of their own of the keys that another process is asking for, and parks it.
func (c *Cache[K, V]) split(call *loadCall[K, V], waiting []*wish[K, V]) {
	rest := c.newLoadCall(call.ctx, call.task.outer)
	c.mu.Lock()
	defer c.mu.Unlock()
	rest.end, rest.wait, rest.inner = call.end, call.wait, call.inner
	call.dropWishes(waiting)
	for _, w := range waiting {
		c.addWish(rest, w)
	}
	if rest.wanted == 0 || c.run.Err() != nil {
		rest.cancel()
		c.giveUp(rest.wishes...)
		return
	}
	c.parkLocked(rest)
}

func (c *Cache[K, V]) parkLocked(call *loadCall[K, V]) {
	wait := call.wait
	call.wait = min(2*wait, max(firstLook, time.Duration(c.lookAgain())))
	call.parked = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if call.parked != nil {
			call.parked = nil
			c.enqueue(call)
		}
	})
}

func errOverrun() error { return fmt.Errorf("%w: %w", ErrStuck, context.DeadlineExceeded) }

// noteOverrun answers those who wait for a call that is stuck, and gives its place away.
func (c *Cache[K, V]) noteOverrun(call *loadCall[K, V]) {
	c.mu.Lock()
	if call.back || c.run.Err() != nil {
		c.mu.Unlock()
		return
	}
	call.stuck = true
	c.loads.stuck++
	c.counts.stuck++
	key := call.wishes[0].key
	c.emit(Event[K]{Kind: Stuck, Key: key})
	for _, w := range call.wishes {
		w.flight.err, w.flight.overrun = errOverrun(), true
		c.counts.loads[loadFailed]++
		close(w.flight.done)
	}
	c.giveAway(call)
	c.mu.Unlock()
	call.task.settle(errOverrun())
	c.write([]notice{{slog.LevelWarn, "refresh function has overrun its timeout", []any{"key", quote(key)}}})
}

// giveAway gives up the place of a stuck call: of MaxStuck calls, and always if none would be left. The caller holds mu.
func (c *Cache[K, V]) giveAway(call *loadCall[K, V]) {
	l := &c.loads
	last := l.places <= l.stuck-l.gone
	if c.opts.MaxStuck == 0 || l.gone >= c.opts.MaxStuck && !last {
		return
	}
	c.takeBack(call)
	call.placed = false
	l.places--
	l.gone++
	c.dispatch()
}

// noteReturn notes that the refresh function has returned, late or not.
func (c *Cache[K, V]) noteReturn(call *loadCall[K, V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call.back = true
	c.noteEnd(call)
	if !call.stuck {
		return
	}
	call.stuck = false
	c.loads.stuck--
	if !call.placed {
		c.loads.gone--
	}
}
