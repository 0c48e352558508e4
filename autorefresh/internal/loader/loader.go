// Package loader has the calls for keys that are not in a cache: it gathers them, lets them take
// turns, knows who waits for them, and makes them.
package loader

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/life"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
)

// Options are what a loader needs to know.
type Options[K comparable, V any] struct {
	Life   *life.Life // whose lock guards the loader
	Cache  any        // whose calls they are
	Spawn  func()     // has one more goroutine make calls, see Next; it is called under the lock
	NewJob func() *fetch.Job[K, V]
	Has    func(K) bool // whether the cache has a key; it is called under the lock
	Batch  int          // keys of a call at most
	Places int          // calls at once
	Spare  int          // how many stuck calls give their place away
}

// Loader has the calls for keys that are not in the cache: which are under way, which wait for
// their turn, and who waits for them. Calls take turns on places. A call whose refresh function
// waits for another load lends its place to calls that are waited for in this way: they may be the
// ones it waits for. One that is stuck gives it away, one that waits for another process leaves it.
// Methods whose name ends in Locked are called under the lock, all others without it.
type Loader[K comparable, V any] struct {
	Options[K, V]

	// All below is guarded by the lock.

	// busy has the keys that may not be called for because a call is under way: of a load, or of a
	// refresh of a deleted entry.
	busy map[K]*Flight[K, V]
	// queue has the calls that wait for their turn, inner those of them that calls under way wait
	// for.
	queue, inner list.List // of *Call
	gathering    gathering[K, V]
	// places are taken by calls under way; of those calls lent wait for others, and let inner ones
	// have their place.
	places, lent int
	// stuck calls have overrun; of them gone have given up their place.
	stuck, gone int
	counts      Counts
	overruns    uint64 // calls that have ever overrun
}

// Flight is the load of one key, for all who wait for it.
type Flight[K comparable, V any] struct {
	Done  chan struct{}
	Value V          // to be read once Done is closed
	Err   error      // to be read once Done is closed
	Task  *task.Task // of the call

	// All below is guarded by the lock.
	call      *Call[K, V] // nil for an orphan
	want      *fetch.Want[K, V]
	waiters   int
	overrun   bool // its waiters were told that its call is stuck; Done is closed
	forgotten bool // deleted meanwhile: the result is not for those who come later
	disowned  bool // forgotten because of a change that the second level has been told
	orphan    bool // not a load, but the refresh of an entry that was deleted: only to be waited for
	left      bool // the last waiter has left, or it has been answered
}

