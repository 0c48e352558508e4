package autorefresh

import "sync/atomic"

// Flags of an entry that reads look at.
const (
	flagUnread   uint32 = 1 << iota // not read since the schedule last looked
	flagCold                        // not refreshed until read
	flagStale                       // older than MaxStale
	flagAbsent                      // a negative entry: the source has no such value
	flagTerminal                    // final
	flagWatched                     // someone waits for its next outcome
	flagForced                      // to be got from the source, whatever the second level has
	flagHurried                     // due before its time
	flagNew                         // no refresh of it has succeeded yet
)

// place is where an entry is in its life.
type place uint8

const (
	placeIdle    place = iota // not scheduled
	placeWaiting              // in the wheel
	placeReady                // due, not yet taken
	placeUrgent               // as placeReady, and a call under way waits for it
	placeFlying               // being refreshed
)

// Which of an entry's links a list uses.
const (
	bySchedule = iota // the wheel or the ready list
	byAge             // the wheel of MaxStale, or the list of terminal or of negative entries
	linkKinds
)

type link[K comparable, V any] struct{ prev, next *entry[K, V] }

// entry is one item. Its value is swapped by refreshes, which therefore never touch the storage. Times are nanoseconds since the
// cache was made. The fields are ordered and sized to keep it small: there may be millions.
type entry[K comparable, V any] struct {
	// What reads need is side by side.
	value    atomic.Pointer[V]
	flags    atomic.Uint32
	slots    [linkKinds]uint16 // guarded by the cache's mu
	loadedAt atomic.Int64      // when the call began that gave the value
	key      K

	// All below is guarded by the cache's mu.
	place    place
	failures uint8  // in a row
	dead     bool   // no longer in the storage
	again    bool   // to be refreshed once more when the present call ends
	every    uint32 // its own period in ticks, if periods are adaptive
	links    [linkKinds]link[K, V]
	due      int64
	readAt   int64 // when the schedule last saw that it had been read
}

func (e *entry[K, V]) has(flag uint32) bool { return e.flags.Load()&flag != 0 }
func (e *entry[K, V]) set(flag uint32)      { e.flags.Or(flag) }
func (e *entry[K, V]) clear(flag uint32)    { e.flags.And(^flag) }

// refreshed tells whether the entry is one that refreshes are for.
func (e *entry[K, V]) refreshed() bool { return !e.has(flagAbsent | flagTerminal) }

// onSchedule tells whether an entry is due because its period has passed: it comes again a period later, behind all others. The
// caller holds the cache's mu.
func (e *entry[K, V]) onSchedule() bool { return e.failures == 0 && !e.has(flagHurried|flagNew) }

// chain is a list of entries through one kind of their links.
type chain[K comparable, V any] struct {
	head, tail *entry[K, V]
	n          int
}

func (c *chain[K, V]) push(e *entry[K, V], kind int) {
	e.links[kind] = link[K, V]{prev: c.tail}
	if c.tail == nil {
		c.head = e
	} else {
		c.tail.links[kind].next = e
	}
	c.tail = e
	c.n++
}

// unshift is push at the other end.
func (c *chain[K, V]) unshift(e *entry[K, V], kind int) {
	e.links[kind] = link[K, V]{next: c.head}
	if c.head == nil {
		c.tail = e
	} else {
		c.head.links[kind].prev = e
	}
	c.head = e
	c.n++
}

func (c *chain[K, V]) remove(e *entry[K, V], kind int) {
	l := e.links[kind]
	if l.prev == nil {
		c.head = l.next
	} else {
		l.prev.links[kind].next = l.next
	}
	if l.next == nil {
		c.tail = l.prev
	} else {
		l.next.links[kind].prev = l.prev
	}
	e.links[kind] = link[K, V]{}
	c.n--
}

func (c *chain[K, V]) pop(kind int) *entry[K, V] {
	e := c.head
	if e != nil {
		c.remove(e, kind)
	}
	return e
}
