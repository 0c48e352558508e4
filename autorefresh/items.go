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
	if e, ok := c.storage.get(key); ok && !e.Has(timetable.Absent) && !c.life.closed.Load() {
		c.look(e)
		return *e.Value.Load(), false, nil
	}
	if key != key { //nolint:staticcheck // NaN.
		var zero V
		return zero, false, ErrBadKey
	}
	now := c.now()
	e := c.table.NewEntry(key, &v, now)
	e.Set(timetable.Unproven)
	there, err := c.insert(e, func() int64 { return c.table.FirstDue(e, now) }, nil)
	if err != nil {
		var zero V
		return zero, false, err
	}
	return *there.Value.Load(), there == e, nil
}

// insert stores an entry, due when the function says, which is called under mu; unless the key has
// one already, or veto, called under mu, says no. It returns the key's entry, nil after a veto.
func (c *Cache[K, V]) insert(e *timetable.Entry[K, V], due func() int64, veto func() bool) (*timetable.Entry[K, V], error) {
	return c.supplant(e, nil, due, veto)
}

// supplant is insert, but for an entry that it may take the place of.
func (c *Cache[K, V]) supplant(e, old *timetable.Entry[K, V], due func() int64, veto func() bool) (*timetable.Entry[K, V], error) {
	c.makeRoom(e)
	group := c.groupOf(e.Key)
	var err error
	there := c.storage.put(e, func(there *timetable.Entry[K, V]) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.life.closed.Load():
			err = ErrClosed
		case veto != nil && veto():
		case there != nil && there != old && (!there.Has(timetable.Absent) || e.Has(timetable.Absent)):
		case there == nil && c.isFullForLocked(e):
			err = ErrFull
		default:
			c.table.Join(e, group)
			c.table.Enter(e, due(), c.now())
			return true
		}
		return false
	})
	if there == e {
		c.fetch.Level.Meet(e.Key)
	}
	c.trim(e)
	return there, err
}

// isFullForLocked reports whether there is no room for an entry. Negative entries give theirs to
// others.
func (c *Cache[K, V]) isFullForLocked(e *timetable.Entry[K, V]) bool {
	n := c.table.Census().Items
	if !e.Has(timetable.Absent) {
		n -= c.table.Census().Absent
	}
	return c.opts.Overflow == Reject && c.opts.MaxItems > 0 && n >= c.opts.MaxItems
}

// trim keeps the bound when an entry has come.
func (c *Cache[K, V]) trim(e *timetable.Entry[K, V]) {
	if c.opts.MaxItems == 0 {
		return
	}
	for over := c.isOver(); over; over = c.isOver() {
		if c.opts.Overflow == Evict {
			c.storage.trim()
			return
		}
		c.makeRoom(e) // several have come at once, and one negative entry has made room for all of them
	}
}

// isOver reports whether there are more entries than there may be.
func (c *Cache[K, V]) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table.Census().Items > c.opts.MaxItems && (c.opts.Overflow == Evict || c.table.Absent() != nil)
}

// makeRoom deletes an entry of those that are worth least if the cache is full: a negative one or,
// if it evicts, a terminal one. Which entry a negative one evicts is for the storage to say.
func (c *Cache[K, V]) makeRoom(e *timetable.Entry[K, V]) {
	if c.opts.MaxItems == 0 || c.opts.Overflow == Evict && e.Has(timetable.Absent) {
		return
	}
	c.mu.Lock()
	var victim *timetable.Entry[K, V]
	if c.table.Census().Items >= c.opts.MaxItems {
		victim = c.table.Absent()
		if victim == nil && c.opts.Overflow == Evict {
			victim = c.table.Final()
		}
	}
	c.mu.Unlock()
	if victim == nil {
		return
	}
	if !victim.Has(timetable.Absent) {
		victim.Set(timetable.Crowded)
	}
	c.storage.drop(victim)
}

// Delete deletes an item and reports whether there was one. A refresh or a load of it under way
// does not bring it back. With a second level the value is deleted there too, for at most
// StoreTimeout, and no call of another process that began before brings it back; if that level is
// down it is told when it is back, see [Cache.DeleteContext].
func (c *Cache[K, V]) Delete(key K) bool {
	found := c.detach(key)
	c.fetch.Level.ForgetAnyway(key)
	return found
}

// DeleteContext is Delete with a context for the second level, and an error if that could not be
// told. Then the cache does not take the value from there, and tells it as soon as it can, before
// it reads from it again; other processes may take the old value until then.
func (c *Cache[K, V]) DeleteContext(ctx context.Context, key K) (bool, error) {
	return c.detach(key), c.fetch.Level.Forget(ctx, key)
}

// detach deletes an item from memory and reports whether there was one.
func (c *Cache[K, V]) detach(key K) bool {
	c.mu.Lock()
	c.loads.ForgetLocked(key)
	c.mu.Unlock()
	e, ok := c.storage.delete(key)
	return ok && !e.Has(timetable.Absent)
}

// removed takes an entry out of the timetable that leaves the storage, for good.
func (c *Cache[K, V]) removed(e *timetable.Entry[K, V], how exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table.Leave(e)
	if e.IsFlying() {
		c.loads.OrphanLocked(e.Key, c.crew.callOfLocked(e))
	}
	c.waiters.noteLocked(e, note{err: ErrNotFound, started: timetable.Never})
	cause := causeOf(e, how)
	switch cause {
	case CauseEvicted:
		c.meter.evictions++
		c.teller.emit(Event[K]{Kind: Evicted, Key: e.Key})
	case CauseIdle:
		c.meter.idle++
	default:
	}
	if how != replaced && !e.Has(timetable.Absent) {
		c.teller.emitRemoval(Removal[K, V]{Key: e.Key, Value: *e.Value.Load(), Cause: cause})
	}
}
