package level

import (
	"context"
	"crypto/rand"
	"math"
	"slices"

	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
)

// lateness says when changes are told: at once, or later, as the store could not be told.
type lateness bool

const (
	justNow lateness = false
	owed    lateness = true
)

// order is what is to be done in the store about a change.
type order struct {
	name  string
	stone string // is to be stored, unless it is empty
	seen  string // the tombstone that is there
	only  bool   // the new one is to be stored if that is still there
	erase bool   // the value is to be deleted
}

// bury tells the second level of changes: it leaves tombstones and deletes values. What is told
// late does not undo what others have done since.
func (s *Level[K, V]) bury(ctx context.Context, marks []mark, when lateness) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	names := namesOf(marks)
	stamp := s.owe(marks) // until it is done, whatever happens
	defer s.graves.end(names)
	done, err := s.carryOut(bounded, s.graves.priors(marks), when)
	var news []string
	for _, o := range done {
		s.graves.told([]string{o.name}, stamp)
		if o.stone != "" {
			news = append(news, o.name+tombEnd)
		}
	}
	s.report(ctx, err)
	s.announce(ctx, news)
	return err
}

// atone tells the second level of the changes that it could not be told.
func (s *Level[K, V]) atone(ctx context.Context) {
	if !s.graves.any() || !s.atones.May(s.now()) {
		return
	}
	for some := range slices.Chunk(s.graves.open(s.now()), atOnce) {
		if s.bury(ctx, some, owed) != nil {
			return
		}
	}
}

// carryOut does what is to be done about changes, and returns what has been done.
func (s *Level[K, V]) carryOut(ctx context.Context, marks []mark, when lateness) ([]order, error) {
	there, err := s.lookAround(ctx, marks, when)
	if err != nil {
		return nil, err
	}
	orders := s.orders(marks, there, when)
	if err = s.setStones(ctx, orders); err == nil && bool(when) {
		orders, err = s.confirmed(ctx, orders)
	}
	if err == nil {
		err = s.eraseOf(ctx, orders)
	}
	if err != nil {
		return nil, err
	}
	return orders, nil
}

