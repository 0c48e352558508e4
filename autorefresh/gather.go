package autorefresh

import (
	"container/list"
	"context"
	"time"
)

// Keys that are missed at about the same time go with one call, if the source takes batches: a call that waits in the queue takes further
// keys in. One that could begin waits for them a moment only if that costs little:
//
//   - A load while no other call is under way begins at once: it has nobody to wait for.
//   - Else it begins when its batch is full, when no other call is under way any more, or after a quarter of what a call takes, 2 ms at
//     most: where some come at once more do, and the wait is little beside the call.
//   - While another load waits for the limiter, it waits too, if it has not to ask the second level first: it would stand behind it.

// gatherFor is how long a load waits for further keys at most.
const gatherFor = 2 * time.Millisecond

// gathering is the call that further keys join. Its fields are guarded by the cache's mu.
type gathering[K comparable, V any] struct {
	open   *loadCall[K, V] // nil if there is none; it may have left the queue
	pacing int             // calls that wait for the limiter
	cost   time.Duration   // how long a call takes, 0 if that is not known
}

// window is how long a load waits for further keys.
func (g *gathering[K, V]) window() time.Duration {
	if g.cost == 0 {
		return gatherFor
	}
	return min(g.cost/4, gatherFor)
}

// learn notes how long a call took.
func (g *gathering[K, V]) learn(took time.Duration) {
	if g.cost == 0 {
		g.cost = took
	}
	g.cost += (took - g.cost) / 4
}

// callFor returns the call that a key joins which is absent. The caller holds mu.
func (c *Cache[K, V]) callFor(ctx context.Context) *loadCall[K, V] {
	l, outer := &c.loads, taskOf(ctx)
	together := c.opts.BatchSize > 1 && outer == nil
	if open := l.gathering.open; together && open != nil && open.list == &l.queue && len(open.wishes) < c.opts.BatchSize {
		return open
	}
	call := c.newLoadCall(ctx, outer)
	if together {
		l.gathering.open = call
		call.young = l.places > 0
	}
	if call.young {
		time.AfterFunc(l.gathering.window(), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			call.waited = true
			c.ripen(call)
		})
	}
	c.enqueue(call)
	return call
}

// ripen has a call begin that waits for further keys, if it has waited long enough. The caller holds mu.
func (c *Cache[K, V]) ripen(call *loadCall[K, V]) {
	full := len(call.wishes) >= c.opts.BatchSize
	if call.young && (full || call.waited && c.loads.gathering.pacing == 0) {
		call.young = false
		c.dispatch()
	}
}

// beginPace notes that a call waits for the limiter.
func (c *Cache[K, V]) beginPace(call *loadCall[K, V]) {
	if c.gate == nil || c.second != nil || c.opts.BatchSize == 1 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	call.pacing = true
	c.loads.gathering.pacing++
}

// noteBegin notes that the refresh function is called.
func (c *Cache[K, V]) noteBegin(call *loadCall[K, V], at int64) {
	if c.opts.BatchSize == 1 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endPace(call)
	call.began = at
}

// noteEnd notes that the refresh function has returned, or that it will not be called. The caller holds mu.
func (c *Cache[K, V]) noteEnd(call *loadCall[K, V]) {
	c.endPace(call)
	if call.began > 0 {
		c.loads.gathering.learn(time.Duration(c.now() - call.began))
		call.began = 0
	}
}

// endPace is the end of beginPace. The caller holds mu.
func (c *Cache[K, V]) endPace(call *loadCall[K, V]) {
	if !call.pacing {
		return
	}
	call.pacing = false
	g := &c.loads.gathering
	if g.pacing--; g.pacing == 0 && g.open != nil {
		c.ripen(g.open)
	}
}

// newestRipe returns the newest call of the queue that waits for no further keys, or the newest of all if no others are under way.
func (l *loads[K, V]) newestRipe(others int) *list.Element {
	for e := l.queue.Back(); e != nil; e = e.Prev() {
		if call, _ := e.Value.(*loadCall[K, V]); !call.young || others == 0 {
			return e
		}
	}
	return nil
}
