package timetable

import (
	"container/heap"
	"math/rand/v2"
	"slices"
)

// schedule makes an entry due at a time.
func (t *Table[K, V]) schedule(e *Entry[K, V], due int64) {
	e.due = due
	at := t.lookAt(e)
	if at == Never {
		e.place = placeIdle
		return
	}
	if t.isNoted(e) {
		e.place = placeNoted
		t.note(e, due)
	} else {
		e.place = placeWaiting
		t.wheel.add(e, at)
		t.groups.note(e.group, int(e.slots[bySchedule]))
	}
	t.WakeBy(at)
}

// unschedule takes an entry out of where it waits.
func (t *Table[K, V]) unschedule(e *Entry[K, V]) {
	switch e.place {
	case placeWaiting:
		t.wheel.remove(e)
	case placeReady:
		t.ready.remove(e, bySchedule)
	case placeUrgent:
		t.urgent.remove(e, bySchedule)
	case placeNoted:
		t.noted--
	default:
		return
	}
	e.place = placeIdle
}

// makeReady puts an entry that is in no list among those that are due.
func (t *Table[K, V]) makeReady(e *Entry[K, V]) {
	e.place = placeReady
	t.ready.push(e, bySchedule)
}

// watchAge has an entry marked when its MaxStale passes.
func (t *Table[K, V]) watchAge(e *Entry[K, V]) {
	if t.rules.MaxStale > 0 {
		t.ages.add(e, t.staleAt(e))
		t.WakeBy(t.staleAt(e))
	}
}

func (t *Table[K, V]) staleAt(e *Entry[K, V]) int64 {
	return e.loadedAt.Load() + int64(t.rules.MaxStale)
}

// WakeBy has Turn called at a time at the latest.
func (t *Table[K, V]) WakeBy(at int64) {
	if at < t.wakeAt {
		t.wakeAt = at
		t.wake()
	}
}

// spare is how many appointments the agenda may have that are not kept, beside as many as are.
const spare = 64

// note makes an appointment with an entry, and forgets those that are not kept before they are
// most: entries that have left must not be held until they would have been due.
func (t *Table[K, V]) note(e *Entry[K, V], at int64) {
	t.agenda.keep(e, at)
	t.noted++
	if len(t.agenda) > 2*t.noted+spare {
		t.agenda = slices.DeleteFunc(t.agenda, func(a appointment[K, V]) bool { return !a.isKept() })
		heap.Init(&t.agenda)
	}
}

// lookAt is when an entry that waits has to be looked at: when it is due, or may be idle.
func (t *Table[K, V]) lookAt(e *Entry[K, V]) int64 {
	if t.rules.IdleFor == 0 || e.Has(Absent) || t.isNoted(e) {
		return e.due
	}
	return min(e.due, e.readAt+int64(t.rules.IdleFor))
}

// spread returns a random time within a window. Of two it takes the one when less is due.
func (t *Table[K, V]) spread(now, window int64) int64 {
	return t.calmer(now+rand.Int64N(window)+1, now+rand.Int64N(window)+1)
}

func (t *Table[K, V]) calmer(a, b int64) int64 {
	if t.wheel.slots[t.wheel.slotOf(b)].n < t.wheel.slots[t.wheel.slotOf(a)].n {
		return b
	}
	return a
}

// When a new entry is due for the first time.
const (
	FirstSpread      = iota // at a random moment of its period
	FirstImmediate          // now
	FirstAfterPeriod        // a period later
)

// round is over how long many refreshes are spread that could begin at once. They come again after
// nine tenths of a period at the earliest: were the round longer, its end would meet the beginning
// of the next.
func (t *Table[K, V]) round() int64 { return int64(t.rules.Period) - int64(t.rules.Period)/10 }

// nextDue is when an entry is due again whose value was got at a time: luck, from 0 to 1, makes it
// up to 10 % early.
func (t *Table[K, V]) nextDue(e *Entry[K, V], loadedAt int64, luck float64) int64 {
	period := t.periodOf(e)
	return t.inTime(e, loadedAt+period-int64(luck*float64(period)/10), luck)
}

// periodOf is an entry's own period.
func (t *Table[K, V]) periodOf(e *Entry[K, V]) int64 {
	if t.rules.MaxPeriod == 0 {
		return int64(t.rules.Period)
	}
	base := int64(t.rules.Period)
	if e.every&shrunk != 0 {
		base = int64(t.rules.MinPeriod)
	}
	return min(base<<(e.every&^shrunk), int64(t.rules.MaxPeriod))
}

// FirstDue is when a new entry is refreshed first.
func (t *Table[K, V]) FirstDue(e *Entry[K, V], now int64) int64 {
	switch t.rules.First {
	case FirstImmediate:
		return now
	case FirstAfterPeriod:
		return t.nextDue(e, now, rand.Float64())
	default:
		return t.spread(now, t.round())
	}
}

// FirstDueLoaded is when an entry is refreshed first that was loaded just now. A loaded value is as
// fresh as can be: with FirstSpread its turn comes in the second half of its period.
func (t *Table[K, V]) FirstDueLoaded(e *Entry[K, V], now int64) int64 {
	if t.rules.First != FirstSpread {
		return t.FirstDueAdopted(e, now)
	}
	half := int64(t.rules.Period) / 2
	due := t.inTime(e, t.spread(e.LoadedAt()+half, max(half-t.wheel.tick, 1)), rand.Float64())
	return max(due, now+t.grain(e))
}

// FirstDueAdopted is when an entry is refreshed first whose value somebody else has loaded.
func (t *Table[K, V]) FirstDueAdopted(e *Entry[K, V], now int64) int64 {
	return max(t.nextDue(e, e.LoadedAt(), rand.Float64()), now+t.grain(e))
}
