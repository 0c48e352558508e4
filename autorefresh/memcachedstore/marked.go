package memcachedstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// A value that was read from the source before its key was deleted must not be stored after it.
// memcached changes one key in one step, and the mark that says so is another. So a deletion marks
// the key first, and then stores a placeholder in the place of the value, for as long as a call may
// take. To store a value, a process reads the present one, then the mark, and replaces the value it
// has read, by its CasID: if the mark was set before that look it sees it; if later, the
// placeholder has replaced the value. Without CasIDs the present value is overwritten, and the new
// one deleted if the mark has come meanwhile.

const (
	// mostTries is how often a value is stored whose place somebody else has written to meanwhile.
	mostTries = 16
	// firstPause bounds the wait before a second try; it grows with the square of the tries.
	firstPause = 50 * time.Microsecond
)

// errContended says that others have stored the same keys all the time.
var errContended = errors.New("memcachedstore: others store the same keys all the time")

// SetUnlessMarked implements [autorefresh.Marker], with two looks and one write. The ttl is rounded
// up as that of SetMulti is, and values that are too large are refused alike.
func (s *Store) SetUnlessMarked(ctx context.Context, values map[string]autorefresh.Marked, ttl time.Duration) error {
	var failed failures
	open := slices.Collect(maps.Keys(values))
	for try := range mostTries {
		pause(ctx, time.Duration(try*try)*firstPause)
		var err error
		if open, err = s.setMarked(ctx, open, values, ttl); err != nil {
			failed.add(err)
		}
		if len(open) == 0 {
			return failed.joined()
		}
	}
	failed.add(fmt.Errorf("%w: %d keys", errContended, len(open)))
	return failed.joined()
}

// pause waits for a random time, so that writers of one key do not meet again.
func pause(ctx context.Context, most time.Duration) {
	if most == 0 {
		return
	}
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// setMarked tries to store the values of keys, once, and returns those whose place was written to
// meanwhile.
func (s *Store) setMarked(ctx context.Context, keys []string, values map[string]autorefresh.Marked, ttl time.Duration) ([]string, error) {
	places, err := s.client.GetMultiContext(ctx, s.namespace.namesOf(ofValue, keys))
	if err != nil {
		return nil, err
	}
	marks, err := s.marksOf(ctx, keys, values) // after the places, as is said above
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var again, blind []string
	err = each(len(keys), func(i int) error {
		v := values[keys[i]]
		if isMarked(marks[keys[i]], v) {
			return nil
		}
		item := &memcache.Item{Key: s.namespace.nameOf(ofValue, keys[i]), Value: v.Value, Expiration: seconds(ttl)}
		write := s.client.AddContext
		switch place := places[item.Key]; {
		case place == nil:
		case place.CasID == 0:
			mu.Lock()
			defer mu.Unlock()
			blind = append(blind, keys[i])
			return nil
		default:
			place.Value, place.Flags, place.Expiration = item.Value, 0, item.Expiration
			item, write = place, s.client.CompareAndSwapContext
		}
		err := write(ctx, item)
		if errors.Is(err, memcache.ErrNotStored) || errors.Is(err, memcache.ErrCASConflict) || errors.Is(err, memcache.ErrCacheMiss) {
			mu.Lock()
			defer mu.Unlock()
			again = append(again, keys[i])
			return nil
		}
		return refusal(err, v.Value)
	})
	if len(blind) > 0 {
		err = join(err, s.setBlind(ctx, blind, values, ttl))
	}
	return again, err
}

// marksOf returns the marks of keys, by key.
func (s *Store) marksOf(ctx context.Context, keys []string, values map[string]autorefresh.Marked) (map[string]*memcache.Item, error) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.namespace.nameOf(ofValue, values[key].Mark)
	}
	items, err := s.client.GetMultiContext(ctx, names)
	marks := make(map[string]*memcache.Item, len(items))
	for i, key := range keys {
		marks[key] = items[names[i]]
	}
	return marks, err
}

// isMarked reports whether a mark keeps a value from being stored.
func isMarked(mark *memcache.Item, v autorefresh.Marked) bool {
	return mark != nil && !isPlaceholder(mark) && string(mark.Value) != string(v.Seen)
}

// setBlind stores the values of keys whatever is in their place, and deletes those whose marks have
// come meanwhile. A value that is its own mark stays.
func (s *Store) setBlind(ctx context.Context, keys []string, values map[string]autorefresh.Marked, ttl time.Duration) error {
	plain := make(map[string][]byte, len(keys))
	for _, key := range keys {
		plain[key] = values[key].Value
	}
	failed := s.SetMulti(ctx, plain, ttl)
	marks, err := s.marksOf(ctx, keys, values)
	late := slices.DeleteFunc(keys, func(key string) bool {
		v := values[key]
		return v.Mark == key || err == nil && !isMarked(marks[key], v)
	})
	return join(failed, err, s.Delete(ctx, late...))
}
