// Package timetable says when which entry of a cache is due: it has their places, their periods and
// their failures. Nothing in it waits, locks or looks at a clock. It is not safe for concurrent
// use, but for what reads of an entry need.
package timetable

import "sync/atomic"

// Flags of an entry. Reads look at them.
const (
	Unread    uint32 = 1 << iota // not read since the schedule last looked
	Cold                         // not refreshed until read
	Stale                        // older than MaxStale
	Absent                       // a negative entry: the source has no such value
	Terminal                     // final
	Watched                      // someone waits for its next outcome
	Forced                       // to be got from the source, whatever the second level has
	Hurried                      // due before its time
	Unproven                     // no refresh of it has succeeded yet
	Overtaken                    // it was given a value while a call for it was under way, whose result is not wanted
	Leaving                      // it is about to be dropped, as the source has said that it is gone; or with Idle
	Idle                         // nobody has read it for IdleFor
	Expired                      // it was final, and its time is over
	Crowded                      // it makes room for another
	Doubted                      // it was invalidated while a call for it was under way, whose result is not final
	Bounded                      // its value has an end, see Table.End
)

// place is where an entry is in its life.
type place uint8

const (
	placeIdle    place = iota // not scheduled
	placeWaiting              // in the wheel
	placeNoted                // in the agenda
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

type link[K comparable, V any] struct{ prev, next *Entry[K, V] }

// Entry is one item. Its value is swapped by refreshes, which therefore never touch the storage.
// Times are nanoseconds since the cache was made. The fields are ordered and sized to keep it
// small: there may be millions.
type Entry[K comparable, V any] struct {
	// Value and Flags are what reads need. They may be read at any time.
	Value    atomic.Pointer[V]
	Flags    atomic.Uint32
	slots    [linkKinds]uint16
	loadedAt atomic.Int64 // when the call began that gave the value
	Key      K

	// All below belongs to the table.
	place    place
	failures uint8  // in a row
	life     life   // what else is known of it
	every    steps  // its own period, if periods are adaptive
	group    uint32 // whom it may be called for with, if calls are grouped
	links    [linkKinds]link[K, V]
	due      int64
	readAt   int64 // when the table last saw that it had been read
}

// Has reports whether an entry has any of some flags.
func (e *Entry[K, V]) Has(flags uint32) bool { return e.Flags.Load()&flags != 0 }

// Set sets flags.
func (e *Entry[K, V]) Set(flags uint32) { e.Flags.Or(flags) }

// Clear clears flags.
func (e *Entry[K, V]) Clear(flags uint32) { e.Flags.And(^flags) }

// LoadedAt is when the call began that gave the value. It may be asked at any time.
func (e *Entry[K, V]) LoadedAt() int64 { return e.loadedAt.Load() }

// IsDead reports whether an entry has left the table.
func (e *Entry[K, V]) IsDead() bool { return e.life&dead != 0 }

// life is the state of an entry beside its place.
type life uint8

const (
	dead  life = 1 << iota // no longer in the table
	again                  // to be refreshed once more when the present call ends
)

// steps are an entry's own period: that of all, or with the bit shrunk the shortest, doubled so
// many times.
type steps uint8

const shrunk steps = 1 << 7

// IsFlying reports whether an entry is being refreshed.
func (e *Entry[K, V]) IsFlying() bool { return e.place == placeFlying }

// Lateness is how long an entry has been due.
func (e *Entry[K, V]) Lateness(now int64) int64 { return max(now-e.due, 0) }

// IsProven reports whether the source had an answer for an entry the last time.
func (e *Entry[K, V]) IsProven() bool { return e.failures == 0 && !e.Has(Unproven) }

// IsFresh reports whether the source has not been asked for an entry before.
func (e *Entry[K, V]) IsFresh() bool { return e.failures == 0 && e.Has(Unproven) }

// refreshed reports whether the entry is one that refreshes are for.
func (e *Entry[K, V]) refreshed() bool { return !e.Has(Absent | Terminal) }

// onSchedule reports whether an entry is due because its period has passed: it comes again a period
// later, behind all others.
func (e *Entry[K, V]) onSchedule() bool { return e.failures == 0 && !e.Has(Hurried|Unproven) }

// chain is a list of entries through one kind of their links.
type chain[K comparable, V any] struct {
	head, tail *Entry[K, V]
	n          int
}

func (c *chain[K, V]) push(e *Entry[K, V], kind int) {
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
func (c *chain[K, V]) unshift(e *Entry[K, V], kind int) {
	e.links[kind] = link[K, V]{next: c.head}
	if c.head == nil {
		c.tail = e
	} else {
		c.head.links[kind].prev = e
	}
	c.head = e
	c.n++
}

func (c *chain[K, V]) remove(e *Entry[K, V], kind int) {
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

func (c *chain[K, V]) pop(kind int) *Entry[K, V] {
	e := c.head
	if e != nil {
		c.remove(e, kind)
	}
	return e
}

// rotate moves the first entries to the end.
func (c *chain[K, V]) rotate(first, kind int) {
	if first <= 0 || first >= c.n {
		return
	}
	head := c.head
	for range first {
		head = head.links[kind].next
	}
	end := head.links[kind].prev
	c.tail.links[kind].next, c.head.links[kind].prev = c.head, c.tail
	end.links[kind].next, head.links[kind].prev = nil, nil
	c.head, c.tail = head, end
}

// Change says whether a value that a call has got is another one.
type Change uint8

// Value is the result of a call.
type Value[V any] struct {
	Value    *V // nil if the present one is good
	LoadedAt int64
	Change   Change
	Luck     float64 // from 0 to 1, the same for entries that are to stay together
	End      int64   // when it ends, 0 if it does not; of the present one, 0 if that stays as it is
}
