package loader

import (
	"container/list"
	"context"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
)

// firstLook is after what time a load looks for the first time what another process has got
// meanwhile. Each further time it waits longer.
const firstLook = 5 * time.Millisecond

// enqueueLocked has a call take its turn.
func (l *Loader[K, V]) enqueueLocked(call *Call[K, V]) {
	call.list = &l.queue
	if call.inner {
		call.list = &l.inner
	}
	call.element = call.list.PushBack(call)
	l.dispatchLocked()
}

// dequeueLocked takes a call out of the queue it is in.
func (c *Call[K, V]) dequeueLocked() {
	c.list.Remove(c.element)
	c.list, c.element = nil, nil
}

// hurryLocked makes a call one that another call waits for.
func (l *Loader[K, V]) hurryLocked(call *Call[K, V]) {
	if call.inner {
		return
	}
	call.inner = true
	if call.list != nil {
		call.dequeueLocked()
		l.enqueueLocked(call)
	}
}

// dispatchLocked takes one more place if there is one, and a call for it.
func (l *Loader[K, V]) dispatchLocked() {
	free := l.newestRipeLocked(l.places) != nil && l.places < l.Places || l.inner.Len() > 0 && l.places-l.lent < l.Places
	if free && !l.Life.IsOverLocked() {
		l.places++
		l.Spawn()
	}
}

// Next takes the newest call off the queues, those first that calls under way wait for; nil, and
// the place is left, if there is none to be made on it. When there are more than can be made the
// oldest are those whose callers are about to give up: to make them first would be to make all in
// vain.
func (l *Loader[K, V]) Next() *Call[K, V] {
	l.Life.Lock()
	defer l.Life.Unlock()
	var newest *list.Element
	switch {
	case l.places-l.lent > l.Places:
	case l.inner.Len() > 0:
		newest = l.inner.Back()
	case l.places <= l.Places:
		newest = l.newestRipeLocked(l.places - 1)
	}
	if newest == nil {
		l.places--
		return nil
	}
	call, _ := newest.Value.(*Call[K, V])
	call.dequeueLocked()
	call.placed, call.back, call.young = true, false, false
	return call
}

// newestRipeLocked returns the newest call of the queue that waits for no further keys, or the
// newest of all if no others are under way.
func (l *Loader[K, V]) newestRipeLocked(others int) *list.Element {
	for e := l.queue.Back(); e != nil; e = e.Prev() {
		if call, _ := e.Value.(*Call[K, V]); !call.young || others == 0 {
			return e
		}
	}
	return nil
}

// Leave ends a call's turn, and reports whether the place is still there for another.
func (l *Loader[K, V]) Leave(call *Call[K, V]) bool {
	l.Life.Lock()
	defer l.Life.Unlock()
	placed := call.placed
	call.placed = false
	l.takeBackLocked(call)
	return placed
}

// lend lends the place of a call whose refresh function waits for another call.
func (l *Loader[K, V]) lend(call *Call[K, V]) {
	l.Life.Lock()
	defer l.Life.Unlock()
	turn := &call.Job.Task.Turn
	if turn.Blocked++; call.placed && !turn.Lent {
		turn.Lent = true
		l.lent++
		l.dispatchLocked()
	}
}

// reclaim is the end of lend.
func (l *Loader[K, V]) reclaim(call *Call[K, V]) {
	l.Life.Lock()
	defer l.Life.Unlock()
	turn := &call.Job.Task.Turn
	if turn.Blocked--; turn.Blocked == 0 {
		l.takeBackLocked(call)
	}
}

// takeBackLocked ends the lending of a place.
func (l *Loader[K, V]) takeBackLocked(call *Call[K, V]) {
	if turn := &call.Job.Task.Turn; turn.Lent {
		turn.Lent = false
		l.lent--
	}
}

// OverrunLocked answers the waiters of a call that is stuck, and gives its place away. It
// returns a key of the call, false if it has returned after all.
func (l *Loader[K, V]) OverrunLocked(call *Call[K, V]) (key K, ok bool) {
	if call.back || l.Life.IsOverLocked() {
		return key, false
	}
	call.stuck = true
	l.stuck++
	l.overruns++
	for _, w := range call.wishes {
		f := l.busy[w.Key]
		f.Err, f.overrun = source.ErrOverrun(), true
		l.counts[Failed]++
		close(f.Done)
	}
	l.giveAwayLocked(call)
	return call.wishes[0].Key, true
}

// giveAwayLocked gives up the place of a stuck call: of as many as are to spare, and always if none
// would be left.
func (l *Loader[K, V]) giveAwayLocked(call *Call[K, V]) {
	last := l.places <= l.stuck-l.gone
	if l.Spare == 0 || l.gone >= l.Spare && !last {
		return
	}
	l.takeBackLocked(call)
	call.placed = false
	l.places--
	l.gone++
	l.dispatchLocked()
}

// NewCall makes a call without keys, for a caller within another call or not. It outlives the
// caller, whose values it has.
func (l *Loader[K, V]) NewCall(ctx context.Context, j *fetch.Job[K, V], outer *task.Task) *Call[K, V] {
	call := &Call[K, V]{Job: j, wait: firstLook, inner: outer != nil}
	j.Ctx, call.cancel = context.WithCancel(context.WithoutCancel(ctx))
	j.Task = &task.Task{Cache: l.Cache, Outer: outer, Lend: func(*task.Task) { l.lend(call) }, Reclaim: func(*task.Task) { l.reclaim(call) }}
	return call
}

// Finish ends a call: all of it has been answered, or split off.
func (c *Call[K, V]) Finish() { c.cancel() }
