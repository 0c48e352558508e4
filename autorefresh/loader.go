package autorefresh

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
)

// loader has the calls for keys that are not in the cache: which are under way, which wait for their turn, and who waits for them. Calls
// take turns on MaxLoads places. A call whose refresh function waits for another load lends its place to calls that are waited for in this
// way: they may be the ones it waits for. One that is stuck gives it away, one that waits for another process leaves it.
type loader[K comparable, V any] struct {
	mu     *sync.Mutex // the cache's
	cache  any         // whose calls they are
	isOver func() bool // no call may begin any more; to be called under mu
	spawn  func()      // has one more goroutine make calls; to be called under mu
	batch  int         // keys of a call at most
	most   int         // places
	spare  int         // how many stuck calls give their place away

	// All below is guarded by mu.

	// busy has the keys that may not be called for because a call is under way: of a load, or of a refresh of a deleted entry.
	busy map[K]*flight[K, V]
	// queue has the calls that wait for their turn, inner those of them that calls under way wait for.
	queue, inner list.List // of *loadCall
	gathering    gathering[K, V]
	// places are taken by calls under way; of those calls lent wait for others, and let inner ones have their place.
	places, lent int
	// stuck calls have overrun; of them gone have given up their place.
	stuck, gone int
	results     *[loadResults]uint64
}

// flight is the load of one key, for all who wait for it.
type flight[K comparable, V any] struct {
	done  chan struct{}
	value V          // to be read once done is closed
	err   error      // to be read once done is closed
	task  *task.Task // of the call

	// All below is guarded by the cache's mu.
	call      *loadCall[K, V] // nil for an orphan
	waiters   int
	overrun   bool // its waiters were told that its call is stuck; done is closed
	forgotten bool // deleted meanwhile: the result is not for those who come later
	orphan    bool // not a load, but the refresh of an entry that was deleted: only to be waited for
	left      bool // the last waiter has left
}

// loadCall is one call of the source for one or more flights. Those of them that another process is asking for wait until it has
// answered, and the call takes its turn again.
type loadCall[K comparable, V any] struct {
	job    *job[K, V]
	cancel context.CancelFunc
	end    int64         // until when leases of others are waited for
	wait   time.Duration // before the next look

	// All below is guarded by the cache's mu.
	wishes  []*want[K, V]
	list    *list.List    // the queue it is in, nil if in none
	element *list.Element // in the queue
	young   bool          // it waits for further keys
	waited  bool          // it has waited for them for a while
	pacing  bool          // it waits for the limiter
	began   int64         // when the refresh function was called, 0 if it is not being
	parked  *time.Timer   // while it waits for another process
	wanted  int           // flights with waiters
	placed  bool          // it has a place
	inner   bool          // a call under way waits for it
	stuck   bool          // it has overrun
	back    bool          // the refresh function has returned
}

// newCall makes a call without keys, for a caller within another call or not. It outlives the caller, whose values it has.
func (l *loader[K, V]) newCall(ctx context.Context, j *job[K, V], outer *task.Task) *loadCall[K, V] {
	call := &loadCall[K, V]{job: j, wait: firstLook, inner: outer != nil}
	j.ctx, call.cancel = context.WithCancel(context.WithoutCancel(ctx))
	j.task = &task.Task{Cache: l.cache, Outer: outer, Lend: func(*task.Task) { l.lend(call) }, Reclaim: func(*task.Task) { l.reclaim(call) }}
	return call
}

// isBusyLocked returns what tells whether a call for a key is under way, nil if there is none at all.
func (l *loader[K, V]) isBusyLocked() func(K) bool {
	if len(l.busy) == 0 {
		return nil
	}
	return func(key K) bool { return l.busy[key] != nil }
}

// forgetLocked keeps the result of a load under way out of the cache.
func (l *loader[K, V]) forgetLocked(key K) {
	if f := l.busy[key]; f != nil {
		f.forgotten = true
	}
}

// orphanLocked notes that a key whose entry was deleted is still being refreshed, by a call.
func (l *loader[K, V]) orphanLocked(key K, by *task.Task) {
	l.busy[key] = &flight[K, V]{done: make(chan struct{}), orphan: true, task: by}
}

// landLocked is the end of orphanLocked: the key may be called for again.
func (l *loader[K, V]) landLocked(key K) {
	if f := l.busy[key]; f != nil && f.orphan {
		delete(l.busy, key)
		close(f.done)
	}
}

