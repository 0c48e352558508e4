package observe

import (
	"sync"
)

// MaxEvents is how many events wait for a callback that is slow before more are dropped.
const MaxEvents = 1024

// Events hands what happens to a callback of the user's: in order, one at a time, on a goroutine of
// its own, which lives while there is something to tell. The callback may panic or end its
// goroutine. A nil *Events tells nobody.
type Events[E any] struct {
	callback func(E)
	panicked func(any)

	mu      sync.Mutex
	pending []E           // guarded by mu
	told    chan struct{} // closed once nothing is pending; nil if nothing is; guarded by mu
	closed  bool          // guarded by mu
	lost    uint64        // guarded by mu
}

// NewEvents calls callback for each event, and panicked with the value of a panic in it. Without a
// callback it returns nil.
func NewEvents[E any](callback func(E), panicked func(any)) *Events[E] {
	if callback == nil {
		return nil
	}
	return &Events[E]{callback: callback, panicked: panicked}
}

// Post queues an event, and never waits. After Close, and beyond MaxEvents, it drops it.
func (q *Events[E]) Post(e E) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return
	case len(q.pending) >= MaxEvents:
		q.lost++
		return
	}
	q.pending = append(q.pending, e)
	if q.told == nil {
		q.told = make(chan struct{})
		go q.tell()
	}
}

// Lost is how many events were dropped because too many were waiting.
func (q *Events[E]) Lost() uint64 {
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

// Close takes no more events.
func (q *Events[E]) Close() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// Discard closes, and drops waiting events; the callback may still be at the event before.
func (q *Events[E]) Discard() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.pending = true, nil
}

// Wait returns once nothing is waiting and no callback runs, or when enough is closed: it may be a
// callback that waits. A nil enough is never.
func (q *Events[E]) Wait(enough <-chan struct{}) {
	if q == nil {
		return
	}
	q.mu.Lock()
	told := q.told
	q.mu.Unlock()
	if told == nil {
		return
	}
	select {
	case <-told:
	case <-enough:
	}
}

func (q *Events[E]) tell() {
	finished := false
	defer func() {
		if !finished { // the callback left with runtime.Goexit
			go q.tell()
		}
	}()
	for {
		e, ok := q.next()
		if !ok {
			finished = true
			return
		}
		q.call(e)
	}
}

func (q *Events[E]) next() (e E, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == 0 {
		close(q.told)
		q.pending, q.told = nil, nil
		return e, false
	}
	e = q.pending[0]
	q.pending = q.pending[1:]
	return e, true
}

func (q *Events[E]) call(e E) {
	defer func() {
		if v := recover(); v != nil {
			q.panicked(v)
		}
	}()
	q.callback(e)
}
