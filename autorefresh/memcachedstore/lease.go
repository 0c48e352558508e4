package memcachedstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// Lease implements [autorefresh.Leaser]. The ttl is rounded up to whole seconds, and one more is
// added, because memcached counts seconds by its own clock: a key meant to last for one may end
// after a moment.
func (s *Store) Lease(ctx context.Context, keys []string, ttl time.Duration) (map[string]bool, error) {
	taken := make(map[string]bool)
	var mu sync.Mutex
	err := each(len(keys), func(i int) error {
		err := s.client.AddContext(ctx, &memcache.Item{
			Key: s.namespace.nameOf(ofLease, keys[i]), Value: s.token, Expiration: min(seconds(ttl)+1, maxExpiration),
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
	names := s.namespace.namesOf(ofLease, keys)
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
