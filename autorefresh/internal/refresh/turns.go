package refresh

import (
	"slices"

	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// turns are those of the workers: as many calls are under way as there are workers. A call whose
// refresh function waits for another item of the cache, for its refresh or its load, lends its turn
// to an extra worker, which takes only what calls wait for. Else, when all workers wait like that,
// nobody would be left for what they wait for. All of it is guarded by the cache's lock.
type turns[K comparable, V any] struct {
	workers map[*worker[K, V]]struct{}
	flying  int // entries being refreshed
	running int // calls under way, but for those that wait for others
	lent    int // calls that wait for others
	extras  int // workers that take urgent entries meanwhile
	stuck   int // calls that overran, not returned yet
}

// beginLocked notes that a worker has taken entries for a call.
func (t *turns[K, V]) beginLocked(entries int) {
	t.running++
	t.flying += entries
}

// endLocked notes that a call has returned.
func (t *turns[K, V]) endLocked(by *worker[K, V]) {
	t.endTurnLocked(by.call.Load())
	if by.stuck {
		by.stuck = false
		t.stuck--
	} else {
		t.running--
	}
	t.flying -= len(by.entries)
}

// overrunLocked returns the workers whose call has overrun since it was called last; they have no
// turn any more.
func (t *turns[K, V]) overrunLocked(now int64) (late []*worker[K, V]) {
	for one := range t.workers {
		deadline := one.deadline.Load()
		if deadline == 0 || deadline > now || one.stuck {
			continue
		}
		one.stuck = true
		t.endTurnLocked(one.call.Load())
		t.stuck++
		t.running--
		late = append(late, one)
	}
	return late
}

// nextDeadlineLocked is when the first of the calls under way will have overrun.
func (t *turns[K, V]) nextDeadlineLocked() int64 {
	next := int64(timetable.Never)
	for one := range t.workers {
		if deadline := one.deadline.Load(); deadline != 0 && !one.stuck {
			next = min(next, deadline)
		}
	}
	return next
}

// callOfLocked returns the call that an entry is being refreshed by, nil if there is none.
func (t *turns[K, V]) callOfLocked(e *timetable.Entry[K, V]) *task.Task {
	for one := range t.workers {
		if slices.Contains(one.entries, e) {
			return one.call.Load()
		}
	}
	return nil
}

// isRefreshLocked reports whether a call, or one that it is part of, is the refresh of an entry.
func (t *turns[K, V]) isRefreshLocked(call *task.Task, e *timetable.Entry[K, V]) bool {
	if call == nil || !e.IsFlying() {
		return false
	}
	by := t.callOfLocked(e)
	return by != nil && by.Reaches(call, make(map[*task.Task]bool))
}

// lendLocked lends the turn of a call that waits for another, and reports whether it has.
func (t *turns[K, V]) lendLocked(call *task.Task) bool {
	if call.Turn.Blocked++; call.Turn.Lent || call.Turn.Over {
		return false
	}
	call.Turn.Lent = true
	t.running--
	t.lent++
	return true
}

// reclaimLocked is the end of lendLocked.
func (t *turns[K, V]) reclaimLocked(call *task.Task) {
	if call.Turn.Blocked--; call.Turn.Blocked == 0 {
		t.takeBackLocked(call)
	}
}

// endTurnLocked is the end of a turn: the call has returned, or is stuck.
func (t *turns[K, V]) endTurnLocked(call *task.Task) {
	t.takeBackLocked(call)
	call.Turn.Over = true
}

// takeBackLocked ends the lending of a turn.
func (t *turns[K, V]) takeBackLocked(call *task.Task) {
	if call.Turn.Lent {
		call.Turn.Lent = false
		t.running++
		t.lent--
	}
}
