// Package level is the second level of a cache, which several processes share: its values, leases
// on keys, and deletions that are not undone.
package level

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// ErrRefused says that a store works and yet does not keep a value.
var ErrRefused = errors.New("autorefresh: refused by the second level")

// Store is the user's; package autorefresh says what it has to do. It may have the methods of the
// interfaces below as well.
type Store interface {
	GetMulti(ctx context.Context, keys []string) (map[string][]byte, error)
	SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error
	Delete(ctx context.Context, keys ...string) error
}

// Leaser hands out leases on keys.
type Leaser interface {
	Lease(ctx context.Context, keys []string, ttl time.Duration) (taken map[string]bool, err error)
	Release(ctx context.Context, keys ...string) error
}

// Reporter tells the state of a store's servers.
type Reporter interface {
	Servers() map[string]error
}

// Marker stores values unless their keys were marked as deleted.
type Marker interface {
	SetUnlessMarked(ctx context.Context, values map[string]Marked, ttl time.Duration) error
}

// Marked is a value that is stored if there is no key Mark, or this has the value Seen.
type Marked struct {
	Value []byte
	Mark  string
	Seen  []byte
}

// Codec turns values into bytes and back.
type Codec[V any] interface {
	Encode(v V) ([]byte, error)
	Decode(data []byte) (V, error)
}

// Options are what a level needs to know.
type Options[K comparable, V any] struct {
	Store     Store
	Marker    Marker         // nil if the store is none
	Codec     Codec[V]       // nil for the default
	KeyString func(K) string // nil for the default
	TTL       time.Duration  // of values
	Timeout   time.Duration  // of one call of the store
	CallTime  time.Duration  // what a call of the source may take
	Skew      time.Duration  // how far the clocks may be apart
	Announcer Announcer      // nil if changes are not told
	Has       func(K) bool   // tells whether the cache has a key; nil if changes are not told
	Logger    *slog.Logger
	Now       func() int64 // the cache's clock
}

// Level is the second level of a cache. The methods of a nil Level are those of a cache that has
// none. It is safe for concurrent use.
type Level[K comparable, V any] struct {
	store    Store
	leaser   Leaser // nil if the store is none
	marker   Marker // nil if the store is none
	health   *storeHealth
	codec    Codec[V]
	keyName  func(K) (string, error)
	ttl      time.Duration
	timeout  time.Duration
	clock    clock
	logger   *slog.Logger
	now      func() int64
	life     context.Context // of calls that nobody gives a context
	unread   safe.Seldom     // for the log
	unsealed safe.Seldom     // for the log
	unnamed  safe.Seldom     // for the log
	panics   safe.Seldom     // for the log

	mu   sync.Mutex
	held map[string]held // leases; guarded by mu

	owes     atomic.Bool // there are leases to be released once the store is back
	redeems  safe.Seldom
	fence    time.Duration // how long tombstones stay
	graves   graves
	turns    turns
	atones   safe.Seldom
	distrust distrust[K, V]

	announcer Announcer // nil if changes are not told
	self      string    // what tombstones of this process have in them
	index     index[K]

	hits, missed, stores, errors, undecodable, ahead atomic.Uint64
}

// New makes a level. It fails for types that the defaults are not safe for.
func New[K comparable, V any](o Options[K, V]) (*Level[K, V], error) {
	keyName, err := NewKeyName(o.KeyString)
	if err != nil {
		return nil, err
	}
	if o.Codec == nil {
		if o.Codec, err = DefaultCodec[V](); err != nil {
			return nil, err
		}
	}
	leaser, _ := o.Store.(Leaser)
	return &Level[K, V]{
		store: o.Store, leaser: leaser, marker: o.Marker, health: newStoreHealth(o.Store, o.Logger), codec: o.Codec, keyName: keyName,
		ttl: o.TTL, timeout: o.Timeout, clock: clock{now: o.Now, skew: o.Skew, follows: o.Announcer != nil}, logger: o.Logger, now: o.Now, held: make(map[string]held),
		life: context.Background(), fence: fenceFor(o.CallTime, o.Timeout),
		announcer: o.Announcer, self: newSelf(), index: newIndex(o.KeyString, o.Has),
	}, nil
}

