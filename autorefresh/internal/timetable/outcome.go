package timetable

import (
	"math/rand/v2"
	"time"
)

// Whether the value that was got is another one.
const (
	Unknown Change = iota // it is somebody else's
	Changed
	Same
)

// Renew gives an entry its new value, or confirms the old one, and schedules the next refresh.
func (t *Table[K, V]) Renew(e *Entry[K, V], v Value[V], now int64) {
	t.accept(e, v)
	t.adapt(e, v.Change)
	due := t.nextDue(e, v.LoadedAt, v.Luck)
	if t.rules.BatchSize == 1 {
		due = t.calmer(due, t.nextDue(e, v.LoadedAt, rand.Float64()))
	}
	t.schedule(e, max(due, now+t.grain(e)))
	once := e.life&again != 0
	e.life &^= again
	if once {
		t.Hurry(e, now)
	}
}

// Overtake gives an entry a value that comes from elsewhere, and schedules it as if it had been got
// now. The result of a call for it that is under way is not wanted any more.
func (t *Table[K, V]) Overtake(e *Entry[K, V], v Value[V], now int64) {
	if e.failures > 0 {
		t.recover(e)
		e.Set(Unproven) // it is not known whether the source would have an answer now
	}
	e.Value.Store(v.Value)
	t.SetEnd(e, v.End)
	t.rejuvenate(e, v.LoadedAt)
	switch {
	case e.place == placeFlying:
		e.Set(Overtaken)
	case e.Has(Cold | Forced):
	default:
		t.unschedule(e)
		t.schedule(e, max(t.nextDue(e, v.LoadedAt, v.Luck), now+t.grain(e)))
	}
}

// Invalidate has an entry refreshed within a period that would be later, and reports whether it is
// one that is to be refreshed at all. A final one is so no more, one that rests waits for its next
// read.
func (t *Table[K, V]) Invalidate(e *Entry[K, V], now int64) bool {
	switch {
	case e.Has(Absent):
		return false
	case e.Has(Terminal):
		t.reopen(e)
	case e.place == placeFlying:
		e.life |= again
		e.Set(Doubted)
		return true
	case e.Has(Cold) || e.place != placeWaiting && e.place != placeNoted || e.due <= now+t.round():
		return true
	}
	t.unschedule(e)
	t.schedule(e, t.spread(now, t.round()))
	return true
}

// reopen makes a final entry one that is refreshed.
func (t *Table[K, V]) reopen(e *Entry[K, V]) {
	e.Clear(Terminal)
	t.census.Terminal--
	t.finals.remove(e, byAge)
	t.watchAge(e)
}

// Finish gives an entry its last value. It leaves after ttl, unless that is 0.
func (t *Table[K, V]) Finish(e *Entry[K, V], v Value[V], ttl time.Duration, now int64) {
	t.accept(e, v)
	e.life &^= again
	e.Set(Terminal)
	if e.slots[byAge] != notSlotted {
		t.ages.remove(e)
	}
	t.finals.push(e, byAge)
	t.census.Terminal++
	end, bounded := t.End(e)
	if !bounded {
		end = Never
	}
	t.schedule(e, min(Expiry(now, ttl), end))
}

// Conclude is Finish with a value that comes from elsewhere. It reports whether the entry has taken
// it: one that is being called for, or is no such entry, does not.
func (t *Table[K, V]) Conclude(e *Entry[K, V], v Value[V], ttl time.Duration, now int64) bool {
	if e.place == placeFlying || e.Has(Absent|Terminal|Leaving) {
		return false
	}
	t.unschedule(e)
	t.thaw(e, now)
	e.Clear(Hurried | Forced)
	t.Finish(e, v, ttl, now)
	return true
}

// Expiry is when something is over that lasts for ttl, never if that is 0.
func Expiry(now int64, ttl time.Duration) int64 {
	if ttl == 0 {
		return Never
	}
	return now + int64(ttl)
}

// Fail schedules another attempt for an entry. The call may have had a value nevertheless. While
// the source as a whole is failing, nothing is known of the entry: it stays due, at the end of the
// line.
func (t *Table[K, V]) Fail(e *Entry[K, V], v Value[V], now int64) {
	if v.Value != nil {
		e.Value.Store(v.Value)
		t.SetEnd(e, v.End)
		t.rejuvenate(e, v.LoadedAt)
	}
	e.life &^= again
	if t.outage.active() {
		e.due = now
		t.makeReady(e)
		return
	}
	if e.failures == 0 {
		t.census.Failing++
	}
	e.failures = min(e.failures, 254) + 1
	step := int64(t.backoff.Delay(int(e.failures) - 1))
	t.schedule(e, now+t.soon(e, max(rand.Int64N(step+1), t.grain(e)), now))
}

// accept notes the result of a call for an entry.
func (t *Table[K, V]) accept(e *Entry[K, V], v Value[V]) {
	t.recover(e)
	e.Clear(Unproven)
	if v.Value != nil {
		e.Value.Store(v.Value)
	}
	t.rejuvenate(e, v.LoadedAt)
	if v.Value != nil || v.End != 0 { // after the value, lest the old one is served for longer
		t.SetEnd(e, v.End)
	}
}

// rejuvenate notes when the value was got.
func (t *Table[K, V]) rejuvenate(e *Entry[K, V], loadedAt int64) {
	e.loadedAt.Store(loadedAt)
	if e.Has(Stale) {
		e.Clear(Stale)
		t.census.Stale--
		t.watchAge(e)
	}
}

// adapt chooses an entry's own period.
func (t *Table[K, V]) adapt(e *Entry[K, V], c Change) {
	switch {
	case t.rules.MaxPeriod == 0:
	case c == Same && t.periodOf(e) < int64(t.rules.MaxPeriod):
		e.every++
	case c == Changed:
		e.every = shrunk
	}
}
