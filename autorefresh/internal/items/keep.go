package items

import (
	"cmp"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Keep stores the result of a load, unless it is unwanted, which is asked under the lock, and
// returns the value for its waiters.
func (s *Items[K, V]) Keep(w *fetch.Want[K, V], unwanted func() bool) (v V) {
	now, r := s.Life.Now(), &w.Result
	switch {
	case r.Outcome == fetch.Missing:
		if s.NegativeTTL > 0 {
			e := s.Table.NewEntry(w.Key, new(V), now)
			e.Set(timetable.Absent)
			_, _ = s.Insert(e, func() int64 { return timetable.Expiry(now, s.NegativeTTL) }, unwanted)
		}
		return v
	case r.Value == nil:
		return v
	case r.Outcome == fetch.Failed:
		return *r.Value
	}
	e := s.Table.NewEntry(w.Key, r.Value, r.LoadedAt)
	due := func() int64 {
		s.Table.SetEnd(e, r.End)
		switch {
		case r.Final:
			return min(timetable.Expiry(now, s.TerminalTTL), cmp.Or(r.End, timetable.Never))
		case r.Outcome == fetch.Adopted:
			return s.Table.FirstDueAdopted(e, now)
		default:
			return s.Table.FirstDueLoaded(e, now)
		}
	}
	if r.Final {
		e.Set(timetable.Terminal)
	}
	there, err := s.Insert(e, due, unwanted)
	if err == nil && there != nil && !there.Has(timetable.Absent) {
		return *there.Value.Load()
	}
	return *r.Value
}
