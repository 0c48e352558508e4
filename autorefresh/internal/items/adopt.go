package items

import (
	"cmp"
	"math"

	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/refresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Adopt gives an entry a value that another process has stored; the result of a call for it that is
// under way is not wanted any more. It is false if that has to be judged again: the entry is not
// the same as was judged, or a call for it has to end before a final value.
func (s *Items[K, V]) Adopt(e *timetable.Entry[K, V], v level.Stored[K, V], luck float64, isSame func() bool) bool {
	switch {
	case e.Has(timetable.Terminal):
		s.succeed(e, v, isSame)
	case v.Terminal && !s.conclude(e, v, isSame), !v.Terminal && !s.adopt(e, v, luck, isSame):
		return false
	}
	s.Storage.Reweigh(e)
	return true
}

// adopt is Adopt of a value that is not final, for an entry that is not.
func (s *Items[K, V]) adopt(e *timetable.Entry[K, V], v level.Stored[K, V], luck float64, isSame func() bool) bool {
	s.Life.Lock()
	defer s.Life.Unlock()
	switch {
	case s.Life.IsOverLocked() || e.IsDead() || e.Has(timetable.Terminal|timetable.Leaving):
		return true
	case !isSame():
		return false
	}
	now := s.Life.Now()
	s.Table.Overtake(e, timetable.Value[V]{Value: v.Value, LoadedAt: min(v.LoadedAt, now), End: v.End, Luck: luck}, now)
	s.Waiters.NoteLocked(e, refresh.Note{Started: math.MinInt64}) // it says nothing of the source
	s.Tell.Event(tell.Event[K]{Kind: tell.Updated, Key: e.Key})
	return true
}

// conclude is Adopt of a final value, for an entry that is not final.
func (s *Items[K, V]) conclude(e *timetable.Entry[K, V], v level.Stored[K, V], isSame func() bool) bool {
	s.Life.Lock()
	defer s.Life.Unlock()
	switch {
	case s.Life.IsOverLocked() || e.IsDead():
		return true
	case !isSame():
		return false
	}
	now := s.Life.Now()
	if !s.Table.Conclude(e, timetable.Value[V]{Value: v.Value, LoadedAt: min(v.LoadedAt, now), End: v.End}, s.TerminalTTL, now) {
		return false
	}
	s.Waiters.NoteLocked(e, refresh.Note{Started: math.MinInt64})
	s.Tell.Event(tell.Event[K]{Kind: tell.Final, Key: e.Key})
	return true
}

// succeed is Adopt for a final entry: another one takes its place.
func (s *Items[K, V]) succeed(old *timetable.Entry[K, V], v level.Stored[K, V], isSame func() bool) {
	e := s.Table.NewEntry(old.Key, v.Value, v.LoadedAt)
	if v.Terminal {
		e.Set(timetable.Terminal)
	}
	_, _ = s.supplant(e, old, func() int64 {
		now := s.Life.Now()
		s.Table.SetEnd(e, v.End)
		if !v.Terminal {
			return s.Table.FirstDueAdopted(e, now)
		}
		return min(timetable.Expiry(now, s.TerminalTTL), cmp.Or(v.End, timetable.Never))
	}, func() bool { return old.IsDead() || !isSame() })
}