// lookAround returns what the second level has of changes that must not be told blindly: those that
// are told late, and if others hear of them, all, as their dates say what came first. What is
// invalidated in large numbers is not read for that.
func (s *Level[K, V]) lookAround(ctx context.Context, marks []mark, when lateness) (map[string][]byte, error) {
	var names []string
	for _, m := range marks {
		if bool(when) || s.announcer != nil {
			names = append(names, m.name+tombEnd)
		}
		if bool(when) || s.announcer != nil && m.kind != Invalidated {
			names = append(names, m.name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	values, err := s.get(ctx, names)
	s.meet(values)
	return values, err
}

// meet takes note of the dates of what was found.
func (s *Level[K, V]) meet(values map[string][]byte) {
	if !s.clock.follows {
		return
	}
	for _, data := range values {
		if e, ok := envelope.Open(data); ok {
			s.clock.meet(e.LoadedAt.UnixNano())
			continue
		}
		for _, date := range datesOf(string(data)) {
			s.clock.meet(date)
		}
	}
}

// orders are what is to be done about changes, by what was found.
func (s *Level[K, V]) orders(marks []mark, there map[string][]byte, when lateness) []order {
	now, stones := s.clock.read(), newTombs(there)
	orders := make([]order, len(marks))
	for i, m := range marks {
		o := order{name: m.name, seen: stones[m.name], erase: true}
		old, _ := s.readStone(o.seen, now)
		valueAt := now.gotAt(there[m.name])
		switch {
		case m.kind == Invalidated && s.announcer != nil:
			o.only = s.marker != nil // another that has come since says as much
			o.erase = !bool(when) || valueAt <= m.at+int64(s.clock.skew) || s.clock.isFar(valueAt, now)
			if s.isUnsure(m.prior, old.strong(), now) {
				m = undecided(m.name, now)
				break
			}
			m.prior = later(m.prior, old.strong())
		case bool(when):
			o.only = s.marker != nil
			m, o.erase = s.lateMark(m, old, valueAt, now)
		default:
			m.at = s.clock.after(now, valueAt, old.At)
		}
		if m.kind != Unknown {
			o.stone = newStone(m, now)
		}
		orders[i] = o
	}
	return orders
}

// gotAt is when a value was got, long ago if there is none.
func (m moment) gotAt(data []byte) int64 {
	e, ok := envelope.Open(data)
	if !ok {
		return math.MinInt64
	}
	return m.timeOf(e.LoadedAt.UnixNano())
}

// lateMark is what is told late of a change, of kind Unknown if nothing is, and whether the value
// is to be deleted. It gives way to what another process has done since. If the clocks cannot tell
// what came first, neither counts and the source is asked: by all, so that it is nobody's own.
func (s *Level[K, V]) lateMark(m mark, old Stone, valueAt int64, now moment) (told mark, erase bool) {
	own, other := &Stone{Kind: m.kind, At: m.at, by: m.by}, old.strong()
	switch {
	case s.isUnsure(own, other, now), s.clock.isFar(old.At, now), valueAt > m.at && valueAt <= m.at+int64(s.clock.skew):
		return undecided(m.name, now), true
	case other != nil && other.At >= m.at:
		return mark{}, false
	case old.Kind == Invalidated && old.At > m.at: // it stays, and does not hide this one
		m.kind, m.at, m.by, m.prior = Invalidated, old.At, old.by, own
	}
	return m, valueAt <= own.At || s.clock.isFar(valueAt, now)
}

// isUnsure reports whether the clocks cannot tell which of two changes came first, one of this
// process and one that was found; either may be nil.
func (s *Level[K, V]) isUnsure(own, other *Stone, now moment) bool {
	if other == nil || own != nil && own.by == other.by {
		return false
	}
	return s.clock.isFar(other.At, now) || own != nil && max(own.At-other.At, other.At-own.At) <= int64(s.clock.skew)
}

// undecided is what is told if nobody knows which of two changes came first.
func undecided(name string, now moment) mark {
	return mark{name: name, kind: Lost, at: now.now, by: rand.Text()[:selfSize]}
}

// setStones leaves tombstones.
func (s *Level[K, V]) setStones(ctx context.Context, orders []order) error {
	plain, marked := make(map[string][]byte), make(map[string]Marked)
	for _, o := range orders {
		stone := o.name + tombEnd
		switch {
		case o.stone == "":
		case o.only:
			marked[stone] = Marked{Value: []byte(o.stone), Mark: stone, Seen: []byte(o.seen)}
		default:
			plain[stone] = []byte(o.stone)
		}
	}
	var err error
	if len(plain) > 0 {
		err = safe.Do("Store.SetMulti", func() error { return s.store.SetMulti(ctx, plain, s.stay()) })
	}
	if len(marked) > 0 && err == nil {
		err = safe.Do("Store.SetUnlessMarked", func() error { return s.marker.SetUnlessMarked(ctx, marked, s.stay()) })
	}
	return err
}

// confirmed are the orders whose tombstones are there: another process may have left one meanwhile,
// at which this one has to look first.
func (s *Level[K, V]) confirmed(ctx context.Context, orders []order) (done []order, err error) {
	var open []string
	for _, o := range orders {
		if o.only && o.stone != "" {
			open = append(open, o.name)
		}
	}
	var there Tombs
	if len(open) > 0 {
		values, err := s.get(ctx, stonesOf(open))
		if err != nil {
			return nil, err
		}
		there = newTombs(values)
	}
	for _, o := range orders {
		if !o.only || o.stone == "" || there[o.name] == o.stone {
			done = append(done, o)
		}
	}
	return done, nil
}

// eraseOf deletes values.
func (s *Level[K, V]) eraseOf(ctx context.Context, orders []order) error {
	var names []string
	for _, o := range orders {
		if o.erase {
			names = append(names, o.name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return safe.Do("Store.Delete", func() error { return s.store.Delete(ctx, names...) })
}
