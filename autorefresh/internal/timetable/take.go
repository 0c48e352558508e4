package timetable

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Taking is how entries are to be taken for a call.
type Taking[K comparable] struct {
	UrgentOnly bool
	// Busy reports whether a call for a key is under way which is not a refresh; nil if there is
	// none.
	Busy func(K) bool
}

// Take adds entries for one call to a list: those that are due and, if there is room, those that
// will be due next, because a call that has to be made is made for as many entries as it can carry.
// In an outage it takes one.
func (t *Table[K, V]) Take(to []*Entry[K, V], how Taking[K], now int64) []*Entry[K, V] {
	size := t.rules.BatchSize
	if t.outage.active() {
		size = 1
		t.chooseTrial()
	}
	to = t.pull(to, how.Busy, &t.urgent, size, now)
	if !how.UrgentOnly {
		to = t.pull(to, how.Busy, &t.ready, size, now)
	}
	if len(to) == 0 {
		return to
	}
	return t.fill(to, how.Busy, size, now)
}

// pull adds due entries, in their order: of the group of the first, if calls are grouped. Those of
// a group are due together, so that the others of it are near.
func (t *Table[K, V]) pull(to []*Entry[K, V], busy func(K) bool, due *chain[K, V], size int, now int64) []*Entry[K, V] {
	passed := 0
	for e := due.head; e != nil && len(to) < size && passed < t.visits(size); {
		next := e.links[bySchedule].next
		if t.mayJoin(to, e) {
			due.remove(e, bySchedule)
			to = t.seize(to, busy, e, now)
		} else {
			passed++
		}
		e = next
	}
	return to
}

// mayJoin reports whether an entry may be in a call with those there are.
func (t *Table[K, V]) mayJoin(to []*Entry[K, V], e *Entry[K, V]) bool {
	return !t.rules.Grouped || len(to) == 0 || to[0].group == e.group
}

// mostPassed bounds how many entries a call passes over that are of other groups: the cache is
// locked meanwhile.
const mostPassed = 4096

// visits bounds how many entries are looked at for one call: some may not leave early, others are
// of other groups.
func (t *Table[K, V]) visits(size int) int {
	if t.rules.Grouped {
		return min(64*size, size+mostPassed)
	}
	return 4 * size
}

// trialLook bounds how many entries are looked at for one that a trial may go well with.
const trialLook = 4096

// chooseTrial brings to the front of the due entries one for which the source had an answer the
// last time or, where there is none, any: were they taken in order, keys that always fail would
// keep a source down for as long as it takes to try each of them.
func (t *Table[K, V]) chooseTrial() {
	if t.ready.n < 2 {
		return
	}
	t.ready.rotate(rand.IntN(min(t.ready.n, trialLook)), bySchedule)
	e := t.ready.head
	for n := 0; e != nil && n < trialLook; n++ {
		if e.IsProven() {
			t.ready.remove(e, bySchedule)
			t.ready.unshift(e, bySchedule)
			return
		}
		e = e.links[bySchedule].next
	}
}

// fill adds to a call the entries due next: those due within a period, if the call has one whose
// own period has passed; else, as such calls come at any time and however often, those due within a
// tenth of it.
func (t *Table[K, V]) fill(to []*Entry[K, V], busy func(K) bool, size int, now int64) []*Entry[K, V] {
	ahead := int64(t.rules.Period)
	if !slices.ContainsFunc(to, (*Entry[K, V]).onSchedule) {
		ahead /= 10
	}
	for _, e := range to {
		e.Clear(Hurried)
	}
	used, group := t.wheel.used, to[0].group
	if group != 0 {
		used = t.groups.slotsOf(group)
	}
	visits := t.visits(size)
	for at, ok := t.wheel.nextOf(used, t.wheel.cursor+1); ok && len(to) < size && visits > 0; at, ok = t.wheel.nextOf(used, at+1) {
		left := false // one of them stays there
		for e := t.wheel.slots[at%wheelSlots].head; e != nil; visits-- {
			if len(to) >= size || visits <= 0 {
				left = true
				break
			}
			next := e.links[bySchedule].next
			switch mine := t.mayJoin(to, e); {
			case mine && t.mayLeaveEarly(e, now, ahead):
				t.wheel.remove(e)
				to = t.seize(to, busy, e, now)
			case mine:
				left = true
			}
			e = next
		}
		if group != 0 && !left {
			t.groups.clear(group, int(at%wheelSlots))
		}
	}
	return to
}

// mayLeaveEarly reports whether an entry may fill up a call although it is due only after a while.
func (t *Table[K, V]) mayLeaveEarly(e *Entry[K, V], now, ahead int64) bool {
	switch {
	case t.rules.MaxPeriod > 0:
		ahead = t.periodOf(e) / 10
	case e.failures > 0:
		ahead = min(ahead, int64(t.rules.Period)/10)
	}
	return e.refreshed() && e.due-now <= ahead && (t.rules.HotFor == 0 || !e.Has(Unread))
}

// seize takes an entry for a call, unless a call for its key is under way: then it has to wait.
func (t *Table[K, V]) seize(to []*Entry[K, V], busy func(K) bool, e *Entry[K, V], now int64) []*Entry[K, V] {
	if busy != nil && busy(e.Key) {
		e.Set(Hurried)
		t.schedule(e, now+max(t.wheel.tick, int64(t.rules.Period)/16))
		return to
	}
	e.place = placeFlying
	return append(to, e)
}

// Land ends the flight of an entry: its call is over, and one of the methods below says what became
// of it, unless it is dead. It reports whether the entry was invalidated meanwhile.
func (t *Table[K, V]) Land(e *Entry[K, V]) (doubted bool) {
	e.place = placeIdle
	doubted = e.Has(Doubted)
	e.Clear(Doubted)
	return doubted
}

// Postpone puts an entry for which the source was not asked at the end of the line.
func (t *Table[K, V]) Postpone(e *Entry[K, V]) { t.makeReady(e) }

// LookAgain has an entry looked at soon that another process is refreshing.
func (t *Table[K, V]) LookAgain(e *Entry[K, V], now int64) {
	e.Set(Hurried)
	t.schedule(e, now+int64(t.LookAfter()))
}

// LookAfter is after what time a value is looked for once more that another process is getting.
func (t *Table[K, V]) LookAfter() time.Duration {
	return time.Duration(max(min(int64(t.rules.Timeout)/8, int64(t.rules.Period)/16), t.wheel.tick))
}
