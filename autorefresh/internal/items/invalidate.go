package items

import (
	"slices"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// chunk is for how many items at most the lock is held at one go.
const chunk = 256

// Invalidate has the values for which old returns true refreshed within a period, all if it is nil,
// and returns their keys. Negative entries of that kind leave.
func (s *Items[K, V]) Invalidate(old func(K, V) bool) (keys []K) {
	return s.invalidate(func(e *timetable.Entry[K, V]) bool { return old == nil || old(e.Key, *e.Value.Load()) })
}

// InvalidateBefore is Invalidate of values from before a time.
func (s *Items[K, V]) InvalidateBefore(at int64) {
	s.invalidate(func(e *timetable.Entry[K, V]) bool { return e.LoadedAt() < at })
}

func (s *Items[K, V]) invalidate(old func(*timetable.Entry[K, V]) bool) (keys []K) {
	var entries, negative []*timetable.Entry[K, V]
	for e := range s.Storage.All() {
		switch {
		case !old(e):
		case e.Has(timetable.Absent):
			negative = append(negative, e)
		default:
			entries = append(entries, e)
		}
	}
	for some := range slices.Chunk(entries, chunk) {
		keys = append(keys, s.invalidateSome(some)...)
	}
	for _, e := range negative {
		s.Storage.Drop(e)
	}
	return keys
}

// invalidateSome returns the keys of entries that were still there.
func (s *Items[K, V]) invalidateSome(entries []*timetable.Entry[K, V]) (keys []K) {
	s.Life.Lock()
	defer s.Life.Unlock()
	now := s.Life.Now()
	for _, e := range entries {
		if !e.IsDead() && s.Table.Invalidate(e, now) {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// Doubt has an entry refreshed within a period.
func (s *Items[K, V]) Doubt(e *timetable.Entry[K, V]) {
	s.Life.Lock()
	defer s.Life.Unlock()
	s.doubtLocked(e)
}

// DoubtNow has an entry refreshed now, or when it is read if it rests.
func (s *Items[K, V]) DoubtNow(e *timetable.Entry[K, V]) {
	s.Life.Lock()
	defer s.Life.Unlock()
	if s.doubtLocked(e) && !e.Has(timetable.Cold) {
		s.Table.Hurry(e, s.Life.Now())
		s.Life.Room.Signal()
	}
}

// doubtLocked reports whether the entry is still to be refreshed.
func (s *Items[K, V]) doubtLocked(e *timetable.Entry[K, V]) bool {
	if s.Life.IsOverLocked() || e.IsDead() {
		return false
	}
	s.Table.Invalidate(e, s.Life.Now())
	return true
}
