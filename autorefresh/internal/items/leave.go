package items

import (
	"github.com/holdfast-go/holdfast/autorefresh/internal/refresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/storage"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Counts are how many items have left, by cause.
type Counts struct{ Evicted, Idle uint64 }

// CountsLocked returns a snapshot. It is called under the cache's lock.
func (s *Items[K, V]) CountsLocked() Counts { return s.counts }

// Delete deletes an item from memory and reports whether there was one. A load of it under way does
// not bring it back.
func (s *Items[K, V]) Delete(key K) bool {
	s.Life.Lock()
	s.Loads.ForgetLocked(key)
	s.Life.Unlock()
	e, ok := s.Storage.Delete(key)
	return ok && !e.Has(timetable.Absent)
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
