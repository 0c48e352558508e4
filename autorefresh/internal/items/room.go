package items

import "github.com/holdfast-go/holdfast/autorefresh/internal/timetable"

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
