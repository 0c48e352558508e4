package level

import (
	"context"
	"errors"
	"math"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Blindness tells that the second level could not be asked, at least for some keys.
type Blindness bool

// Lookup returns what the second level has of keys, in their order, and which of them have been
// deleted lately.
func (s *Level[K, V]) Lookup(ctx context.Context, keys []K) (found []Stored[K, V], deleted tombstone.Tombs, blind Blindness) {
	s.atone(ctx)
	l := s.look(ctx, keys, s.spoiled)
	there := present(l.found)
	s.hits.Add(there)
	s.missed.Add(l.asked - there - l.ahead)
	return l.found, l.deleted, l.blind
}

// LookAgain is Lookup for keys that were not there a moment ago. Missing values, and those that
// cannot be read, do not count again.
func (s *Level[K, V]) LookAgain(ctx context.Context, keys []K) []Stored[K, V] {
	if len(keys) == 0 {
		return nil
	}
	l := s.look(ctx, keys, func(K, error) {})
	s.hits.Add(present(l.found))
	return l.found
}

func present[K comparable, V any](found []Stored[K, V]) (n uint64) {
	for i := range found {
		if found[i].Value != nil {
			n++
		}
	}
	return n
}

// looked is the result of a look into the second level.
type looked[K comparable, V any] struct {
	found   []Stored[K, V] // in the order of the keys
	doubted []bool         // those of them that are there, and not to be read or relied on
	asked   uint64         // how many of them have a name
	ahead   uint64         // how many values are dated in the future
	deleted tombstone.Tombs
	blind   Blindness
	at      tombstone.Moment
}

// look asks the second level for keys, but for those that have no name. Spoiled is told of values
// that cannot be used.
func (s *Level[K, V]) look(ctx context.Context, keys []K, spoiled func(K, error)) looked[K, V] {
	l := looked[K, V]{found: make([]Stored[K, V], len(keys)), doubted: make([]bool, len(keys))}
	names, index := make([]string, 0, 2*len(keys)), make([]int, 0, len(keys))
	for i, key := range keys {
		if name, ok := s.nameOf(key); ok {
			names, index = append(names, name), append(index, i)
		}
	}
	owed := make([]bool, len(index)) // a change is being told: the look may see the value of before
	for n, name := range names[:len(index)] {
		owed[n] = s.debts.Covers(name, math.MaxInt64)
		names = append(names, name+tombstone.End)
	}
	values, err := s.get(ctx, names)
	l.blind = Blindness(s.report(ctx, err))
	s.meet(values)
	l.at = s.clock.Read()
	for n, i := range index {
		data, ok := values[names[n]]
		if !ok {
			continue
		}
		v, err := s.open(keys[i], data, l.at)
		switch {
		case err != nil:
			spoiled(keys[i], err)
			l.doubted[i] = true
			if errors.Is(err, errAhead) {
				l.ahead++
			}
		case v.End != 0 && v.End <= s.now(): // nobody may serve it
		case owed[n] || s.debts.Covers(names[n], v.LoadedAt):
		case s.distrust.covers(v.Key, *v.Value, v.LoadedAt-int64(s.clock.Skew)):
			l.doubted[i] = true
		default:
			l.found[i] = v
		}
	}
	l.asked, l.deleted = uint64(len(index)), tombstone.Find(values)
	return l
}

// spoiled counts a value that is there and cannot be used: a miss, until the source's takes its
// place.
func (s *Level[K, V]) spoiled(key K, err error) {
	what, count := "autorefresh: value of the second level cannot be decoded", &s.undecodable
	if errors.Is(err, errAhead) {
		what, count = "autorefresh: value of the second level is not used", &s.ahead
	}
	count.Add(1)
	if s.unread.May(s.now()) {
		s.logger.Warn(what, "key", safe.Quote(key), observe.Cause(err))
	}
}
