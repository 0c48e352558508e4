package autorefresh

import (
	"context"
	"errors"
)

// InvalidateAll says that nothing of what the cache has may be relied on, as after a restore of the
// source: see [Cache.InvalidateFunc], of which it is the form for all items.
func (c *Cache[K, V]) InvalidateAll(ctx context.Context) error {
	_, err := c.invalidate(ctx, nil)
	return err
}

// InvalidateFunc says that the values for which old returns true may not be what the source has any
// more, and returns how many there are. They are refreshed within a period, spread over it, and
// answered meanwhile, up to MaxStale; nobody waits. To have values answered no more, delete them,
// see [Cache.Delete]; a caller that needs the new value now calls [Cache.Refresh].
//
// Final values are refreshed again, negative entries end, if old says so of the zero value, and
// items that rest, see HotFor, are refreshed once they are read. A value that was got before does
// not come back through the second level: not into this cache, whichever process stores it, and the
// stored values of this cache's items are deleted, so that other processes do not take it either.
// What they have in memory stays until they refresh it; with Options.Watch it is invalidated there,
// too: of InvalidateFunc the items that this cache has, of InvalidateAll all.
//
// Old is called for the items that are there, by the caller, and later for values that the second
// level offers, by the cache's goroutines: it must be safe for concurrent use, and depend on its
// arguments alone. A panic of it then counts as true. The error is [ErrClosed], and nothing was
// done; or one of the second level, with this cache invalidated: what could not be deleted there is
// deleted as soon as it can be.
func (c *Cache[K, V]) InvalidateFunc(ctx context.Context, old func(key K, v V) bool) (int, error) {
	return c.invalidate(ctx, old)
}

func (c *Cache[K, V]) invalidate(ctx context.Context, old func(K, V) bool) (int, error) {
	if c.life.IsClosed() {
		return 0, ErrClosed
	}
	c.fetch.Level.Distrust(old) // first: values got from now on are new
	keys := c.items.Invalidate(old)
	err := c.fetch.Level.Discard(ctx, keys)
	if old == nil {
		err = errors.Join(err, c.fetch.Level.BuryAll(ctx))
	}
	return len(keys), err
}
