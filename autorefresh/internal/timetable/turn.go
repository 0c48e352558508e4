package timetable

import "time"

// Turned is what has become of entries whose time has come, but for those that are due now.
type Turned[K comparable, V any] struct {
	Over  []*Entry[K, V] // they have to leave
	Stale []*Entry[K, V] // they have grown older than MaxStale
}

// Turn does what is due at a time.
func (t *Table[K, V]) Turn(now int64) (turned Turned[K, V]) {
	window := t.lag(now)
	come := func(e *Entry[K, V]) {
		switch {
		case !e.refreshed():
			e.place = placeIdle
			turned.Over = append(turned.Over, e)
		case t.rests(e, now):
			e.place = placeIdle
		case window > 0:
			t.schedule(e, max(t.inTime(e, t.spread(now, window), 0), now+1))
		default:
			t.makeReady(e)
		}
	}
	t.wheel.expire(now, dueAt[K, V], come)
	t.agenda.expire(now, come)
	if t.rules.MaxStale > 0 {
		t.ages.expire(now, t.staleAt, func(e *Entry[K, V]) {
			e.Set(Stale)
			t.census.Stale++
			turned.Stale = append(turned.Stale, e)
		})
	}
	return turned
}

func dueAt[K comparable, V any](e *Entry[K, V]) int64 { return e.due }

// lag tells over how long what is overdue has to be spread because the process was suspended: 0 if it was not. A backlog of L
// spread over 2 L raises the rate of refreshes by one half.
func (t *Table[K, V]) lag(now int64) int64 {
	late := now - t.wakeAt
	if t.wakeAt == Never || late < max(int64(t.rules.Period)/8, int64(100*time.Millisecond)) {
		return 0
	}
	return min(2*late, t.round())
}

// NextTurn is when Turn has to be called again: at latest, which is when a call will be found stuck, or Never.
func (t *Table[K, V]) NextTurn(now, latest int64) int64 {
	next := min(latest, t.agenda.next())
	if at, ok := t.wheel.next(); ok {
		next = min(next, at)
	}
	if at, ok := t.ages.next(); ok {
		next = min(next, at)
	}
	if t.outage.active() {
		next = min(next, now+int64(pollOutage))
	}
	if t.Due() > 0 {
		next = min(next, now+int64(t.rules.Timeout))
	}
	t.wakeAt = max(next, now)
	return t.wakeAt
}

// rests tells whether an entry that is due has not been read for HotFor, and marks it so.
func (t *Table[K, V]) rests(e *Entry[K, V], now int64) bool {
	if t.rules.HotFor == 0 || e.Has(Watched) {
		return false
	}
	if !e.Has(Unread) {
		e.Set(Unread)
		e.readAt = now
		return false
	}
	if now-e.readAt < int64(t.rules.HotFor) {
		return false
	}
	e.Set(Cold)
	t.census.Cold++
	t.recover(e)
	return true
}

// thaw ends the rest of an entry.
func (t *Table[K, V]) thaw(e *Entry[K, V], now int64) {
	if e.Has(Cold) {
		e.Clear(Cold)
		e.readAt = now
		t.census.Cold--
	}
}

// Hurry makes an entry due now, or once more when its present call ends.
func (t *Table[K, V]) Hurry(e *Entry[K, V], now int64) {
	switch e.place {
	case placeFlying:
		e.again = true
		return
	case placeUrgent:
		return
	default:
		t.unschedule(e)
	}
	t.thaw(e, now)
	e.Set(Hurried)
	e.due = now
	t.makeReady(e)
	t.WakeBy(now + int64(t.rules.Timeout))
}

// Expedite makes an entry that is due one that a call under way waits for, and tells whether it has.
func (t *Table[K, V]) Expedite(e *Entry[K, V]) bool {
	if e.place != placeReady {
		return false
	}
	t.ready.remove(e, bySchedule)
	e.place = placeUrgent
	t.urgent.unshift(e, bySchedule)
	return true
}
