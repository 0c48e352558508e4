// Package memcachedstore is a second level of autorefresh on memcached: processes that share the
// servers share what one of them has refreshed. It uses the client of this module, which answers at
// once while a server is down, and heals.
package memcachedstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// Options are a store's choices. Namespace must be set.
type Options struct {
	// Namespace is what the store's keys begin with. Each cache needs its own, shared by its
	// replicas: a cache would take another's values for its own. 1 to 100 bytes without spaces and
	// control characters, nor with ":v" or ":l" before a colon, a "#" or its end: so the keys of
	// two namespaces never meet. It must be set.
	Namespace string
	// PollInterval is how often [Store.Watch] asks memcached whether something has changed, with
	// one get. Default 100 ms.
	PollInterval time.Duration
}

// maxNamespace leaves room for a hash in a key of 250 bytes.
const maxNamespace = 100

func (o Options) check() error {
	if o.Namespace == "" {
		return errors.New(`memcachedstore: Options.Namespace is "": set a name of the cache's own, which its replicas share`)
	}
	if len(o.Namespace) > maxNamespace {
		return fmt.Errorf("memcachedstore: Options.Namespace is %q, %d bytes: set at most %d", o.Namespace, len(o.Namespace), maxNamespace)
	}
	if !plain(o.Namespace) {
		return fmt.Errorf("memcachedstore: Options.Namespace is %q: set one without spaces and control characters", o.Namespace)
	}
	if ambiguous(o.Namespace) {
		return fmt.Errorf("memcachedstore: Options.Namespace is %q: set one without the parts :v and :l, "+
			"by which keys of a shorter namespace go on", o.Namespace)
	}
	if o.PollInterval < 0 {
		return fmt.Errorf("memcachedstore: Options.PollInterval is %v: set a positive duration, or 0 for %v", o.PollInterval, defaultPoll)
	}
	return nil
}

// Store keeps the values of one cache in memcached. It has no useful zero value: [New] makes one,
// for Options.Store of a cache. It is safe for concurrent use, starts nothing, and leaves the
// client open.
//
// The value of the key "42" is under "<namespace>:v:42", its lease under "<namespace>:l:42". A key
// that memcached cannot carry, because it has spaces or control characters or is too long, is
// replaced with its hash: "<namespace>:v#" and the SHA-256 in hexadecimal. What caches with
// Options.Watch tell each other is under "<namespace>:n" and "<namespace>:n:<number>".
type Store struct {
	client    *memcache.Client
	namespace string
	token     []byte // what this store's leases hold
	poll      time.Duration
	pending   pending
}

var (
	_ autorefresh.Store  = (*Store)(nil)
	_ autorefresh.Leaser = (*Store)(nil)
	_ autorefresh.Marker = (*Store)(nil)

	_ autorefresh.Reporter = (*Store)(nil)
	_ autorefresh.Watcher  = (*Store)(nil)
)

// New makes a store. It sees servers that are down whatever Options.ReportUnavailable of the client
// says. The error names the option that is wrong, and its value.
func New(client *memcache.Client, o Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("memcachedstore: client is nil: pass one that memcache.New has made")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return &Store{
		client: client.Reporting(), namespace: o.Namespace, token: []byte(rand.Text()), poll: cmp.Or(o.PollInterval, defaultPoll),
	}, nil
}

// Servers implements [autorefresh.Reporter]: a server is down while the client's breaker keeps
// calls from it.
func (s *Store) Servers() map[string]error {
	servers := make(map[string]error)
	for addr, stats := range s.client.Stats() {
		switch {
		case stats.State == breaker.Closed || stats.State == breaker.ForcedClosed:
			servers[addr] = nil
		case stats.DownCause != nil:
			servers[addr] = stats.DownCause
		default:
			servers[addr] = breaker.ErrOpen
		}
	}
	return servers
}

// GetMulti implements [autorefresh.Store]. While some servers are down it returns what the others
// have, and the error.
func (s *Store) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	names := s.names(ofValue, keys)
	items, err := s.client.GetMultiContext(ctx, names)
	found := make(map[string][]byte, len(items))
	for i, name := range names {
		if item := items[name]; item != nil && !isPlaceholder(item) {
			found[keys[i]] = item.Value
		}
	}
	return found, err
}

// SetMulti implements [autorefresh.Store]. The ttl is rounded up to whole seconds; memcached knows
// no longer one than 30 days. A value that is too large for memcached, 1 MiB by default, is
// refused: with [autorefresh.ErrRefused], if nothing worse has happened.
func (s *Store) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	keys := slices.Collect(maps.Keys(values))
	return each(len(keys), func(i int) error {
		value := values[keys[i]]
		return refusal(s.client.SetContext(ctx, &memcache.Item{Key: s.name(ofValue, keys[i]), Value: value, Expiration: seconds(ttl)}), value)
	})
}

// Delete implements [autorefresh.Store]. For a minute a few bytes are in the place of the value, so
// that none is stored there that was got before.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	return each(len(keys), func(i int) error {
		return s.client.SetContext(ctx, &memcache.Item{Key: s.name(ofValue, keys[i]), Value: []byte(placeholder), Expiration: placeholderTTL})
	})
}

// Lease implements [autorefresh.Leaser]. The ttl is rounded up to whole seconds, and one more is
// added, because memcached counts seconds by its own clock: what is to last for one may end after a
// moment.
func (s *Store) Lease(ctx context.Context, keys []string, ttl time.Duration) (map[string]bool, error) {
	taken := make(map[string]bool)
	var mu sync.Mutex
	err := each(len(keys), func(i int) error {
		err := s.client.AddContext(ctx, &memcache.Item{
			Key: s.name(ofLease, keys[i]), Value: s.token, Expiration: min(seconds(ttl)+1, maxExpiration),
		})
		if !errors.Is(err, memcache.ErrNotStored) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		taken[keys[i]] = true
		return nil
	})
	return taken, err
}

// Release implements [autorefresh.Leaser]. A lease that has ended meanwhile, and that another
// process has now, stays.
func (s *Store) Release(ctx context.Context, keys ...string) error {
	names := s.names(ofLease, keys)
	items, err := s.client.GetMultiContext(ctx, names)
	ours := slices.DeleteFunc(names, func(name string) bool {
		return items[name] == nil || string(items[name].Value) != string(s.token)
	})
	return errors.Join(err, each(len(ours), func(i int) error {
		item := items[ours[i]]
		item.Expiration = expired
		err := s.client.CompareAndSwapContext(ctx, item)
		if errors.Is(err, memcache.ErrCASConflict) || errors.Is(err, memcache.ErrNotStored) || errors.Is(err, memcache.ErrCacheMiss) {
			return nil
		}
		return err
	}))
}

const (
	// maxExpiration is the most that is not taken for a point in time.
	maxExpiration = 30 * 24 * 60 * 60
	// expired makes an item end at once.
	expired = -1
	// tooLarge is part of memcached's answer to a value beyond its item size.
	tooLarge = "too large"
)

// seconds rounds up: 0 would mean without an end.
func seconds(d time.Duration) int32 {
	return int32(max(min((d-1)/time.Second+1, maxExpiration), 1))
}
