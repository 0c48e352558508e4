// Package items has the contents of a cache: which entries there are, in the storage and in the
// timetable alike, within the bounds, and what changes them from outside of their refreshes.
// Methods whose name ends in Locked are called under the cache's lock, all others without it.
package items

import (
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/life"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/refresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/storage"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// ErrFull says that there is no room for an entry.
var ErrFull = errors.New("autorefresh: cache is full")

// Options are what items need to know, and the parts of the cache that they work with.
type Options[K comparable, V any] struct {
	MaxItems                 int // 0 is no bound
	Rejects                  bool
	MaxWeight                uint64 // 0 is no bound
	Weigh                    func(K, V) uint32
	GroupBy                  func(K) string // nil if all are of one group
	TerminalTTL, NegativeTTL time.Duration

	Life    *life.Life
	Table   *timetable.Table[K, V]
	Waiters *refresh.Waiters[K, V]
	Loads   *loader.Loader[K, V]
	Level   *level.Level[K, V]
	Tell    *tell.Teller[K, V]
	CallFor func(*timetable.Entry[K, V]) *task.Task // returns the call by which an entry is refreshed; under the lock
}

// Items are the entries of a cache.
type Items[K comparable, V any] struct {
	Options[K, V]
	Storage storage.Storage[K, V]

	counts Counts // guarded by the cache's lock
}

// Counts are how many items have left, by cause.
type Counts struct{ Evicted, Idle uint64 }

// New makes items of which there are none.
func New[K comparable, V any](o Options[K, V]) (*Items[K, V], error) {
	s := &Items[K, V]{Options: o}
	var most storage.Bound[K, V]
	if !o.Rejects {
		most = storage.Bound[K, V]{Items: o.MaxItems, Weight: o.MaxWeight, Weigh: o.Weigh, Complain: o.Tell.Complain}
	}
	var err error
	s.Storage, err = storage.New(most, s.removed, o.Life.Chore)
	return s, err
}

// CountsLocked returns a snapshot. It is called under the cache's lock.
func (s *Items[K, V]) CountsLocked() Counts { return s.counts }

// IsPast reports whether the value of an entry has ended.
func (s *Items[K, V]) IsPast(e *timetable.Entry[K, V]) bool {
	return e.Has(timetable.Bounded) && s.Table.IsOver(e, s.Life.Now())
}

// removed takes an entry out of the timetable that leaves the storage, for good.
func (s *Items[K, V]) removed(e *timetable.Entry[K, V], how storage.Exit) {
	s.Life.Lock()
	defer s.Life.Unlock()
	s.Table.Leave(e)
	if e.IsFlying() {
		s.Loads.OrphanLocked(e.Key, s.CallFor(e))
	}
	s.Waiters.NoteLocked(e, refresh.Note{Err: source.ErrNotFound, Started: timetable.Never})
	cause := causeOf(e, how)
	switch cause {
	case tell.ByEviction:
		s.counts.Evicted++
		s.Tell.Event(tell.Event[K]{Kind: tell.Evicted, Key: e.Key})
	case tell.ByIdleness:
		s.counts.Idle++
	default:
	}
	if how != storage.Replaced && !e.Has(timetable.Absent) {
		s.Tell.Removal(tell.Removal[K, V]{Key: e.Key, Value: *e.Value.Load(), Cause: cause})
	}
}

// causeOf is why an entry leaves.
func causeOf[K comparable, V any](e *timetable.Entry[K, V], how storage.Exit) tell.Cause {
	switch flags := e.Flags.Load(); {
	case how == storage.Evicted, flags&timetable.Crowded != 0:
		return tell.ByEviction
	case flags&timetable.Idle != 0:
		return tell.ByIdleness
	case flags&timetable.Leaving != 0:
		return tell.ByGone
	case flags&timetable.Expired != 0:
		return tell.ByExpiry
	default:
		return tell.ByDelete
	}
}
