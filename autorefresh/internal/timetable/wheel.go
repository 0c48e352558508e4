package timetable

import (
	"math"
	"math/bits"
	"time"
)

// Never is later than any time.
const Never = math.MaxInt64

const (
	wheelSlots = 1024 // of the wheel of due entries, which are one period
	ageSlots   = 128  // of the wheel of MaxStale
	minTick    = time.Millisecond
)

// notSlotted marks an entry that is in no slot of a wheel.
const notSlotted = ^uint16(0)

// wheel is a ring of slots, each a tick long, that holds entries by the time at which they are due.
// Adding, removing and expiring cost the same however many there are. Entries due more than a
// revolution ahead stay in their slot until their turn.
type wheel[K comparable, V any] struct {
	kind   int
	tick   int64 // nanoseconds
	cursor int64 // the last tick that has expired
	slots  []chain[K, V]
	used   []uint64 // a bit for each slot that is not empty
	n      int
	again  func(e *Entry[K, V]) // is told of entries that stay until a later revolution; nil if nobody is
}

func newWheel[K comparable, V any](kind int, tick int64, slots int) wheel[K, V] {
	return wheel[K, V]{kind: kind, tick: tick, cursor: -1, slots: make([]chain[K, V], slots), used: make([]uint64, (slots+63)/64)}
}

func (w *wheel[K, V]) tickOf(at int64) int64 { return max(at/w.tick, w.cursor+1) }

func (w *wheel[K, V]) slotOf(at int64) int { return int(w.tickOf(at) % int64(len(w.slots))) }

// add puts an entry where its time is. It tells nothing of the time itself: expire asks for it.
func (w *wheel[K, V]) add(e *Entry[K, V], at int64) {
	i := w.slotOf(at)
	w.slots[i].push(e, w.kind)
	w.used[i/64] |= 1 << (i % 64)
	e.slots[w.kind] = uint16(i)
	w.n++
}

func (w *wheel[K, V]) remove(e *Entry[K, V]) {
	i := int(e.slots[w.kind])
	w.slots[i].remove(e, w.kind)
	if w.slots[i].n == 0 {
		w.used[i/64] &^= 1 << (i % 64)
	}
	e.slots[w.kind] = notSlotted
	w.n--
}

// next returns when the first slot that is not empty begins.
func (w *wheel[K, V]) next() (at int64, ok bool) {
	t, ok := w.nextUsed(w.cursor + 1)
	return t * w.tick, ok
}

// nextUsed returns the first tick from t on, within a revolution after the cursor, whose slot is
// not empty.
func (w *wheel[K, V]) nextUsed(t int64) (int64, bool) { return w.nextOf(w.used, t) }

// nextOf is nextUsed for some of the slots, by their bits.
func (w *wheel[K, V]) nextOf(used []uint64, t int64) (int64, bool) {
	if w.n == 0 {
		return 0, false
	}
	size := int64(len(w.slots))
	for end := w.cursor + 1 + size; t < end; {
		i := int(t % size)
		if ahead := used[i/64] >> (i % 64); ahead != 0 {
			t += int64(bits.TrailingZeros64(ahead))
			return t, t < end
		}
		t += min(int64(64-i%64), size-int64(i))
	}
	return 0, false
}

// expire moves the cursor to now and hands out, removed, all entries whose time has come.
func (w *wheel[K, V]) expire(now int64, at func(*Entry[K, V]) int64, out func(*Entry[K, V])) {
	from, to := w.cursor+1, now/w.tick
	if to < from {
		return
	}
	w.cursor = to
	size := int64(len(w.slots))
	for t := max(from, to-size+1); t <= to && w.n > 0; t++ {
		i := int(t % size)
		if w.used[i/64]&(1<<(i%64)) == 0 {
			continue
		}
		due := w.slots[i]
		w.slots[i] = chain[K, V]{}
		w.used[i/64] &^= 1 << (i % 64)
		w.n -= due.n
		for e := due.pop(w.kind); e != nil; e = due.pop(w.kind) {
			e.slots[w.kind] = notSlotted
			if when := at(e); when/w.tick > to {
				w.add(e, when)
				if w.again != nil {
					w.again(e)
				}
				continue
			}
			out(e)
		}
	}
}
