package testutil

import (
	"container/list"
	"strconv"
	"sync"
	"time"
)

const (
	// itemOverhead is what memcached adds to key and value of each item.
	itemOverhead = 48 + 8 + 1 + 2
	// relativeLimit is the greatest expiry in seconds that counts from now; greater ones are Unix
	// times.
	relativeLimit = 30 * 24 * 60 * 60
)

// item is one stored value.
type item struct {
	key     string
	flags   uint32
	value   []byte
	cas     uint64
	expires time.Time // zero: never
	stored  time.Time
}

func (i *item) size() int64 { return int64(itemOverhead + len(i.key) + len(i.value)) }

// store holds the items of one life of a Fake, bounded in bytes; the least recently used item goes
// first.
type store struct {
	maxBytes int64
	maxItem  int64

	mu        sync.Mutex
	items     map[string]*list.Element // guarded by mu; the elements hold *item
	recent    *list.List               // guarded by mu; most recently used first
	bytes     int64                    // guarded by mu
	lastCAS   uint64                   // guarded by mu
	flushAt   time.Time                // guarded by mu; items stored before are dead from then on
	evictions uint64                   // guarded by mu
}

func newStore(o FakeOptions) *store {
	return &store{
		maxBytes: int64(o.MaxBytes), maxItem: int64(o.MaxItemSize),
		items: make(map[string]*list.Element), recent: list.New(),
	}
}

// expiry turns a protocol expiry into a time; zero means never.
func expiry(seconds int64, now time.Time) time.Time {
	switch {
	case seconds == 0:
		return time.Time{}
	case seconds < 0:
		return now
	case seconds > relativeLimit:
		return time.Unix(seconds, 0)
	default:
		return now.Add(time.Duration(seconds) * time.Second)
	}
}

// getLocked returns the living item under key, or nil.
func (s *store) getLocked(key string, now time.Time) *item {
	element := s.items[key]
	if element == nil {
		return nil
	}
	found := element.Value.(*item)
	expired := !found.expires.IsZero() && !found.expires.After(now)
	flushed := !s.flushAt.IsZero() && !s.flushAt.After(now) && found.stored.Before(s.flushAt)
	if expired || flushed {
		s.removeLocked(key)
		return nil
	}
	s.recent.MoveToFront(element)
	return found
}

// putLocked stores value under a fresh cas id and evicts others if that takes too much memory.
func (s *store) putLocked(fresh item, now time.Time) {
	s.removeLocked(fresh.key)
	s.lastCAS++
	fresh.cas, fresh.stored = s.lastCAS, now
	s.items[fresh.key] = s.recent.PushFront(&fresh)
	s.bytes += fresh.size()
	for s.bytes > s.maxBytes && s.recent.Len() > 1 {
		s.removeLocked(s.recent.Back().Value.(*item).key)
		s.evictions++
	}
}

// removeLocked deletes key and reports whether it was there, dead or alive.
func (s *store) removeLocked(key string) bool {
	element := s.items[key]
	if element == nil {
		return false
	}
	s.recent.Remove(element)
	delete(s.items, key)
	s.bytes -= element.Value.(*item).size()
	return true
}

// remove deletes key and reports whether it was there and alive.
func (s *store) remove(key string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.getLocked(key, now) != nil && s.removeLocked(key)
}

// flush makes all items stored before that time die then.
func (s *store) flush(at, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastCAS++ // memcached takes an id as well
	if at.After(now) {
		s.flushAt = at
		return
	}
	s.flushAt = time.Time{}
	s.bytes = 0
	s.recent.Init()
	clear(s.items)
}

// touch gives key a new expiry and reports whether it was there.
func (s *store) touch(key string, expires, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.getLocked(key, now)
	if found == nil {
		return false
	}
	found.expires = expires
	return true
}

// get returns a copy of the item under key. With touch it also gives it a new expiry.
func (s *store) get(key string, now time.Time, touch func(*item)) (item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.getLocked(key, now)
	if found == nil {
		return item{}, false
	}
	if touch != nil {
		touch(found)
	}
	return *found, true
}

// save runs one of set, add, replace, append, prepend and cas, and returns the reply line.
func (s *store) save(verb string, fresh item, cas uint64, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.getLocked(fresh.key, now)
	switch {
	case verb == "cas" && old == nil:
		return replyNotFound
	case verb == "cas" && old.cas != cas:
		return replyExists
	case verb == "add" && old != nil, verb != "add" && verb != "set" && old == nil:
		return replyNotStored
	case verb == "append":
		fresh = old.with(concat(old.value, fresh.value))
	case verb == "prepend":
		fresh = old.with(concat(fresh.value, old.value))
	}
	if fresh.size() > s.maxItem {
		return replyNotStored // grown too large by append or prepend
	}
	s.putLocked(fresh, now)
	return replyStored
}

// with returns a copy of i that holds value.
func (i *item) with(value []byte) item {
	changed := *i
	changed.value = value
	return changed
}

func concat(a, b []byte) []byte { return append(append(make([]byte, 0, len(a)+len(b)), a...), b...) }

// count adds delta to the number under key, or takes it off with verb decr, and returns the reply
// line. A shorter result is filled up with spaces to the old length, as memcached does.
func (s *store) count(verb, key string, delta uint64, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.getLocked(key, now)
	if old == nil {
		return replyNotFound
	}
	number, ok := parseCounter(old.value)
	switch {
	case !ok:
		return replyNotNumeric
	case verb == "incr":
		number += delta
	case delta > number:
		number = 0
	default:
		number -= delta
	}
	text := strconv.FormatUint(number, 10)
	value := []byte(text)
	for len(value) < len(old.value) {
		value = append(value, ' ')
	}
	s.putLocked(old.with(value), now)
	return text
}

// storeStats are the figures of the stats command about the items.
type storeStats struct {
	items     int
	bytes     int64
	evictions uint64
}

func (s *store) stats() storeStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return storeStats{items: len(s.items), bytes: s.bytes, evictions: s.evictions}
}