// boardLocked joins the flight of a key within a call or not, or begins one, with the call that callFor returns. Joined is false if only
// the end of the flight is to be waited for.
func (l *loader[K, V]) boardLocked(key K, within *task.Task, callFor func() *loadCall[K, V]) (f *flight[K, V], joined bool) {
	f = l.busy[key]
	switch {
	case f == nil:
		call := callFor()
		f = &flight[K, V]{done: make(chan struct{}), task: call.job.task}
		call.addLocked(&want[K, V]{key: key, flight: f, newer: anyAge})
		l.busy[key] = f
		l.ripenLocked(call)
	case f.overrun: // it has been answered
	case f.orphan || f.forgotten || f.left:
		return f, false
	case within != nil:
		l.hurryLocked(f.call)
	}
	f.waiters++
	return f, true
}

// leaveLocked ends the wait of one who has given up. Without others the call is not to be made.
func (l *loader[K, V]) leaveLocked(f *flight[K, V]) {
	if f.waiters--; f.waiters == 0 && !f.left {
		l.desertLocked(f)
	}
}

// desertLocked notes that nobody waits for a flight any more.
func (l *loader[K, V]) desertLocked(f *flight[K, V]) {
	f.left = true
	call := f.call
	switch call.wanted--; {
	case call.wanted == 0:
		l.abandonLocked(call)
	case call.list != nil || call.parked != nil: // the source is not to be asked for nobody
		i := slices.IndexFunc(call.wishes, func(w *want[K, V]) bool { return w.flight == f })
		w := call.wishes[i]
		l.giveUpLocked(w)
		call.dropLocked(w)
	}
}

// abandonLocked cancels a call, and ends it if it has not begun: those who want its keys from now on need not wait for its turn.
func (l *loader[K, V]) abandonLocked(call *loadCall[K, V]) {
	call.cancel()
	switch {
	case call.list != nil:
		call.dequeueLocked()
	case call.parked != nil:
		call.parked.Stop()
		call.parked = nil
	default:
		return
	}
	l.giveUpLocked(call.wishes...)
}

// abandonAllLocked cancels all loads, and ends those that have not begun.
func (l *loader[K, V]) abandonAllLocked() {
	for _, f := range l.busy {
		if !f.orphan && !f.left {
			l.desertLocked(f)
		}
	}
}

// giveUpLocked ends the flights of wishes for which no call is to be made.
func (l *loader[K, V]) giveUpLocked(wishes ...*want[K, V]) {
	err := context.Canceled
	if l.isOver() {
		err = ErrClosed
	}
	for _, w := range wishes {
		w.flight.err = err
		delete(l.busy, w.key)
		l.results[loadCanceled]++
		close(w.flight.done)
	}
}

// answerLocked ends the flight of a wish. Who was told that the call is stuck has left: the value is kept nevertheless.
func (l *loader[K, V]) answerLocked(w *want[K, V], a answer[V]) {
	f := w.flight
	delete(l.busy, w.key)
	if f.overrun {
		return
	}
	l.results[loadResultOf(&w.result)]++
	f.value, f.err = a.value, a.err
	close(f.done)
}

// forgotten are the keys that were deleted while a call was under way, and from the second level too early.
func (l *loader[K, V]) forgotten(call *loadCall[K, V]) []K {
	var keys []K
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range call.wishes {
		if w.flight.forgotten {
			keys = append(keys, w.key)
		}
	}
	return keys
}

// addLocked makes a key one of a call.
func (c *loadCall[K, V]) addLocked(w *want[K, V]) {
	w.flight.call = c
	c.wishes = append(c.wishes, w)
	if !w.flight.left {
		c.wanted++
	}
}

// dropLocked takes keys out of a call, which is not ended for want of others.
func (c *loadCall[K, V]) dropLocked(some ...*want[K, V]) {
	c.wishes = slices.DeleteFunc(c.wishes, func(w *want[K, V]) bool {
		drop := slices.Contains(some, w)
		if drop && !w.flight.left {
			c.wanted--
		}
		return drop
	})
}

// finish takes keys that have been answered out of a call.
func (l *loader[K, V]) finish(call *loadCall[K, V], wishes []*want[K, V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	call.dropLocked(wishes...)
	for _, w := range wishes {
		w.flight.left = true // nothing is left to be given up
	}
}
