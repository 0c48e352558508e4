package level

import (
	"context"
	"crypto/rand"
	"math"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
)

// atOnce is how many deletions are told at once.
const atOnce = 1024

// lateness says when changes are told: at once, or later, as the store could not be told.
type lateness bool

const (
	justNow lateness = false
	owed    lateness = true
)

// order is the work in the store that a change makes.
type order struct {
	name  string
	stone string // is to be stored, unless it is empty
	seen  string // the tombstone that is there
	only  bool   // the new one is to be stored if that is still there
	erase bool   // the value is to be deleted
}

// bury tells the second level of changes: it leaves tombstones and deletes values. A change told
// late does not undo later ones of others.
func (s *byName) bury(ctx context.Context, marks []tombstone.Mark, when lateness) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	names := tombstone.KeysOf(marks)
	stamp := s.owe(marks) // until it is done, whatever happens
	defer s.debts.End(names)
	done, err := s.carryOut(bounded, s.debts.Priors(marks), when)
	var news []string
	for _, o := range done {
		s.debts.Told([]string{o.name}, stamp)
		if o.stone != "" {
			news = append(news, o.name+tombstone.End)
		}
	}
	s.report(ctx, err)
	s.announce(ctx, news)
	return err
}

// atone tells the second level of the changes that it could not be told.
func (s *byName) atone(ctx context.Context) {
	if !s.debts.Any() || !s.atones.May(s.now()) {
		return
	}
	for some := range slices.Chunk(s.debts.Open(s.now()), atOnce) {
		if s.bury(ctx, some, owed) != nil {
			return
		}
	}
}

// carryOut does the work that changes make, and returns the orders that were carried out.
func (s *byName) carryOut(ctx context.Context, marks []tombstone.Mark, when lateness) ([]order, error) {
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
// are told late, and if others hear of them, all, as their dates say what came first. For large
// numbers of invalidated keys nothing is read.
func (s *byName) lookAround(ctx context.Context, marks []tombstone.Mark, when lateness) (map[string][]byte, error) {
	var names []string
	for _, m := range marks {
		if bool(when) || s.announcer != nil {
			names = append(names, m.Name+tombstone.End)
		}
		if bool(when) || s.announcer != nil && m.Kind != tombstone.Invalidated {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	values, err := s.get(ctx, names)
	s.meet(values)
	return values, err
}

// orders are the work that changes make, given the present state of the store.
func (s *byName) orders(marks []tombstone.Mark, there map[string][]byte, when lateness) []order {
	now, stones := s.clock.Read(), tombstone.Find(there)
	orders := make([]order, len(marks))
	for i, m := range marks {
		o := order{name: m.Name, seen: stones[m.Name], erase: true}
		old, _ := tombstone.Read(o.seen, now, s.self)
		valueAt := gotAt(now, there[m.Name])
		switch {
		case m.Kind == tombstone.Invalidated && s.announcer != nil:
			o.only = s.marker != nil // another that has come since says as much
			o.erase = !bool(when) || valueAt <= m.At+int64(s.clock.Skew) || s.clock.IsFar(valueAt, now)
			if s.isUnsure(m.Prior, old.Strong(), now) {
				m = undecided(m.Name, now)
				break
			}
			m.Prior = tombstone.Later(m.Prior, old.Strong())
		case bool(when):
			o.only = s.marker != nil
			m, o.erase = s.lateMark(m, old, valueAt, now)
		default:
			m.At = s.clock.After(now, valueAt, old.At)
		}
		if m.Kind != tombstone.Unknown {
			o.stone = tombstone.Write(m, now)
		}
		orders[i] = o
	}
	return orders
}

// gotAt is when a value was got, long ago if there is none.
func gotAt(m tombstone.Moment, data []byte) int64 {
	e, ok := envelope.Open(data)
	if !ok {
		return math.MinInt64
	}
	return m.TimeOf(e.LoadedAt.UnixNano())
}

// lateMark returns the late notice of a change, of kind Unknown if there is none, and whether the
// value is to be deleted. It gives way to what another process has done since. If the clocks cannot
// tell what came first, neither counts and the source is asked: by all, so that it is nobody's own.
func (s *byName) lateMark(m tombstone.Mark, old tombstone.Stone, valueAt int64, now tombstone.Moment) (told tombstone.Mark, erase bool) {
	own, other := &tombstone.Stone{Kind: m.Kind, At: m.At, By: m.By}, old.Strong()
	switch {
	case s.isUnsure(own, other, now), s.clock.IsFar(old.At, now), valueAt > m.At && valueAt <= m.At+int64(s.clock.Skew):
		return undecided(m.Name, now), true
	case other != nil && other.At >= m.At:
		return tombstone.Mark{}, false
	case old.Kind == tombstone.Invalidated && old.At > m.At: // it stays, and does not hide this one
		m.Kind, m.At, m.By, m.Prior = tombstone.Invalidated, old.At, old.By, own
	}
	return m, valueAt <= own.At || s.clock.IsFar(valueAt, now)
}

// isUnsure reports whether the clocks cannot tell which of two changes came first, one of this
// process and one that was found; either may be nil.
func (s *byName) isUnsure(own, other *tombstone.Stone, now tombstone.Moment) bool {
	if other == nil || own != nil && own.By == other.By {
		return false
	}
	return s.clock.IsFar(other.At, now) || own != nil && max(own.At-other.At, other.At-own.At) <= int64(s.clock.Skew)
}

// undecided is the mark of two changes whose order nobody knows.
func undecided(name string, now tombstone.Moment) tombstone.Mark {
	return tombstone.Mark{Name: name, Kind: tombstone.Lost, At: now.Now, By: rand.Text()[:tombstone.SelfSize]}
}

// setStones leaves tombstones.
func (s *byName) setStones(ctx context.Context, orders []order) error {
	plain, marked := make(map[string][]byte), make(map[string]Marked)
	for _, o := range orders {
		stone := o.name + tombstone.End
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
func (s *byName) confirmed(ctx context.Context, orders []order) (done []order, err error) {
	var unsure []string
	for _, o := range orders {
		if o.only && o.stone != "" {
			unsure = append(unsure, o.name)
		}
	}
	var there tombstone.Tombs
	if len(unsure) > 0 {
		values, err := s.get(ctx, tombstone.NamesOf(unsure))
		if err != nil {
			return nil, err
		}
		there = tombstone.Find(values)
	}
	for _, o := range orders {
		if !o.only || o.stone == "" || there[o.name] == o.stone {
			done = append(done, o)
		}
	}
	return done, nil
}

// eraseOf deletes values.
func (s *byName) eraseOf(ctx context.Context, orders []order) error {
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

// longStay is how long tombstones stay if others hear of changes: as long as one may hear nothing,
// and still be told afterwards.
const longStay = 5 * time.Minute

// stay is how long tombstones stay.
func (s *byName) stay() time.Duration {
	if s.announcer == nil {
		return s.fence
	}
	return max(s.fence, longStay)
}

// marks are those of changes of a kind, made now.
func (s *byName) marks(kind tombstone.Kind, names ...string) []tombstone.Mark {
	marks, now := make([]tombstone.Mark, len(names)), s.now()
	for i, name := range names {
		marks[i] = tombstone.Mark{Name: name, Kind: kind, At: now, By: s.self}
	}
	return marks
}

// owe notes the notices due for names that have old values in the second level, for as long as
// these may be there. The caller is about to say it, until s.debts.End.
func (s *byName) owe(marks []tombstone.Mark) (stamp uint64) {
	now := s.now()
	return s.debts.Add(marks, now, now+int64(s.ttl)+int64(s.fence))
}
