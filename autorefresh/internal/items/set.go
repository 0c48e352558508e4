package items

import (
	"math"

	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/refresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Create stores a value that the user has, unless the key has one, and returns its entry.
func (s *Items[K, V]) Create(key K, v *V) (there *timetable.Entry[K, V], created bool, err error) {
	now := s.Life.Now()
	e := s.Table.NewEntry(key, v, now)
	e.Set(timetable.Unproven)
	there, err = s.Insert(e, func() int64 { return s.Table.FirstDue(e, now) }, nil)
	return there, there == e, err
}

// Update gives a key the value that change makes of the present one, as often as that changes
// meanwhile. It returns the value that is there afterwards; stored is false if change did not want
// one stored.
func (s *Items[K, V]) Update(key K, change func(old V, known bool) (v V, store bool)) (value V, stored bool, err error) {
	for {
		var old V
		e, known := s.Storage.Peek(key)
		known = known && !e.Has(timetable.Absent)
		var was *V
		if known {
			was = e.Value.Load()
			old = *was
		}
		v, store := change(old, known)
		if !store {
			return old, false, nil
		}
		now := s.Life.Now()
		var done bool
		switch {
		case known && e.Has(timetable.Leaving):
			s.Storage.Drop(e) // the present entry is to stay
		case known && !e.Has(timetable.Terminal):
			done, err = s.overtake(e, was, &v, now)
		default:
			done, err = s.create(key, e, &v, now)
		}
		switch {
		case err != nil:
			return old, false, err
		case done && known:
			s.Storage.Reweigh(e)
			return v, true, nil
		case done:
			return v, true, nil
		}
	}
}

// overtake gives an entry a value, unless it has another one than it was.
func (s *Items[K, V]) overtake(e *timetable.Entry[K, V], was, v *V, now int64) (done bool, err error) {
	s.Life.Lock()
	defer s.Life.Unlock()
	switch {
	case s.Life.IsClosed():
		return false, source.ErrClosed
	case e.IsDead() || e.Has(timetable.Terminal|timetable.Leaving) || e.Value.Load() != was:
		return false, nil
	}
	s.Table.Overtake(e, timetable.Value[V]{Value: v, LoadedAt: now}, now)
	s.Loads.OvertakeLocked(e.Key, *v)
	s.Waiters.NoteLocked(e, refresh.Note{Started: math.MinInt64}) // it says nothing of the source
	s.Tell.Event(tell.Event[K]{Kind: tell.Updated, Key: e.Key})
	return true, nil
}

// create makes an entry with a value, in place of one that is negative or final, or of none.
func (s *Items[K, V]) create(key K, old *timetable.Entry[K, V], v *V, now int64) (done bool, err error) {
	e := s.Table.NewEntry(key, v, now)
	e.Set(timetable.Unproven)
	there, err := s.supplant(e, old, func() int64 {
		s.Loads.OvertakeLocked(key, *v)
		return s.Table.FirstDueLoaded(e, now)
	}, nil)
	return there == e, err
}

// Latest is the value of a key in memory, without one if there is none.
func (s *Items[K, V]) Latest(key K) level.Stored[K, V] {
	s.Life.Lock()
	defer s.Life.Unlock()
	e, ok := s.Storage.Peek(key)
	if !ok || e.Has(timetable.Absent) {
		return level.Stored[K, V]{Key: key}
	}
	end, _ := s.Table.End(e)
	return level.Stored[K, V]{Key: key, Value: e.Value.Load(), LoadedAt: e.LoadedAt(), Terminal: e.Has(timetable.Terminal), End: end}
}

// Delete deletes an item from memory and reports whether there was one. A load of it under way does
// not bring it back.
func (s *Items[K, V]) Delete(key K) bool {
	s.forget(key)
	e, ok := s.Storage.Delete(key)
	return ok && !e.Has(timetable.Absent)
}

// forget keeps the result of a load under way out of the cache. It panics for a key that cannot be
// hashed, as maps do.
func (s *Items[K, V]) forget(key K) {
	s.Life.Lock()
	defer s.Life.Unlock()
	s.Loads.ForgetLocked(key)
}
