package autorefresh

import (
	"context"
	"math"

	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

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
	for {
		var old V
		e, known := c.storage.peek(key)
		known = known && !e.Has(timetable.Absent)
		var was *V
		if known {
			was = e.Value.Load()
			old = *was
		}
		v, store := change(old, known)
		if !store {
			return old, nil
		}
		now := c.now()
		var done bool
		var err error
		switch {
		case known && e.Has(timetable.Leaving):
			c.storage.drop(e) // what is stored now is to stay
		case known && !e.Has(timetable.Terminal):
			done, err = c.overtake(e, was, &v, now)
		default:
			done, err = c.create(key, e, &v, now)
		}
		switch {
		case err != nil:
			return old, err
		case done:
			if known {
				c.storage.reweigh(e)
			}
			return v, c.fetch.Level.Replace(ctx, key, c.latest)
		}
	}
}

// overtake gives an entry a value, unless it has another one than it was.
func (c *Cache[K, V]) overtake(e *timetable.Entry[K, V], was, v *V, now int64) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.life.closed.Load():
		return false, ErrClosed
	case e.IsDead() || e.Has(timetable.Terminal|timetable.Leaving) || e.Value.Load() != was:
		return false, nil
	}
	c.table.Overtake(e, timetable.Value[V]{Value: v, LoadedAt: now}, now)
	c.loads.OvertakeLocked(e.Key, *v)
	c.waiters.noteLocked(e, note{started: math.MinInt64}) // it says nothing of the source
	c.teller.emit(Event[K]{Kind: Updated, Key: e.Key})
	return true, nil
}

// create makes an entry with a value, in place of one that is negative or final, or of none.
func (c *Cache[K, V]) create(key K, old *timetable.Entry[K, V], v *V, now int64) (done bool, err error) {
	e := c.table.NewEntry(key, v, now)
	e.Set(timetable.Unproven)
	there, err := c.supplant(e, old, func() int64 {
		c.loads.OvertakeLocked(key, *v)
		return c.table.FirstDueLoaded(e, now)
	}, nil)
	return there == e, err
}

// latest is the value of a key in memory, without one if there is none.
func (c *Cache[K, V]) latest(key K) level.Stored[K, V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.storage.peek(key)
	if !ok || e.Has(timetable.Absent) {
		return level.Stored[K, V]{Key: key}
	}
	end, _ := c.table.End(e)
	return level.Stored[K, V]{Key: key, Value: e.Value.Load(), LoadedAt: e.LoadedAt(), Terminal: e.Has(timetable.Terminal), End: end}
}