// Stored is a value of the second level. Its value is nil if there is none.
type Stored[K comparable, V any] struct {
	Key      K
	Value    *V
	LoadedAt int64 // on the cache's clock
	Terminal bool
	End      int64 // when it ends, on the cache's clock; 0 if it does not
	Same     bool  // it is the value that was there before
	Ahead    int64 // by how much it is dated in the future, 0 if it is not: LoadedAt is now instead
}

func (s *Level[K, V]) seal(v Stored[K, V], m moment) ([]byte, error) {
	payload, err := safe.Call("Codec.Encode", func() ([]byte, error) { return s.codec.Encode(*v.Value) })
	if err != nil {
		return nil, err
	}
	e := envelope.Envelope{LoadedAt: time.Unix(0, m.dateOf(v.LoadedAt)), Terminal: v.Terminal, Value: payload}
	if v.End != 0 {
		e.End = time.Unix(0, m.wall+v.End-m.now)
	}
	return envelope.Seal(e), nil
}

// errAhead says that a value is dated in the future: nothing is known of its age.
var errAhead = errors.New("autorefresh: it is dated in the future: set the clocks of the machines")

// open reads an envelope, at a moment from before, as to decode values takes a while. A value that
// another clock has dated in the future was got now, if that is not by more than the clocks may
// differ.
func (s *Level[K, V]) open(key K, data []byte, m moment) (Stored[K, V], error) {
	e, ok := envelope.Open(data)
	if !ok {
		return Stored[K, V]{}, errNoEnvelope
	}
	date := e.LoadedAt.UnixNano()
	if date-m.wall > int64(s.clock.skew) {
		return Stored[K, V]{}, errAhead
	}
	age := m.date - date
	v, err := safe.Call("Codec.Decode", func() (V, error) { return s.codec.Decode(e.Value) })
	if err != nil {
		return Stored[K, V]{}, err
	}
	stored := Stored[K, V]{Key: key, Value: &v, LoadedAt: m.now - max(age, 0), Terminal: e.Terminal, Ahead: max(-age, 0)}
	if !e.End.IsZero() {
		stored.End = s.now() + int64(time.Until(e.End))
	}
	return stored, nil
}

// name returns the second level's key of a key, false if it has none: then the second level knows
// nothing of it.
func (s *Level[K, V]) name(key K) (string, bool) {
	name, err := safe.Call("KeyString", func() (string, error) { return s.keyName(key) })
	if err != nil {
		s.errors.Add(1)
		if s.unnamed.May(s.now()) {
			s.logger.Warn("autorefresh: key has no name in the second level", "key", safe.Quote(key), observe.Cause(err))
		}
		return name, false
	}
	s.index.add(name, key)
	return name, true
}

// names are the second level's keys of those keys that have one.
func (s *Level[K, V]) names(keys []K) []string {
	names := make([]string, 0, len(keys))
	for _, key := range keys {
		if name, ok := s.name(key); ok {
			names = append(names, name)
		}
	}
	return names
}

// Blindness tells that the second level could not be asked, at least for some keys.
type Blindness bool

// Lookup returns what the second level has of keys, in their order, and which of them have been
// deleted lately.
func (s *Level[K, V]) Lookup(ctx context.Context, keys []K) (found []Stored[K, V], deleted Tombs, blind Blindness) {
	s.atone(ctx)
	l := s.look(ctx, keys, s.spoiled)
	there := present(l.found)
	s.hits.Add(there)
	s.missed.Add(l.asked - there - l.ahead)
	return l.found, l.deleted, l.blind
}

// LookAgain is Lookup for keys that were not there a moment ago. What is not there, or cannot be
// read, does not count again.
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

// looked is what a look into the second level has found.
type looked[K comparable, V any] struct {
	found   []Stored[K, V] // in the order of the keys
	asked   uint64         // how many of them have a name
	ahead   uint64         // how many values are dated in the future
	deleted Tombs
	blind   Blindness
	at      moment
}

