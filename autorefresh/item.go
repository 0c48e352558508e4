package autorefresh

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/breaker"
)

// CacheItem is an item of an [AutoRefreshCache].
type CacheItem interface {
	// ID is the item's key.
	ID() string
}

// CacheSyncItem gets the present state of an item. Calls are serial. Its result decides:
//
//   - (item, nil): the item is stored. Its ID must be that of the item it was called for, all else
//     is a failure.
//   - (nil, nil): the item is deleted.
//   - (nil, err): the item is kept as it is, and tried again later each time. The cache this is the
//     successor of deleted it.
//   - (item, err): the item is stored, and tried again later each time.
//
// A nil pointer in the interface counts as nil. A panic is a failure.
type CacheSyncItem func(ctx context.Context, obj CacheItem) (CacheItem, error)

// AutoRefreshCache keeps items, and has each of them refreshed by a callback once a period.
// [NewAutoRefreshCache] makes one. All methods are safe for concurrent use.
//
//nolint:revive // the original's name.
type AutoRefreshCache interface {
	// Start begins the refreshes, which go on until ctx ends; then no further callback begins, and
	// the items stay as they are. A second Start does nothing while they go on; after the end it
	// begins them again, once the callback under way has returned.
	Start(ctx context.Context)

	// Get returns an item, nil if there is none. It never waits.
	Get(id string) CacheItem

	// GetOrCreate returns the item that has the same ID, or stores this one and returns it. It
	// fails for an item that is nil, and after Close.
	GetOrCreate(item CacheItem) (CacheItem, error)
}

// ItemCache is what [NewAutoRefreshCache] returns, for callers that need more than the interface
// has: an assertion to *ItemCache gives access to Delete, Close and Stats. It has no useful zero
// value, and is safe for concurrent use.
type ItemCache struct {
	cache *Cache[string, CacheItem]
}

// NewAutoRefreshCache makes a cache whose items are refreshed by syncCb once a resyncPeriod, one at
// a time, each callback after a turn of the limiter if that is not nil. An item is refreshed for
// the first time at a random moment of the first period after Start. After 20 failures in a row a
// breaker lets through one callback at a time until one succeeds. The result is an [*ItemCache]. It
// panics if syncCb is nil or the period not positive.
func NewAutoRefreshCache(syncCb CacheSyncItem, syncRateLimiter RateLimiter, resyncPeriod time.Duration) AutoRefreshCache {
	opts := Options[string, CacheItem]{
		Period: resyncPeriod, Workers: 1, MaxStuck: -1, BatchSize: 1,
		// Callbacks fail for reasons of their item more often than of the source: only if all fail
		// is the source at fault.
		Breaker: breaker.Options{ConsecutiveFailures: itemFailures, FailureRatio: -1},
	}
	if !isNil(syncRateLimiter) {
		opts.Limiter = syncRateLimiter
	}
	if syncCb == nil {
		panic(errNoFunction.Error())
	}
	cache, err := build(oneByOne(syncItem(syncCb)), opts)
	if err != nil {
		panic(err.Error())
	}
	return &ItemCache{cache}
}

// itemFailures in a row stop all callbacks but one at a time.
const itemFailures = 20

// syncItem translates a callback.
func syncItem(sync CacheSyncItem) RefreshFunc[string, CacheItem] {
	return func(ctx context.Context, id string, old CacheItem) (CacheItem, error) {
		item, err := sync(ctx, old)
		if isNil(item) {
			if err == nil {
				return nil, ErrNotFound
			}
			return nil, failure(err)
		}
		if got := item.ID(); got != id {
			return nil, fmt.Errorf("autorefresh: callback for item %s returned item %s", safe.Quote(id), safe.Quote(got))
		}
		if err != nil {
			return item, &partialError{err}
		}
		return item, nil
	}
}

// failure hides the meaning that an error of a callback would have for the core.
func failure(err error) error { return fmt.Errorf("autorefresh: callback: %s", err.Error()) }

// Start implements [AutoRefreshCache].
func (c *ItemCache) Start(ctx context.Context) { c.cache.start(ctx) }

// Get implements [AutoRefreshCache].
func (c *ItemCache) Get(id string) CacheItem {
	item, _ := c.cache.Get(id)
	return item
}

// GetOrCreate implements [AutoRefreshCache].
func (c *ItemCache) GetOrCreate(item CacheItem) (CacheItem, error) {
	if isNil(item) {
		return nil, invalid("item", "nil", "pass one that has an ID")
	}
	got, _, err := c.cache.GetOrCreate(item.ID(), item)
	return got, err
}

// Delete deletes an item and reports whether there was one. A callback under way does not bring it
// back.
func (c *ItemCache) Delete(id string) bool { return c.cache.Delete(id) }

// Stats returns a snapshot.
func (c *ItemCache) Stats() Stats { return c.cache.Stats() }

// Breaker returns the breaker that stops the callbacks when they all fail, for operators.
func (c *ItemCache) Breaker() *breaker.Breaker { return c.cache.Breaker() }

// Close ends the refreshes for good, as [Cache.Close] does. It is not needed if the context given
// to Start ends.
func (c *ItemCache) Close() error { return c.cache.Close() }

// NewRateLimiter makes a limiter that lets through tps callbacks a second, and burst at once. A tps
// of math.MaxFloat64, or infinite, is no limit, whatever the burst; with another one, a burst or a
// tps that is not positive lets nothing through: Wait fails. It panics if tps is NaN. The name says
// what it is for, where it is made.
func NewRateLimiter(rateLimiterName string, tps float64, burst int) RateLimiter {
	if math.IsNaN(tps) {
		panic(invalid("tps of rate limiter "+safe.Quote(rateLimiterName), tps, "set a number").Error())
	}
	return rate.NewLimiter(rate.Limit(min(max(tps, 0), math.MaxFloat64)), burst)
}
