// Package items has what is in a cache: which entries there are, in the storage and in the
// timetable alike, within the bounds, and what changes them from outside of their refreshes. All
// methods are called without the cache's lock.
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

// New makes items of which there are none.
func New[K comparable, V any](o Options[K, V]) (*Items[K, V], error) {
	s := &Items[K, V]{Options: o}
	var most storage.Bound[K, V]
	if !o.Rejects {
		most = storage.Bound[K, V]{Items: o.MaxItems, Weight: o.MaxWeight, Weigh: o.Weigh}
	}
	var err error
	s.Storage, err = storage.New(most, s.removed, o.Life.Chore)
	return s, err
}

// Insert stores an entry, due when the function says, which is called under the lock; unless the
// key has one already, or veto, called under the lock, says no. It returns the key's entry, nil
// after a veto.
func (s *Items[K, V]) Insert(e *timetable.Entry[K, V], due func() int64, veto func() bool) (*timetable.Entry[K, V], error) {
	return s.supplant(e, nil, due, veto)
}

// supplant is Insert, but for an entry that it may take the place of.
func (s *Items[K, V]) supplant(e, old *timetable.Entry[K, V], due func() int64, veto func() bool) (*timetable.Entry[K, V], error) {
	s.makeRoom(e)
	group := s.groupOf(e.Key)
	var err error
	there := s.Storage.Put(e, func(there *timetable.Entry[K, V]) bool {
		s.Life.Lock()
		defer s.Life.Unlock()
		switch {
		case s.Life.IsClosed():
			err = source.ErrClosed
		case veto != nil && veto():
		case there != nil && there != old && (!there.Has(timetable.Absent) || e.Has(timetable.Absent)):
		case there == nil && s.isFullForLocked(e):
			err = ErrFull
		default:
			s.Table.Join(e, group)
			s.Table.Enter(e, due(), s.Life.Now())
			return true
		}
		return false
	})
	if there == e {
		s.Level.Meet(e.Key)
	}
	s.trim(e)
	return there, err
}

// IsPast reports whether the value of an entry has ended.
func (s *Items[K, V]) IsPast(e *timetable.Entry[K, V]) bool {
	return e.Has(timetable.Bounded) && s.Table.IsOver(e, s.Life.Now())
}
