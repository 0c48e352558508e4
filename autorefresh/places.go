package autorefresh

import (
	"container/list"
	"time"
)

// firstLook is after what time a load looks for the first time what another process has got meanwhile. Each further time it waits longer.
const firstLook = 5 * time.Millisecond

// enqueueLocked has a call take its turn.
func (l *loader[K, V]) enqueueLocked(call *loadCall[K, V]) {
	call.list = &l.queue
	if call.inner {
		call.list = &l.inner
	}
	call.element = call.list.PushBack(call)
	l.dispatchLocked()
}

// dequeueLocked takes a call out of the queue it is in.
func (c *loadCall[K, V]) dequeueLocked() {
	c.list.Remove(c.element)
	c.list, c.element = nil, nil
}

// hurryLocked makes a call one that another call waits for.
func (l *loader[K, V]) hurryLocked(call *loadCall[K, V]) {
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
func (l *loader[K, V]) dispatchLocked() {
	free := l.newestRipeLocked(l.places) != nil && l.places < l.most || l.inner.Len() > 0 && l.places-l.lent < l.most
	if free && !l.isOver() {
		l.places++
		l.spawn()
	}
}

// next takes the newest call off the queues, those first that calls under way wait for; nil, and the place is left, if there is none
// to be made on it. When there are more than can be made the oldest are those whose callers are about to give up: to make them first
// would be to make all in vain.
func (l *loader[K, V]) next() *loadCall[K, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	var newest *list.Element
	switch {
	case l.places-l.lent > l.most:
	case l.inner.Len() > 0:
		newest = l.inner.Back()
	case l.places <= l.most:
		newest = l.newestRipeLocked(l.places - 1)
	}
	if newest == nil {
		l.places--
		return nil
	}
	call, _ := newest.Value.(*loadCall[K, V])
	call.dequeueLocked()
	call.placed, call.back, call.young = true, false, false
	return call
}

// newestRipeLocked returns the newest call of the queue that waits for no further keys, or the newest of all if no others are under way.
func (l *loader[K, V]) newestRipeLocked(others int) *list.Element {
	for e := l.queue.Back(); e != nil; e = e.Prev() {
		if call, _ := e.Value.(*loadCall[K, V]); !call.young || others == 0 {
			return e
		}
	}
	return nil
}

// leavePlace ends a call's turn, and tells whether the place is still there for another.
func (l *loader[K, V]) leavePlace(call *loadCall[K, V]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	placed := call.placed
	call.placed = false
	l.takeBackLocked(call)
	return placed
}

// lend lends the place of a call whose refresh function waits for another call.
func (l *loader[K, V]) lend(call *loadCall[K, V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := &call.job.task.Turn
	if turn.Blocked++; call.placed && !turn.Lent {
		turn.Lent = true
		l.lent++
		l.dispatchLocked()
	}
}

// reclaim is the end of lend.
func (l *loader[K, V]) reclaim(call *loadCall[K, V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := &call.job.task.Turn
	if turn.Blocked--; turn.Blocked == 0 {
		l.takeBackLocked(call)
	}
}

// takeBackLocked ends the lending of a place.
func (l *loader[K, V]) takeBackLocked(call *loadCall[K, V]) {
	if turn := &call.job.task.Turn; turn.Lent {
		turn.Lent = false
		l.lent--
	}
}

// park has a call wait, without a place, for what another process is getting; longer each time, but not longer than so long.
func (l *loader[K, V]) park(call *loadCall[K, V], most time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	call.placed = false
	l.parkLocked(call, most)
}

// split parks those keys of a call that another process is asking for, in a call of their own.
func (l *loader[K, V]) split(call, rest *loadCall[K, V], waiting []*want[K, V], most time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest.end, rest.wait, rest.inner = call.end, call.wait, call.inner
	call.dropLocked(waiting...)
	for _, w := range waiting {
		rest.addLocked(w)
	}
	l.parkLocked(rest, most)
}

func (l *loader[K, V]) parkLocked(call *loadCall[K, V], most time.Duration) {
	if call.wanted == 0 || l.isOver() {
		call.cancel()
		l.giveUpLocked(call.wishes...)
		return
	}
	wait := call.wait
	call.wait = min(2*wait, max(firstLook, most))
	call.parked = time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if call.parked != nil {
			call.parked = nil
			l.enqueueLocked(call)
		}
	})
}

// overrunLocked answers those who wait for a call that is stuck, and gives its place away. It returns a key of the call, false if it has
// returned after all.
func (l *loader[K, V]) overrunLocked(call *loadCall[K, V]) (key K, ok bool) {
	if call.back || l.isOver() {
		return key, false
	}
	call.stuck = true
	l.stuck++
	for _, w := range call.wishes {
		w.flight.err, w.flight.overrun = errOverrun(), true
		l.results[loadFailed]++
		close(w.flight.done)
	}
	l.giveAwayLocked(call)
	return call.wishes[0].key, true
}

// giveAwayLocked gives up the place of a stuck call: of as many as are to spare, and always if none would be left.
func (l *loader[K, V]) giveAwayLocked(call *loadCall[K, V]) {
	last := l.places <= l.stuck-l.gone
	if l.spare == 0 || l.gone >= l.spare && !last {
		return
	}
	l.takeBackLocked(call)
	call.placed = false
	l.places--
	l.gone++
	l.dispatchLocked()
}

// noteReturn notes that the refresh function has returned, late or not.
func (l *loader[K, V]) noteReturn(call *loadCall[K, V], now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	call.back = true
	l.noteEndLocked(call, now)
	if !call.stuck {
		return
	}
	call.stuck = false
	l.stuck--
	if !call.placed {
		l.gone--
	}
}
