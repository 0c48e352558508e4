package loader

import (
	"context"
	"maps"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
)

// Keys that are missed at about the same time go with one call, if the source takes batches: a call
// that waits in the queue takes further keys in. One that could begin waits for them a moment only
// if that costs little:
//
//   - A load while no other call is under way begins at once: it has nobody to wait for.
//   - Else it begins when its batch is full, when no other call is under way any more, or after a
//     quarter of what a call takes, 2 ms at most: where some come at once more do, and the wait is
//     little beside the call.
//   - While another load waits for the limiter, it waits too, if it has not to ask the second level
//     first: it would stand behind it.

// CallForLocked returns the call that a key of a group joins which is absent: an open one, or a new
// one.
func (l *Loader[K, V]) CallForLocked(ctx context.Context, group string, create func() *Call[K, V]) *Call[K, V] {
	together := l.Batch > 1 && task.Of(ctx) == nil
	if open := l.gathering.open[group]; together && open != nil && open.list == &l.queue && len(open.wishes) < l.Batch {
		return open
	}
	call := create()
	if together {
		l.openLocked(group, call)
		call.young = l.places > 0
	}
	if call.young {
		time.AfterFunc(l.gathering.window(), func() {
			l.Life.Lock()
			defer l.Life.Unlock()
			call.waited = true
			l.ripenLocked(call)
		})
	}
	l.enqueueLocked(call)
	return call
}

// openLocked makes a call the one that further keys of a group join.
func (l *Loader[K, V]) openLocked(group string, call *Call[K, V]) {
	g := &l.gathering
	if g.open == nil {
		g.open = make(map[string]*Call[K, V])
	}
	if len(g.open) > 2*l.queue.Len()+16 { // those of most groups have left the queue
		maps.DeleteFunc(g.open, func(_ string, c *Call[K, V]) bool { return c.list != &l.queue })
	}
	g.open[group] = call
}

// ripenLocked has a call begin that waits for further keys, if it has waited long enough.
func (l *Loader[K, V]) ripenLocked(call *Call[K, V]) {
	full := len(call.wishes) >= l.Batch
	if call.young && (full || call.waited && l.gathering.pacing == 0) {
		call.young = false
		l.dispatchLocked()
	}
}

// BeginPace notes that a call waits for the limiter.
func (l *Loader[K, V]) BeginPace(call *Call[K, V]) {
	l.Life.Lock()
	defer l.Life.Unlock()
	call.pacing = true
	l.gathering.pacing++
}

// NoteBegin notes that the refresh function is called.
func (l *Loader[K, V]) NoteBegin(call *Call[K, V], at int64) {
	if l.Batch == 1 {
		return
	}
	l.Life.Lock()
	defer l.Life.Unlock()
	l.endPaceLocked(call)
	call.began = at
}

// noteEndLocked notes that the refresh function has returned, or that it will not be called.
func (l *Loader[K, V]) noteEndLocked(call *Call[K, V], now int64) {
	l.endPaceLocked(call)
	if call.began > 0 {
		l.gathering.learn(time.Duration(now - call.began))
		call.began = 0
	}
}

// endPaceLocked is the end of BeginPace.
func (l *Loader[K, V]) endPaceLocked(call *Call[K, V]) {
	if !call.pacing {
		return
	}
	call.pacing = false
	g := &l.gathering
	if g.pacing--; g.pacing == 0 {
		for _, open := range g.open {
			l.ripenLocked(open)
		}
	}
}

// NoteReturn notes that the refresh function has returned, late or not.
func (l *Loader[K, V]) NoteReturn(call *Call[K, V], now int64) {
	l.Life.Lock()
	defer l.Life.Unlock()
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
