package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
)

// Store is a second level that several processes share, such as memcached or redis: see the packages memcachedstore and redisstore. It
// must be safe for concurrent use. All its methods honour their context, and return an error only if the store did not do what it was
// asked: a key that is not there is no error. An error means that the store is down, unless it wraps [ErrRefused]. A Store that is a
// [Leaser] as well lets one process at a time ask the source for a key.
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

// second is the second level.
type second[K comparable, V any] struct {
	store     Store
	leaser    Leaser // nil if the store is none
	codec     Codec[V]
	keyString func(K) string
	ttl       time.Duration
	timeout   time.Duration
	shield    *rate.Limiter // nil if there is none
	logger    *slog.Logger
	epoch     time.Time
	life      context.Context // of calls that must be made even after Close

	mu   sync.Mutex
	held map[string]bool // leases, true if their call is over but they could not be released; guarded by mu

	down                                      atomic.Bool
	hits, missed, stores, errors, undecodable atomic.Uint64
}

// newSecond makes the second level that the options ask for, nil if none.
func newSecond[K comparable, V any](o *Options[K, V], epoch time.Time) *second[K, V] {
	if isNil(o.Store) {
		return nil
	}
	leaser, _ := o.Store.(Leaser)
	return &second[K, V]{
		store: o.Store, leaser: leaser, codec: o.Codec, keyString: o.KeyString, ttl: o.StoreTTL, timeout: o.StoreTimeout,
		shield: newShield(o.ShieldRate), logger: o.Logger, epoch: epoch, life: context.Background(), held: make(map[string]bool),
	}
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

func (s *second[K, V]) seal(v stored[K, V]) ([]byte, error) {
	payload, err := s.codec.Encode(*v.value)
	if err != nil {
		return nil, err
	}
	age := time.Since(s.epoch) - time.Duration(v.loadedAt)
	return envelope.Seal(envelope.Envelope{LoadedAt: time.Now().Add(-age), Terminal: v.terminal, Value: payload}), nil
}

// open reads an envelope; what is none, or does not decode, counts as no value. A value that another clock has dated in the future was
// got now.
func (s *second[K, V]) open(key K, data []byte) (stored[K, V], bool) {
	e, ok := envelope.Open(data)
	if !ok {
		return stored[K, V]{}, false
	}
	v, err := s.codec.Decode(e.Value)
	if err != nil {
		return stored[K, V]{}, false
	}
	age := max(time.Since(e.LoadedAt), 0)
	return stored[K, V]{key: key, value: &v, loadedAt: int64(time.Since(s.epoch) - age), terminal: e.Terminal}, true
}

// names are the second level's keys of keys.
func (s *second[K, V]) names(keys []K) []string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.keyString(key)
	}
	return names
}

// lookup returns what the second level has of keys, in their order.
func (s *second[K, V]) lookup(ctx context.Context, keys []K) []stored[K, V] {
	found := make([]stored[K, V], len(keys))
	names := s.names(keys)
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	values, err := s.store.GetMulti(bounded, names)
	s.report(ctx, "get", err)
	for i, name := range names {
		data, ok := values[name]
		if ok {
			if found[i], ok = s.open(keys[i], data); !ok {
				s.undecodable.Add(1)
			}
		}
		if ok {
			s.hits.Add(1)
		} else {
			s.missed.Add(1)
		}
	}
	return found
}

// save stores values.
func (s *second[K, V]) save(ctx context.Context, values []stored[K, V]) {
	if len(values) == 0 {
		return
	}
	sealed := make(map[string][]byte, len(values))
	for _, v := range values {
		data, err := s.seal(v)
		if err != nil {
			s.logger.Warn("autorefresh: value cannot be encoded", "key", quote(v.key), "error", err)
			s.undecodable.Add(1)
			continue
		}
		sealed[s.keyString(v.key)] = data
	}
	if len(sealed) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.stores.Add(uint64(len(sealed)))
	s.report(ctx, "set", s.store.SetMulti(bounded, sealed, s.ttl))
}

// forget deletes a key that the user has deleted; s may be nil.
func (s *second[K, V]) forget(key K) {
	if s != nil {
		s.remove(s.life, key)
	}
}

// remove deletes keys.
func (s *second[K, V]) remove(ctx context.Context, keys ...K) {
	if len(keys) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.report(ctx, "delete", s.store.Delete(bounded, s.names(keys)...))
}

func (s *second[K, V]) isDown() bool { return s.down.Load() }

// report takes notice of how a call of the store went; one that the caller has given up says nothing.
func (s *second[K, V]) report(ctx context.Context, op string, err error) {
	refused := errors.Is(err, ErrRefused)
	if err != nil && !refused && ctx.Err() != nil {
		return
	}
	if err != nil {
		s.errors.Add(1)
	}
	switch {
	case err == nil || refused:
		if s.down.CompareAndSwap(true, false) {
			s.logger.Info("autorefresh: second level is back")
			s.releaseNames(ctx, s.owed())
		}
	case s.down.CompareAndSwap(false, true):
		s.logger.Warn("autorefresh: second level is down", "op", op, "error", err)
	}
}

// quote is a key for the log.
func quote[K any](key K) string {
	const most = 64
	text := fmt.Sprintf("%q", fmt.Sprint(key))
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}
