// Package loader has the calls for keys that are not in a cache: it gathers them, lets them take
// turns, knows their waiters, and makes them.
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

// Options are a loader's choices, and the parts of the cache that it works with.
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
// their turn, and their waiters. Calls take turns on places. A call whose refresh function
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

// Flight is the load of one key, for all of its waiters.
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
	forgotten bool // deleted meanwhile: the result is not for later callers
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

// gathering is the call that further keys join. Its fields are guarded by the lock.
type gathering[K comparable, V any] struct {
	open   map[string]*Call[K, V] // by group; they may have left the queue
	pacing int                    // calls that wait for the limiter
	cost   time.Duration          // how long a call takes, 0 if that is not known
}

// gatherFor is how long a load waits for further keys at most.
const gatherFor = 2 * time.Millisecond

// window is how long a load waits for further keys.
func (g *gathering[K, V]) window() time.Duration {
	if g.cost == 0 {
		return gatherFor
	}
	return min(g.cost/4, gatherFor)
}

// learn notes how long a call took.
func (g *gathering[K, V]) learn(took time.Duration) {
	if g.cost == 0 {
		g.cost = took
	}
	g.cost += (took - g.cost) / 4
}

// New makes a loader without calls.
func New[K comparable, V any](o Options[K, V]) *Loader[K, V] {
	return &Loader[K, V]{Options: o, busy: make(map[K]*Flight[K, V])}
}

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
