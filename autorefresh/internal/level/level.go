// Package level is the second level of a cache, which several processes share: its values, leases
// on keys, and deletions that are not undone.
package level

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/codec"
	"github.com/holdfast-go/holdfast/autorefresh/internal/keyname"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Options are a level's choices.
type Options[K comparable, V any] struct {
	Store     Store
	Marker    Marker         // nil if the store is none
	Codec     codec.Codec[V] // nil for the default
	KeyString func(K) string // nil for the default
	TTL       time.Duration  // of values
	Timeout   time.Duration  // of one call of the store
	CallTime  time.Duration  // what a call of the source may take
	Skew      time.Duration  // how far the clocks may be apart
	Announcer Announcer      // nil if changes are not told
	Has       func(K) bool   // reports whether the cache has a key; nil if changes are not told
	Logger    *slog.Logger
	Now       func() int64 // the cache's clock
}

// Level is the second level of a cache. The methods of a nil Level are those of a cache that has
// none. It is safe for concurrent use.
type Level[K comparable, V any] struct {
	byName

	codec    codec.Codec[V]
	keyName  func(K) (string, error)
	unread   safe.Seldom // for the log
	unsealed safe.Seldom // for the log
	unnamed  safe.Seldom // for the log
	distrust distrust[K, V]
	index    index[K]
}

// byName is a level as far as it knows names and bytes. It is compiled once, and all else for each
// pair of types that a program has.
type byName struct {
	store   Store
	leaser  Leaser // nil if the store is none
	marker  Marker // nil if the store is none
	health  *storeHealth
	ttl     time.Duration
	timeout time.Duration
	clock   tombstone.Clock
	logger  *slog.Logger
	now     func() int64
	life    context.Context // of calls that nobody gives a context
	panics  safe.Seldom     // for the log

	mu   sync.Mutex
	held map[string]held // leases; guarded by mu

	owes    atomic.Bool // there are leases to be released once the store is back
	redeems safe.Seldom
	fence   time.Duration // how long tombstones stay
	debts   tombstone.Debts
	turns   turns
	atones  safe.Seldom

	announcer Announcer // nil if changes are not told
	self      string    // what tombstones of this process have in them

	hits, missed, stores, errors, undecodable, ahead atomic.Uint64
}

// New makes a level. It fails for types that the defaults are not safe for.
func New[K comparable, V any](o Options[K, V]) (*Level[K, V], error) {
	keyName, err := keyname.New(o.KeyString)
	if err != nil {
		return nil, err
	}
	if o.Codec == nil {
		if o.Codec, err = codec.Default[V](); err != nil {
			return nil, err
		}
	}
	leaser, _ := o.Store.(Leaser)
	return &Level[K, V]{
		byName: byName{
			store: o.Store, leaser: leaser, marker: o.Marker, health: newStoreHealth(o.Store, o.Logger),
			ttl: o.TTL, timeout: o.Timeout, clock: tombstone.Clock{Now: o.Now, Skew: o.Skew, Follows: o.Announcer != nil}, logger: o.Logger, now: o.Now,
			held: make(map[string]held), life: context.Background(), fence: fenceFor(o.CallTime, o.Timeout),
			announcer: o.Announcer, self: tombstone.NewSelf(),
		},
		codec: o.Codec, keyName: keyName, index: newIndex(o.KeyString, o.Has),
	}, nil
}

// Leases reports whether the store hands out leases.
func (s *byName) Leases() bool { return s.leaser != nil }

// Counts are what has been counted since the level was made: keys that it had, that it did not have
// and that it had dated in the future; its calls that failed; and values that could not be encoded
// or decoded.
type Counts struct{ Hits, Misses, Ahead, Errors, Undecodable uint64 }

// Counts returns a snapshot.
func (s *byName) Counts() Counts {
	return Counts{s.hits.Load(), s.missed.Load(), s.ahead.Load(), s.errors.Load(), s.undecodable.Load()}
}

// Servers are the servers of the store, and why they are down.
func (s *byName) Servers() map[string]error { return s.health.servers() }

// IsDown reports whether any server of the store is down.
func (s *byName) IsDown() bool { return s.health.isDown() }

// fenceFor is how long a tombstone stays: as long as a call may take, and what it does before and
// after.
func fenceFor(callTime, storeTimeout time.Duration) time.Duration {
	return callTime + 4*storeTimeout
}

// held is a lease of this process.
type held struct {
	over bool // its call is over, but it could not be released
	ends int64
}

// nameOf returns the second level's key of a key, false if it has none: then the second level knows
// nothing of it.
func (s *Level[K, V]) nameOf(key K) (string, bool) {
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

// namesOf are the second level's keys of those keys that have one.
func (s *Level[K, V]) namesOf(keys []K) []string {
	names := make([]string, 0, len(keys))
	for _, key := range keys {
		if name, ok := s.nameOf(key); ok {
			names = append(names, name)
		}
	}
	return names
}
