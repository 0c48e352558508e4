package autorefresh

import (
	"slices"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// crew are the workers, which pull what is due and refresh it. They take turns: as many calls are
// under way as there are workers. A call whose refresh function waits for another item of the
// cache, for its refresh or its load, lends its turn to an extra worker, which takes only what
// calls wait for. Else, when all workers wait like that, nobody would be left for what they wait
// for. All of it is guarded by the cache's mu.
type crew[K comparable, V any] struct {
	workers map[*worker[K, V]]struct{}
	flying  int // entries being refreshed
	running int // calls under way, but for those that wait for others
	lent    int // calls that wait for others
	extras  int // workers that take what is urgent meanwhile
	stuck   int // calls that overran, not returned yet
}

// worker is one of them.
type worker[K comparable, V any] struct {
	job     *fetch.Job[K, V]
	entries []*timetable.Entry[K, V] // of the call under way
	wants   []fetch.Want[K, V]       // of those entries
	all     []*fetch.Want[K, V]
	// deadline is when the call under way has overrun, 0 if there is none.
	deadline atomic.Int64
	call     atomic.Pointer[task.Task] // the last one
	extra    bool                      // takes only what is urgent

	stuck    bool // guarded by the cache's mu
	replaced bool // guarded by the cache's mu
}

// beginLocked notes that a worker has taken entries for a call.
func (w *crew[K, V]) beginLocked(entries int) {
	w.running++
	w.flying += entries
}

// endLocked notes that a call has returned.
func (w *crew[K, V]) endLocked(by *worker[K, V]) {
	w.endTurnLocked(by.call.Load())
	if by.stuck {
		by.stuck = false
		w.stuck--
	} else {
		w.running--
	}
	w.flying -= len(by.entries)
}

// overrunLocked returns the workers whose call has overrun since it was called last; they have no
// turn any more.
func (w *crew[K, V]) overrunLocked(now int64) (late []*worker[K, V]) {
	for one := range w.workers {
		deadline := one.deadline.Load()
		if deadline == 0 || deadline > now || one.stuck {
			continue
		}
		one.stuck = true
		w.endTurnLocked(one.call.Load())
		w.stuck++
		w.running--
		late = append(late, one)
	}
	return late
}

// nextDeadlineLocked is when the first of the calls under way will have overrun.
func (w *crew[K, V]) nextDeadlineLocked() int64 {
	next := int64(timetable.Never)
	for one := range w.workers {
		if deadline := one.deadline.Load(); deadline != 0 && !one.stuck {
			next = min(next, deadline)
		}
	}
	return next
}

// callOfLocked returns the call that an entry is being refreshed by, nil if there is none.
func (w *crew[K, V]) callOfLocked(e *timetable.Entry[K, V]) *task.Task {
	for one := range w.workers {
		if slices.Contains(one.entries, e) {
			return one.call.Load()
		}
	}
	return nil
}

// isRefreshLocked reports whether a call, or one that it is part of, is the refresh of an entry.
func (w *crew[K, V]) isRefreshLocked(t *task.Task, e *timetable.Entry[K, V]) bool {
	if t == nil || !e.IsFlying() {
		return false
	}
	by := w.callOfLocked(e)
	return by != nil && by.Reaches(t, make(map[*task.Task]bool))
}

// lendLocked lends the turn of a call that waits for another, and reports whether it has.
func (w *crew[K, V]) lendLocked(t *task.Task) bool {
	if t.Turn.Blocked++; t.Turn.Lent || t.Turn.Over {
		return false
	}
	t.Turn.Lent = true
	w.running--
	w.lent++
	return true
}

// reclaimLocked is the end of lendLocked.
func (w *crew[K, V]) reclaimLocked(t *task.Task) {
	if t.Turn.Blocked--; t.Turn.Blocked == 0 {
		w.takeBackLocked(t)
	}
}

// endTurnLocked is the end of a turn: the call has returned, or is stuck.
func (w *crew[K, V]) endTurnLocked(t *task.Task) {
	w.takeBackLocked(t)
	t.Turn.Over = true
}

// takeBackLocked ends the lending of a turn.
func (w *crew[K, V]) takeBackLocked(t *task.Task) {
	if t.Turn.Lent {
		t.Turn.Lent = false
		w.running++
		w.lent--
	}
}
