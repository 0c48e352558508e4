// Package lru is a cache that drops the least recently used values, with the API of
// github.com/mailgun/groupcache/v2/lru. The groups of this module do not use it.
package lru

import "time"

// NowFunc is a clock.
type NowFunc func() time.Time

// Key is what a value is found by. Its dynamic type must be comparable.
type Key interface{}

// Cache keeps values by key. Its zero value is ready for use and has no limit. It is not safe for
// concurrent use.
type Cache struct {
	// MaxEntries is how many entries are kept; one more drops the one that was used least recently.
	// 0 means no limit.
	MaxEntries int
	// OnEvicted, if not nil, is called with each value that leaves the cache, be it dropped,
	// removed, expired, cleared or replaced by another under its key.
	OnEvicted func(key Key, value interface{})
	// Now is the clock that expiries are compared with; nil means time.Now.
	Now NowFunc

	entries map[Key]*entry
	root    entry // of a ring: its next was used last and its prev least recently
}

type entry struct {
	next, prev *entry
	key        Key
	value      interface{}
	expire     time.Time
}

// New returns a cache of at most maxEntries, or without limit if that is 0.
func New(maxEntries int) *Cache {
	return &Cache{MaxEntries: maxEntries, Now: time.Now}
}

// Add stores a value, which counts as a use. It expires after the time expire, or never if that is
// zero.
func (c *Cache) Add(key Key, value interface{}, expire time.Time) {
	if e, ok := c.entries[key]; ok {
		old := e.value
		e.value, e.expire = value, expire
		c.unlink(e)
		c.link(e)
		c.evicted(key, old)
		return
	}
	if c.entries == nil {
		c.entries = map[Key]*entry{}
		c.root.next, c.root.prev = &c.root, &c.root
	}
	e := &entry{key: key, value: value, expire: expire}
	c.entries[key] = e
	c.link(e)
	if c.MaxEntries != 0 && len(c.entries) > c.MaxEntries {
		c.RemoveOldest()
	}
}

// link puts an entry where the last used one is.
func (c *Cache) link(e *entry) {
	e.prev, e.next = &c.root, c.root.next
	e.prev.next, e.next.prev = e, e
}

func (c *Cache) unlink(e *entry) { e.prev.next, e.next.prev = e.next, e.prev }

// Get returns the value of a key, unless it has expired: then it is removed.
func (c *Cache) Get(key Key) (value interface{}, ok bool) {
	e, ok := c.entries[key]
	if !ok {
		return nil, false
	}
	if !e.expire.IsZero() && e.expire.Before(c.now()) {
		c.remove(e)
		return nil, false
	}
	c.unlink(e)
	c.link(e)
	return e.value, true
}

func (c *Cache) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// Remove removes a key, if it is there.
func (c *Cache) Remove(key Key) {
	if e, ok := c.entries[key]; ok {
		c.remove(e)
	}
}

// RemoveOldest removes the key that was used least recently, if there is any.
func (c *Cache) RemoveOldest() {
	if len(c.entries) > 0 {
		c.remove(c.root.prev)
	}
}

func (c *Cache) remove(e *entry) {
	c.unlink(e)
	delete(c.entries, e.key)
	c.evicted(e.key, e.value)
}

func (c *Cache) evicted(key Key, value interface{}) {
	if c.OnEvicted != nil {
		c.OnEvicted(key, value)
	}
}

// Len returns how many entries there are, the expired among them.
func (c *Cache) Len() int { return len(c.entries) }

// Clear removes all keys.
func (c *Cache) Clear() {
	all := c.entries
	c.entries = nil
	for key, e := range all {
		c.evicted(key, e.value)
	}
}
