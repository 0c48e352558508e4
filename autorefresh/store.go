package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Store is a second level that several processes share, such as memcached or redis: see the packages memcachedstore and redisstore. It
// must be safe for concurrent use. All its methods honour their context, and return an error only if the store did not do what it was
// asked: a key that is not there is no error. An error means that the store is down, unless it wraps [ErrRefused]. A Store that is a
// [Leaser] as well lets one process at a time ask the source for a key; one that is a [Reporter] says which of its servers are down; one
// that is a [Marker] never has a deleted value again, not even for the moment that a look after it was stored takes.
type Store interface {
	// GetMulti returns the values of the keys it has; with an error, of those it could get. They are the caller's to keep.
	GetMulti(ctx context.Context, keys []string) (map[string][]byte, error)
	// SetMulti stores values for ttl. It does not keep them.
	SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error
	// Delete deletes keys.
	Delete(ctx context.Context, keys ...string) error
}

// Leaser hands out leases on keys.
type Leaser interface {
	// Lease asks for the leases on keys, and returns those keys whose lease somebody else has. The others are the caller's, or with an
	// error perhaps not. A lease ends with Release, or after ttl, which a store rounds up to what it can count in, and never down: a
	// lease without an end would keep a key from being refreshed for ever.
	Lease(ctx context.Context, keys []string, ttl time.Duration) (taken map[string]bool, err error)
	// Release ends the caller's leases on keys, and nobody else's.
	Release(ctx context.Context, keys ...string) error
}

// Reporter tells the state of a store's servers.
type Reporter interface {
	// Servers returns the servers that are in use, by names that are few and stay the same, such as addresses: nil for one that is up,
	// else why it is down. It must not wait, and be safe for concurrent use.
	Servers() map[string]error
}

// Marker stores values unless their keys were marked as deleted, in one step: between a look and the write nobody can mark them.
type Marker interface {
	// SetUnlessMarked is SetMulti but for values whose mark has changed: those are not stored, which is no error.
	SetUnlessMarked(ctx context.Context, values map[string]Marked, ttl time.Duration) error
}

// Marked is a value with the condition on which it is stored: that there is no key Mark, or that this has the value Seen.
type Marked struct {
	Value []byte
	Mark  string
	Seen  []byte
}

// second is the second level.
type second[K comparable, V any] struct {
	store    Store
	leaser   Leaser // nil if the store is none
	marker   Marker // nil if the store is none
	health   *storeHealth
	codec    Codec[V]
	keyName  func(K) (string, error)
	ttl      time.Duration
	timeout  time.Duration
	skew     time.Duration // how far the clocks may be apart
	shield   *gate         // for when the store is down, nil if there is none
	logger   *slog.Logger
	epoch    time.Time
	life     context.Context // of calls that nobody gives a context
	unread   seldom          // for the log
	unsealed seldom          // for the log
	unnamed  seldom          // for the log
	panics   seldom          // for the log

	mu   sync.Mutex
	held map[string]held // leases; guarded by mu

	owes    atomic.Bool // there are leases to be released once the store is back
	redeems seldom
	fence   time.Duration // how long tombstones stay
	graves  graves
	atones  seldom

	hits, missed, stores, errors, undecodable, ahead atomic.Uint64
}

// newSecond makes the second level that the options ask for, nil if none. It fails for types that the defaults are not safe for.
func newSecond[K comparable, V any](o *Options[K, V], epoch time.Time) (*second[K, V], error) {
	if isNil(o.Store) {
		return nil, nil //nolint:nilnil // none is what was asked for.
	}
	keyName, err := newKeyName(o.KeyString)
	if err != nil {
		return nil, err
	}
	codec := o.Codec
	if codec == nil {
		if codec, err = defaultCodec[V](); err != nil {
			return nil, err
		}
	}
	leaser, _ := o.Store.(Leaser)
	marker, _ := o.Store.(Marker)
	logger := observe.Logger(o.Logger, o.Name)
	return &second[K, V]{
		store: o.Store, leaser: leaser, marker: marker, health: newStoreHealth(o.Store, logger), codec: codec, keyName: keyName, ttl: o.StoreTTL,
		timeout: o.StoreTimeout, skew: o.Period / 10, shield: newShield(o.ShieldRate), logger: logger, epoch: epoch,
		held: make(map[string]held), life: context.Background(), fence: fenceFor(o.Timeout, o.LoadTimeout, o.StoreTimeout),
	}, nil
}

// stored is a value of the second level. Its value is nil if there is none.
type stored[K comparable, V any] struct {
	key      K
	value    *V
	loadedAt int64 // on the cache's clock
	terminal bool
}

func (s stored[K, V]) result() result[V] {
	return result[V]{outcome: adopted, value: s.value, loadedAt: s.loadedAt, final: s.terminal}
}

func (s *second[K, V]) now() int64 { return int64(time.Since(s.epoch)) }

func (s *second[K, V]) seal(v stored[K, V]) ([]byte, error) {
	payload, err := guard("Codec.Encode", func() ([]byte, error) { return s.codec.Encode(*v.value) })
	if err != nil {
		return nil, err
	}
	age := time.Duration(s.now() - v.loadedAt)
	return envelope.Seal(envelope.Envelope{LoadedAt: time.Now().Add(-age), Terminal: v.terminal, Value: payload}), nil
}

// errAhead says that a value is dated in the future: nothing is known of its age.
var errAhead = errors.New("autorefresh: it is dated in the future: set the clocks of the machines")

