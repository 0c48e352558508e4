package items

import (
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

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

// isFullForLocked reports whether there is no room for an entry. Negative entries give theirs to
// others.
func (s *Items[K, V]) isFullForLocked(e *timetable.Entry[K, V]) bool {
	n := s.Table.Census().Items
	if !e.Has(timetable.Absent) {
		n -= s.Table.Census().Absent
	}
	return s.Rejects && s.MaxItems > 0 && n >= s.MaxItems
}

// trim keeps the bound when an entry has come.
func (s *Items[K, V]) trim(e *timetable.Entry[K, V]) {
	if s.MaxItems == 0 {
		return
	}
	for over := s.isOver(); over; over = s.isOver() {
		if !s.Rejects {
			s.Storage.Trim()
			return
		}
		s.makeRoom(e) // several have come at once, and one negative entry has made room for all of them
	}
}

// isOver reports whether there are more entries than there may be.
func (s *Items[K, V]) isOver() bool {
	s.Life.Lock()
	defer s.Life.Unlock()
	return s.Table.Census().Items > s.MaxItems && (!s.Rejects || s.Table.Absent() != nil)
}

// makeRoom deletes an entry of those that are worth least if the cache is full: a negative one or,
// if it evicts, a terminal one. Which entry a negative one evicts is for the storage to say.
func (s *Items[K, V]) makeRoom(e *timetable.Entry[K, V]) {
	if s.MaxItems == 0 || !s.Rejects && e.Has(timetable.Absent) {
		return
	}
	s.Life.Lock()
	var victim *timetable.Entry[K, V]
	if s.Table.Census().Items >= s.MaxItems {
		victim = s.Table.Absent()
		if victim == nil && !s.Rejects {
			victim = s.Table.Final()
		}
	}
	s.Life.Unlock()
	if victim == nil {
		return
	}
	if !victim.Has(timetable.Absent) {
		victim.Set(timetable.Crowded)
	}
	s.Storage.Drop(victim)
}
