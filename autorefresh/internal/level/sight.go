package level

import (
	"context"
	"strings"

	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
)

// allName stands for all keys: no key has it, as the ends of tombstones' names are in none.
const allName = tombstone.End

// Sight is the second level's state of a key that may have changed.
type Sight[K comparable, V any] struct {
	Stored[K, V]

	Stone   tombstone.Stone
	Marked  bool // there is a tombstone
	Doubted bool // there is a value that cannot be read, or is invalidated, or may be
}

// Examine returns what the second level has of keys, in their order. It does not count as a use of
// them.
func (s *Level[K, V]) Examine(ctx context.Context, keys []K) (sights []Sight[K, V], blind Blindness) {
	s.atone(ctx)
	l := s.look(ctx, keys, func(K, error) {})
	sights = make([]Sight[K, V], len(keys))
	for i, key := range keys {
		sights[i].Stored, sights[i].Doubted = l.found[i], l.doubted[i]
		if name, ok := s.nameOf(key); ok && l.deleted[name] != "" {
			sights[i].Stone, sights[i].Marked = tombstone.Read(l.deleted[name], l.at, s.self)
		}
	}
	return sights, l.blind
}

// ExamineAll returns the tombstone of all keys.
func (s *byName) ExamineAll(ctx context.Context) (stone tombstone.Stone, marked bool, blind Blindness) {
	values, err := s.get(ctx, []string{allName + tombstone.End})
	blind = Blindness(s.report(ctx, err))
	if text := tombstone.Find(values)[allName]; text != "" {
		stone, marked = tombstone.Read(text, s.clock.Read(), s.self)
	}
	return stone, marked, blind
}

// BuryAll has other processes take all values for not to be relied on; s may be nil.
func (s *Level[K, V]) BuryAll(ctx context.Context) error {
	if s == nil || s.announcer == nil {
		return nil
	}
	return s.bury(ctx, s.marks(tombstone.Invalidated, allName), justNow)
}

// Named is the meaning of a name of the second level.
type Named[K comparable] struct {
	Key   K
	All   bool // all keys
	Stone bool // not the value, but the tombstone
}

// Identify tells what a name stands for that another process may have made; false if this process
// has not met it.
func (s *Level[K, V]) Identify(name string) (n Named[K], ok bool) {
	name, n.Stone = strings.CutSuffix(name, tombstone.End)
	if name == allName {
		n.All = true
		return n, true
	}
	n.Key, ok = s.index.keyOf(name)
	return n, ok
}

// Meet notes the name of a key that the cache has from now on; s may be nil.
func (s *Level[K, V]) Meet(key K) {
	if s != nil && s.index.isNeeded() {
		_, _ = s.nameOf(key)
	}
}
