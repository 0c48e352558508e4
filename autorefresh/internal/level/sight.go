package level

import (
	"context"
	"reflect"
	"strings"
	"sync"
)

// allName stands for all keys: no key has it, as the ends of tombstones' names are in none.
const allName = tombEnd

// Sight is what the second level has of a key, for those who were told that it has changed.
type Sight[K comparable, V any] struct {
	Stored[K, V]

	Stone  Stone
	Marked bool // there is a tombstone
}

// Examine returns what the second level has of keys, in their order. It does not count as a use of
// them.
func (s *Level[K, V]) Examine(ctx context.Context, keys []K) (sights []Sight[K, V], blind Blindness) {
	s.atone(ctx)
	l := s.look(ctx, keys, func(K, error) {})
	sights = make([]Sight[K, V], len(keys))
	for i, key := range keys {
		sights[i].Stored = l.found[i]
		if name, ok := s.name(key); ok && l.deleted[name] != "" {
			sights[i].Stone, sights[i].Marked = s.readStone(l.deleted[name], l.at)
		}
	}
	return sights, l.blind
}

// ExamineAll returns the tombstone of all keys.
func (s *Level[K, V]) ExamineAll(ctx context.Context) (stone Stone, marked bool, blind Blindness) {
	values, err := s.get(ctx, []string{allName + tombEnd})
	blind = Blindness(s.report(ctx, err))
	if text := newTombs(values)[allName]; text != "" {
		stone, marked = s.readStone(text, s.clock.read())
	}
	return stone, marked, blind
}

// BuryAll has other processes take all values for not to be relied on; s may be nil.
func (s *Level[K, V]) BuryAll(ctx context.Context) error {
	if s == nil || s.announcer == nil {
		return nil
	}
	return s.bury(ctx, s.marks(Invalidated, allName), justNow)
}

// Named is what a name of the second level stands for.
type Named[K comparable] struct {
	Key   K
	All   bool // all keys
	Stone bool // not the value, but the tombstone
}

// Identify tells what a name stands for that another process may have made; false if this process
// has not met it.
func (s *Level[K, V]) Identify(name string) (n Named[K], ok bool) {
	name, n.Stone = strings.CutSuffix(name, tombEnd)
	if name == allName {
		n.All = true
		return n, true
	}
	n.Key, ok = s.index.key(name)
	return n, ok
}

// Meet notes the name of a key that the cache has from now on; s may be nil.
func (s *Level[K, V]) Meet(key K) {
	if s != nil && s.index.isNeeded() {
		_, _ = s.name(key)
	}
}

// index finds keys by their names. It is safe for concurrent use.
type index[K comparable] struct {
	plain bool         // keys are their names
	keep  func(K) bool // tells whether a key is still of interest; nil if nobody asks

	mu    sync.Mutex
	keys  map[string]K // guarded by mu
	limit int          // then those are dropped that are of no interest; guarded by mu
}

// smallIndex is how many keys an index has before it looks which of them it needs.
const smallIndex = 1024

// newIndex makes an index; keep is nil if nobody will ask.
func newIndex[K comparable](named func(K) string, keep func(K) bool) index[K] {
	return index[K]{plain: named == nil && reflect.TypeFor[K]().Kind() == reflect.String, keep: keep, keys: make(map[string]K), limit: smallIndex}
}

// isNeeded reports whether names of keys are to be noted.
func (x *index[K]) isNeeded() bool { return x.keep != nil && !x.plain }

// add notes the name of a key.
func (x *index[K]) add(name string, key K) {
	if !x.isNeeded() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.keys[name]; !known && len(x.keys) >= x.limit {
		for name, key := range x.keys {
			if !x.keep(key) {
				delete(x.keys, name)
			}
		}
		x.limit = max(2*len(x.keys), smallIndex)
	}
	x.keys[name] = key
}

// key returns the key of a name, false if it is not known.
func (x *index[K]) key(name string) (key K, ok bool) {
	if x.plain {
		reflect.ValueOf(&key).Elem().SetString(name)
		return key, true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	key, ok = x.keys[name]
	return key, ok
}
