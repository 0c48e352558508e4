package autorefresh

import (
	"context"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// GetOrCreate returns the value of a key, or stores v if there is none; created tells which. Of
// several callers with one key one creates, and all get its value. A value that is too old to be
// served is returned nevertheless: the item is there. The error is [ErrFull], [ErrBadKey] or
// [ErrClosed].
func (c *Cache[K, V]) GetOrCreate(key K, v V) (value V, created bool, err error) {
	if e, ok := c.storage.Get(key); ok && !e.Has(timetable.Absent) && !c.life.IsClosed() {
		c.look(e)
		return *e.Value.Load(), false, nil
	}
	if key != key { //nolint:staticcheck // NaN.
		var zero V
		return zero, false, ErrBadKey
	}
	there, created, err := c.items.Create(key, &v)
	if err != nil {
		var zero V
		return zero, false, err
	}
	return *there.Value.Load(), created, nil
}

// Set stores a value that the caller has written to the source, or knows to be there. Those who
// wait for the key get it, a refresh or a load that began before does not bring back what it has
// got, and the next refresh comes a period later. A final value is replaced, and refreshed again.
// With a second level it is stored there too, so that no call of another process that began before
// takes its place; the values that other processes have in memory stay until they are refreshed, or
// told, see Options.Watch. The error is [ErrFull], [ErrBadKey] or [ErrClosed], and nothing was
// stored; or one of the second level, with the value in this cache: other processes may have the
// old one until that level is back.
func (c *Cache[K, V]) Set(ctx context.Context, key K, v V) error {
	_, err := c.Update(ctx, key, func(V, bool) (V, bool) { return v, true })
	return err
}

// Update is Set of a value that depends on the present one: change is given that, with known, or
// the zero value if there is none, and says whether its result is to be stored. If the value has
// changed meanwhile it is called again. Update returns the value that is there afterwards. The
// source is not written to, and not asked; two processes that update one key at once do not see
// each other.
func (c *Cache[K, V]) Update(ctx context.Context, key K, change func(old V, known bool) (v V, store bool)) (V, error) {
	if key != key { //nolint:staticcheck // NaN.
		var zero V
		return zero, ErrBadKey
	}
	v, stored, err := c.items.Update(key, change)
	if err != nil || !stored {
		return v, err
	}
	return v, c.fetch.Level.Replace(ctx, key, c.items.Latest)
}

// Delete deletes an item and reports whether there was one. A refresh or a load of it under way
// does not bring it back. With a second level the value is deleted there too, for at most
// StoreTimeout, and no call of another process that began before brings it back; if that level is
// down it is told when it is back, see [Cache.DeleteContext].
func (c *Cache[K, V]) Delete(key K) bool {
	found := c.items.Delete(key)
	c.fetch.Level.ForgetAnyway(key)
	return found
}

// DeleteContext is Delete with a context for the second level, and an error if that could not be
// told. Then the cache does not take the value from there, and tells it as soon as it can, before
// it reads from it again; other processes may take the old value until then.
func (c *Cache[K, V]) DeleteContext(ctx context.Context, key K) (bool, error) {
	return c.items.Delete(key), c.fetch.Level.Forget(ctx, key)
}