// look asks the second level for keys, but for those that have no name. Spoiled is told of values
// that cannot be used.
func (s *Level[K, V]) look(ctx context.Context, keys []K, spoiled func(K, error)) looked[K, V] {
	l := looked[K, V]{found: make([]Stored[K, V], len(keys))}
	names, index := make([]string, 0, 2*len(keys)), make([]int, 0, len(keys))
	for i, key := range keys {
		if name, ok := s.name(key); ok {
			names, index = append(names, name), append(index, i)
		}
	}
	for _, name := range names[:len(index)] {
		names = append(names, name+tombEnd)
	}
	values, err := s.get(ctx, names)
	l.blind = Blindness(s.report(ctx, err))
	s.meet(values)
	l.at = s.clock.read()
	for n, i := range index {
		data, ok := values[names[n]]
		if !ok {
			continue
		}
		v, err := s.open(keys[i], data, l.at)
		switch {
		case err != nil:
			spoiled(keys[i], err)
			if errors.Is(err, errAhead) {
				l.ahead++
			}
		case v.End != 0 && v.End <= s.now(): // nobody may serve it
		case !s.graves.covers(names[n], v.LoadedAt) && !s.distrust.covers(v.Key, *v.Value, v.LoadedAt-int64(s.clock.skew)):
			l.found[i] = v
		}
	}
	l.asked, l.deleted = uint64(len(index)), newTombs(values)
	return l
}

// get asks the store for names.
func (s *Level[K, V]) get(ctx context.Context, names []string) (map[string][]byte, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return safe.Call("Store.GetMulti", func() (map[string][]byte, error) { return s.store.GetMulti(bounded, names) })
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

// Save stores values of calls that saw the tombstones before, but not those of a call that took
// longer than tombstones stay.
func (s *Level[K, V]) Save(ctx context.Context, values []Stored[K, V], before Tombs) {
	s.atone(ctx)
	sealed := make(map[string][]byte, len(values))
	var changed []string
	for _, v := range values {
		name, ok := s.name(v.Key)
		if !ok || s.now()-v.LoadedAt > int64(s.fence-3*s.timeout) || s.graves.covers(name, v.LoadedAt) ||
			s.distrust.covers(v.Key, *v.Value, v.LoadedAt) {
			continue
		}
		data, err := s.seal(v, s.clock.read())
		if err == nil {
			sealed[name] = data
			if !v.Same {
				changed = append(changed, name)
			}
			continue
		}
		s.undecodable.Add(1)
		if s.unsealed.May(s.now()) {
			s.logger.Warn("autorefresh: value cannot be encoded for the second level", "key", safe.Quote(v.Key), observe.Cause(err))
		}
	}
	if len(sealed) == 0 {
		return
	}
	if s.put(ctx, sealed, before) == nil { // an error has been counted
		s.announce(ctx, changed)
	}
}

// Leases reports whether the store hands out leases.
func (s *Level[K, V]) Leases() bool { return s.leaser != nil }

// Counts are what has been counted since the level was made: keys that it had, that it did not have
// and that it had dated in the future; its calls that failed; and values that could not be encoded
// or decoded.
type Counts struct{ Hits, Misses, Ahead, Errors, Undecodable uint64 }

// Counts returns a snapshot.
func (s *Level[K, V]) Counts() Counts {
	return Counts{s.hits.Load(), s.missed.Load(), s.ahead.Load(), s.errors.Load(), s.undecodable.Load()}
}

// Servers are the servers of the store, and why they are down.
func (s *Level[K, V]) Servers() map[string]error { return s.health.servers() }

// IsDown reports whether any server of the store is down.
func (s *Level[K, V]) IsDown() bool { return s.health.isDown() }

// Remove deletes keys.
func (s *Level[K, V]) Remove(ctx context.Context, keys ...K) {
	names := s.names(keys)
	if len(names) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.report(ctx, safe.Do("Store.Delete", func() error { return s.store.Delete(bounded, names...) }))
}

var errNoEnvelope = errors.New("autorefresh: it is none of ours, or of a version that is not known here")
