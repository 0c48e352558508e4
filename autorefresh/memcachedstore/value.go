package memcachedstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// GetMulti implements [autorefresh.Store]. While some servers are down it returns what the others
// have, and the error.
func (s *Store) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	names := s.namespace.namesOf(ofValue, keys)
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
		return refusal(s.client.SetContext(ctx, &memcache.Item{Key: s.namespace.nameOf(ofValue, keys[i]), Value: value, Expiration: seconds(ttl)}), value)
	})
}

// Delete implements [autorefresh.Store]. For a minute a few bytes are in the place of the value, so
// that none is stored there that was got before.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	return each(len(keys), func(i int) error {
		return s.client.SetContext(ctx, &memcache.Item{Key: s.namespace.nameOf(ofValue, keys[i]), Value: []byte(placeholder), Expiration: placeholderTTL})
	})
}

// isPlaceholder reports whether an item stands for none.
func isPlaceholder(item *memcache.Item) bool { return string(item.Value) == placeholder }

// refusal is the error of a write, which says so if only the value was too large.
func refusal(err error, value []byte) error {
	if errors.Is(err, memcache.ErrServerError) && strings.Contains(err.Error(), tooLarge) {
		return fmt.Errorf("%w: %d bytes: %w", autorefresh.ErrRefused, len(value), err)
	}
	return err
}

const (
	// placeholder stands in the place of a deleted value. Processes that do not know it read no
	// value from it either.
	placeholder = "\xaf\x00deleted"
	// placeholderTTL is how long it stays, in seconds: longer than the calls of a store take.
	placeholderTTL = 60
)

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
