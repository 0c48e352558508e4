package refresh

import (
	"slices"

	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Waiters are the callers that wait for entries which are there. All of it is guarded by the
// cache's lock.
type Waiters[K comparable, V any] struct {
	watches map[*timetable.Entry[K, V]]*Watch
}

// NewWaiters makes waiters of which there are none.
func NewWaiters[K comparable, V any]() *Waiters[K, V] {
	return &Waiters[K, V]{watches: make(map[*timetable.Entry[K, V]]*Watch)}
}

// Note is the news for the waiters of an entry.
type Note struct {
	Err     error
	Started int64 // when the call began that it is about
}

// Watch is the wait for the next note on an entry.
type Watch struct {
	done    chan struct{}
	note    Note // to be read once done is closed
	waiters int
	calls   []*task.Task // those of the waiters that are calls under way
}

// settled is a watch that has been told that all is well.
func settled() *Watch {
	w := &Watch{done: make(chan struct{}), note: Note{Started: timetable.Never}}
	close(w.done)
	return w
}

// watchLocked registers a waiter, within a call or not, for an entry that is not dead; by is the
// call that refreshes it, nil if none does.
func (a *Waiters[K, V]) watchLocked(e *timetable.Entry[K, V], within, by *task.Task) *Watch {
	w := a.watches[e]
	if w == nil {
		w = &Watch{done: make(chan struct{})}
		a.watches[e] = w
		e.Set(timetable.Watched)
	}
	w.waiters++
	if within != nil {
		w.calls = append(w.calls, within)
		within.Awaits(by)
	}
	return w
}

// unwatchLocked ends a waiter that was not told.
func (a *Waiters[K, V]) unwatchLocked(e *timetable.Entry[K, V], w *Watch, within, by *task.Task) {
	if i := slices.Index(w.calls, within); within != nil && i >= 0 {
		w.calls = slices.Delete(w.calls, i, i+1)
		within.Forget(by)
	}
	if w.waiters--; w.waiters == 0 && a.watches[e] == w {
		delete(a.watches, e)
		e.Clear(timetable.Watched)
	}
}

// NoteLocked tells all waiters of an entry.
func (a *Waiters[K, V]) NoteLocked(e *timetable.Entry[K, V], n Note) {
	if !e.Has(timetable.Watched) {
		return
	}
	w := a.watches[e]
	delete(a.watches, e)
	e.Clear(timetable.Watched)
	w.note = n
	close(w.done)
}

// noteIdleLocked tells all waiters of entries whose refresh has not begun.
func (a *Waiters[K, V]) noteIdleLocked(n Note) {
	for e := range a.watches {
		if !e.IsFlying() {
			a.NoteLocked(e, n)
		}
	}
}

// takenLocked notes that a call is under way for an entry that others wait for. A trial is the one
// call by which a source that was down is tried: what it waits for is part of it.
func (a *Waiters[K, V]) takenLocked(e *timetable.Entry[K, V], by *task.Task, source timetable.Source) {
	if !e.Has(timetable.Watched) {
		return
	}
	for _, t := range a.watches[e].calls {
		t.Awaits(by)
		if source != timetable.Up {
			by.Outer = t
		}
	}
}