// Call is one call of the source for one or more flights. Those of them that another process is
// asking for wait until it has answered, and the call takes its turn again.
type Call[K comparable, V any] struct {
	Job *fetch.Job[K, V]
	End int64 // until when leases of others are waited for; 0 before the first turn

	cancel context.CancelFunc
	wait   time.Duration // before the next look

	// All below is guarded by the lock.
	wishes  []*fetch.Want[K, V]
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

// New makes a loader without calls.
func New[K comparable, V any](o Options[K, V]) *Loader[K, V] {
	return &Loader[K, V]{Options: o, busy: make(map[K]*Flight[K, V])}
}

// NewCall makes a call without keys, for a caller within another call or not. It outlives the
// caller, whose values it has.
func (l *Loader[K, V]) NewCall(ctx context.Context, j *fetch.Job[K, V], outer *task.Task) *Call[K, V] {
	call := &Call[K, V]{Job: j, wait: firstLook, inner: outer != nil}
	j.Ctx, call.cancel = context.WithCancel(context.WithoutCancel(ctx))
	j.Task = &task.Task{Cache: l.Cache, Outer: outer, Lend: func(*task.Task) { l.lend(call) }, Reclaim: func(*task.Task) { l.reclaim(call) }}
	return call
}

// BusyLocked returns a function that reports whether a call for a key is under way, nil if there is
// none at all.
func (l *Loader[K, V]) BusyLocked() func(K) bool {
	if len(l.busy) == 0 {
		return nil
	}
	return func(key K) bool { return l.busy[key] != nil }
}

// IsBusyLocked reports whether a call for a key is under way.
func (l *Loader[K, V]) IsBusyLocked(key K) bool { return l.busy[key] != nil }

// ForgetLocked keeps the result of a load under way out of the cache.
func (l *Loader[K, V]) ForgetLocked(key K) {
	if f := l.busy[key]; f != nil {
		f.forgotten, f.disowned = true, false
	}
}

// DisownLocked is ForgetLocked because of what another process has changed.
func (l *Loader[K, V]) DisownLocked(key K) {
	if f := l.busy[key]; f != nil && !f.forgotten {
		f.forgotten, f.disowned = true, true
	}
}

// OvertakeLocked answers those who wait for a key with a value that has come from elsewhere. The
// result of the load under way is not wanted.
func (l *Loader[K, V]) OvertakeLocked(key K, v V) {
	f := l.busy[key]
	switch {
	case f == nil || f.orphan || f.forgotten:
		return
	case f.overrun: // all have been answered
		f.forgotten, f.disowned = true, true
		return
	}
	rest := &Flight[K, V]{Done: make(chan struct{}), Task: f.Task, call: f.call, want: f.want, forgotten: true, disowned: true, left: f.left}
	l.busy[key] = rest
	f.left = true
	f.Value = v
	close(f.Done)
	if !rest.left {
		l.desertLocked(rest)
	}
}

// OrphanLocked notes that a key whose entry was deleted is still being refreshed, by a call. A load
// that has begun since the entry left the storage, and before the timetable was told, goes on: its
// flight is that of the key.
func (l *Loader[K, V]) OrphanLocked(key K, by *task.Task) {
	if l.busy[key] != nil {
		return
	}
	l.busy[key] = &Flight[K, V]{Done: make(chan struct{}), orphan: true, Task: by}
}

// LandLocked is the end of OrphanLocked: the key may be called for again.
func (l *Loader[K, V]) LandLocked(key K) {
	if f := l.busy[key]; f != nil && f.orphan {
		delete(l.busy, key)
		close(f.Done)
	}
}

// BoardLocked joins the flight of a key within a call or not, or begins one, with the call that
// callFor returns. Joined is false if only the end of the flight is to be waited for.
func (l *Loader[K, V]) BoardLocked(key K, within *task.Task, callFor func() *Call[K, V]) (f *Flight[K, V], joined bool) {
	f = l.busy[key]
	switch {
	case f == nil:
		call := callFor()
		f = &Flight[K, V]{Done: make(chan struct{}), Task: call.Job.Task, want: &fetch.Want[K, V]{Key: key, Newer: fetch.AnyAge}}
		call.addLocked(f)
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

// LeaveLocked ends the wait of one who has given up. Without others the call is not to be made.
func (l *Loader[K, V]) LeaveLocked(f *Flight[K, V]) {
	if f.waiters--; f.waiters == 0 && !f.left {
		l.desertLocked(f)
	}
}

// desertLocked notes that nobody waits for a flight any more.
func (l *Loader[K, V]) desertLocked(f *Flight[K, V]) {
	f.left = true
	call := f.call
	switch call.wanted--; {
	case call.wanted == 0:
		l.abandonLocked(call)
	case call.list != nil || call.parked != nil: // the source is not to be asked for nobody
		l.giveUpLocked(f.want)
		call.dropLocked(f)
	}
}

// abandonLocked cancels a call, and ends it if it has not begun: those who want its keys from now
// on need not wait for its turn.
func (l *Loader[K, V]) abandonLocked(call *Call[K, V]) {
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

// AbandonAllLocked cancels all loads, and ends those that have not begun.
func (l *Loader[K, V]) AbandonAllLocked() {
	for _, f := range l.busy {
		if !f.orphan && !f.left {
			l.desertLocked(f)
		}
	}
}

// giveUpLocked ends the flights of wishes for which no call is to be made.
func (l *Loader[K, V]) giveUpLocked(wishes ...*fetch.Want[K, V]) {
	err := context.Canceled
	if l.Life.IsOverLocked() {
		err = source.ErrClosed
	}
	for _, w := range wishes {
		f := l.busy[w.Key]
		f.Err = err
		delete(l.busy, w.Key)
		l.counts[Canceled]++
		close(f.Done)
	}
}

// AnswerLocked ends the flight of a wish. Who was told that the call is stuck has left: the value
// is kept nevertheless.
func (l *Loader[K, V]) AnswerLocked(w *fetch.Want[K, V], v V, err error) {
	f := l.busy[w.Key]
	delete(l.busy, w.Key)
	f.call.dropLocked(f)
	f.left = true // nothing is left to be given up
	if f.overrun {
		return
	}
	l.counts[countOf(&w.Result)]++
	f.Value, f.Err = v, err
	close(f.Done)
}

// IsForgottenLocked reports whether the key of a wish was deleted since the load began.
func (l *Loader[K, V]) IsForgottenLocked(w *fetch.Want[K, V]) bool { return l.busy[w.Key].forgotten }

// Forgotten are the keys that were deleted while a call was under way, and from the second level
// too early.
func (l *Loader[K, V]) Forgotten(call *Call[K, V]) []K {
	var keys []K
	l.Life.Lock()
	defer l.Life.Unlock()
	for _, w := range call.wishes {
		if f := l.busy[w.Key]; f.forgotten && !f.disowned {
			keys = append(keys, w.Key)
		}
	}
	return keys
}

// Wishes are the keys of a call that have not been answered.
func (l *Loader[K, V]) Wishes(call *Call[K, V]) []*fetch.Want[K, V] {
	l.Life.Lock()
	defer l.Life.Unlock()
	return slices.Clone(call.wishes)
}

// Finish ends a call: all of it has been answered, or split off.
func (c *Call[K, V]) Finish() { c.cancel() }

// addLocked makes a flight one of a call.
func (c *Call[K, V]) addLocked(f *Flight[K, V]) {
	f.call = c
	c.wishes = append(c.wishes, f.want)
	if !f.left {
		c.wanted++
	}
}

// dropLocked takes a flight out of a call, which is not ended for want of others.
func (c *Call[K, V]) dropLocked(f *Flight[K, V]) {
	i := slices.Index(c.wishes, f.want)
	c.wishes = slices.Delete(c.wishes, i, i+1)
	if !f.left {
		c.wanted--
	}
}

// StuckLocked is how many calls have overrun and not returned.
func (l *Loader[K, V]) StuckLocked() int { return l.stuck }

// OverrunsLocked is how many calls have ever overrun.
func (l *Loader[K, V]) OverrunsLocked() uint64 { return l.overruns }

// CountsLocked returns a snapshot.
func (l *Loader[K, V]) CountsLocked() Counts { return l.counts }

// Counts are how many keys were loaded, by what became of them.
type Counts [ends]uint64

// What becomes of the load of one key.
const (
	OK = iota
	Adopted
	Shielded
	NotFound
	Failed
	Refused
	Canceled
	ends
)

// Names are those of the ends of loads, as metrics have them.
func Names() [ends]string {
	return [ends]string{"ok", "adopted", "shielded", "not_found", "failed", "refused", "canceled"}
}

func countOf[V any](r *fetch.Result[V]) int {
	switch {
	case r.Shielded:
		return Shielded
	case r.Outcome == fetch.Adopted:
		return Adopted
	case r.Outcome == fetch.Missing:
		return NotFound
	case r.Outcome != fetch.Failed:
		return OK
	case errors.Is(r.Err, source.ErrUnavailable):
		return Refused
	case errors.Is(r.Err, context.Canceled):
		return Canceled
	}
	return Failed
}