// open reads an envelope. A value that another clock has dated in the future was got now, if that is not by more than the clocks may
// differ.
func (s *second[K, V]) open(key K, data []byte) (stored[K, V], error) {
	e, ok := envelope.Open(data)
	if !ok {
		return stored[K, V]{}, errNoEnvelope
	}
	age := time.Since(e.LoadedAt)
	if age < -s.skew {
		return stored[K, V]{}, errAhead
	}
	v, err := guard("Codec.Decode", func() (V, error) { return s.codec.Decode(e.Value) })
	if err != nil {
		return stored[K, V]{}, err
	}
	return stored[K, V]{key: key, value: &v, loadedAt: s.now() - int64(max(age, 0)), terminal: e.Terminal}, nil
}

// name returns the second level's key of a key, false if it has none: then the second level knows nothing of it.
func (s *second[K, V]) name(key K) (string, bool) {
	name, err := guard("KeyString", func() (string, error) { return s.keyName(key) })
	if err != nil {
		s.errors.Add(1)
		if s.unnamed.may(s.now()) {
			s.logger.Warn("autorefresh: key has no name in the second level", "key", quote(key), observe.Cause(err))
		}
	}
	return name, err == nil
}

// names are the second level's keys of those keys that have one.
func (s *second[K, V]) names(keys []K) []string {
	names := make([]string, 0, len(keys))
	for _, key := range keys {
		if name, ok := s.name(key); ok {
			names = append(names, name)
		}
	}
	return names
}

// blindness tells that the second level could not be asked, at least for some keys.
type blindness bool

// lookup returns what the second level has of keys, in their order, and which of them have been deleted lately.
func (s *second[K, V]) lookup(ctx context.Context, keys []K) (found []stored[K, V], deleted tombs, blind blindness) {
	s.atone(ctx)
	l := s.look(ctx, keys, s.spoiled)
	there := present(l.found)
	s.hits.Add(there)
	s.missed.Add(l.asked - there - l.ahead)
	return l.found, l.deleted, l.blind
}

// lookAgain is lookup for keys that were not there a moment ago. What is not there, or cannot be read, does not count again.
func (s *second[K, V]) lookAgain(ctx context.Context, keys []K) []stored[K, V] {
	if len(keys) == 0 {
		return nil
	}
	l := s.look(ctx, keys, func(K, error) {})
	s.hits.Add(present(l.found))
	return l.found
}

func present[K comparable, V any](found []stored[K, V]) (n uint64) {
	for i := range found {
		if found[i].value != nil {
			n++
		}
	}
	return n
}

// looked is what a look into the second level has found.
type looked[K comparable, V any] struct {
	found   []stored[K, V] // in the order of the keys
	asked   uint64         // how many of them have a name
	ahead   uint64         // how many values are dated in the future
	deleted tombs
	blind   blindness
}

// look asks the second level for keys, but for those that have no name. Spoiled is told of values that cannot be used.
func (s *second[K, V]) look(ctx context.Context, keys []K, spoiled func(K, error)) looked[K, V] {
	l := looked[K, V]{found: make([]stored[K, V], len(keys))}
	names, index := make([]string, 0, 2*len(keys)), make([]int, 0, len(keys))
	for i, key := range keys {
		if name, ok := s.name(key); ok {
			names, index = append(names, name), append(index, i)
		}
	}
	for _, name := range names[:len(index)] {
		names = append(names, name+tombEnd)
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	values, err := guard("Store.GetMulti", func() (map[string][]byte, error) { return s.store.GetMulti(bounded, names) })
	l.blind = blindness(s.report(ctx, err))
	for n, i := range index {
		data, ok := values[names[n]]
		if !ok {
			continue
		}
		v, err := s.open(keys[i], data)
		switch {
		case err != nil:
			spoiled(keys[i], err)
			if errors.Is(err, errAhead) {
				l.ahead++
			}
		case !s.graves.covers(names[n], v.loadedAt):
			l.found[i] = v
		}
	}
	l.asked, l.deleted = uint64(len(index)), newTombs(values)
	return l
}

// spoiled counts a value that is there and cannot be used: a miss, until the source's takes its place.
func (s *second[K, V]) spoiled(key K, err error) {
	what, count := "autorefresh: value of the second level cannot be decoded", &s.undecodable
	if errors.Is(err, errAhead) {
		what, count = "autorefresh: value of the second level is not used", &s.ahead
	}
	count.Add(1)
	if s.unread.may(s.now()) {
		s.logger.Warn(what, "key", quote(key), observe.Cause(err))
	}
}

// save stores values of calls that saw the tombstones before, but not those of a call that took longer than tombstones stay.
func (s *second[K, V]) save(ctx context.Context, values []stored[K, V], before tombs) {
	s.atone(ctx)
	sealed := make(map[string][]byte, len(values))
	for _, v := range values {
		name, ok := s.name(v.key)
		if !ok || s.now()-v.loadedAt > int64(s.fence-3*s.timeout) || s.graves.covers(name, v.loadedAt) {
			continue
		}
		data, err := s.seal(v)
		if err == nil {
			sealed[name] = data
			continue
		}
		s.undecodable.Add(1)
		if s.unsealed.may(s.now()) {
			s.logger.Warn("autorefresh: value cannot be encoded for the second level", "key", quote(v.key), observe.Cause(err))
		}
	}
	if len(sealed) == 0 {
		return
	}
	s.put(ctx, sealed, before)
}

// remove deletes keys.
func (s *second[K, V]) remove(ctx context.Context, keys ...K) {
	names := s.names(keys)
	if len(names) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.report(ctx, guardError("Store.Delete", func() error { return s.store.Delete(bounded, names...) }))
}

var errNoEnvelope = errors.New("autorefresh: it is none of ours, or of a version that is not known here")

// quote is a key for the log.
func quote[K any](key K) string {
	const most = 64
	text := fmt.Sprintf("%q", fmt.Sprint(key))
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}
