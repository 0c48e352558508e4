package autorefresh

import (
	"slices"

	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// waiters are those who wait for entries that are there. All of it is guarded by the cache's mu.
type waiters[K comparable, V any] struct {
	watches map[*timetable.Entry[K, V]]*watch
}

// note is what those who wait for an entry are told.
type note struct {
	err     error
	started int64 // when the call began that it is about
}

// watch is the wait for the next note on an entry.
type watch struct {
	done    chan struct{}
	note    note // to be read once done is closed
	waiters int
	calls   []*task.Task // those of the waiters that are calls under way
}

// settled is a watch that has been told that all is well.
func settled() *watch {
	w := &watch{done: make(chan struct{}), note: note{started: timetable.Never}}
	close(w.done)
	return w
}

// watchLocked registers a waiter, within a call or not, for an entry that is not dead; by is the
// call that refreshes it, nil if none does.
func (a *waiters[K, V]) watchLocked(e *timetable.Entry[K, V], within, by *task.Task) *watch {
	w := a.watches[e]
	if w == nil {
		w = &watch{done: make(chan struct{})}
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
func (a *waiters[K, V]) unwatchLocked(e *timetable.Entry[K, V], w *watch, within, by *task.Task) {
	if i := slices.Index(w.calls, within); within != nil && i >= 0 {
		w.calls = slices.Delete(w.calls, i, i+1)
		within.Forget(by)
	}
	if w.waiters--; w.waiters == 0 && a.watches[e] == w {
		delete(a.watches, e)
		e.Clear(timetable.Watched)
	}
}

// noteLocked tells all who wait for an entry.
func (a *waiters[K, V]) noteLocked(e *timetable.Entry[K, V], n note) {
	if !e.Has(timetable.Watched) {
		return
	}
	w := a.watches[e]
	delete(a.watches, e)
	e.Clear(timetable.Watched)
	w.note = n
	close(w.done)
}

// noteIdleLocked tells all who wait for an entry whose refresh has not begun.
func (a *waiters[K, V]) noteIdleLocked(n note) {
	for e := range a.watches {
		if !e.IsFlying() {
			a.noteLocked(e, n)
		}
	}
}

// takenLocked notes that a call is under way for an entry that others wait for. A trial is the one
// call by which a source that was down is tried: what it waits for is part of it.
func (a *waiters[K, V]) takenLocked(e *timetable.Entry[K, V], by *task.Task, source timetable.Source) {
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
