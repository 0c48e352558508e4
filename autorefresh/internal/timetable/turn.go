package timetable

import "time"

// Turned are the entries whose time has come, but for those that are due now.
type Turned[K comparable, V any] struct {
	Over  []*Entry[K, V] // they have to leave, as what they say has expired
	Idle  []*Entry[K, V] // they have to leave, as nobody reads them
	Stale []*Entry[K, V] // they have grown older than MaxStale
}

// Turn does the work due at a time.
func (t *Table[K, V]) Turn(now int64) (turned Turned[K, V]) {
	window := t.lag(now)
	come := func(e *Entry[K, V]) {
		unread := t.unreadFor(e, now)
		switch {
		case t.rules.IdleFor > 0 && unread >= int64(t.rules.IdleFor):
			e.place = placeIdle
			e.Set(Idle | Leaving)
			turned.Idle = append(turned.Idle, e)
		case e.due/t.wheel.tick > now/t.wheel.tick: // it was only to be looked at
			t.schedule(e, e.due)
		case !e.refreshed():
			e.place = placeIdle
			turned.Over = append(turned.Over, e)
		case t.rules.HotFor > 0 && unread >= int64(t.rules.HotFor):
			t.rest(e)
		case window > 0:
			t.schedule(e, max(t.inTime(e, t.spread(now, window), 0), now+1))
		default:
			t.makeReady(e)
		}
	}
	t.wheel.expire(now, t.lookAt, come)
	t.agenda.expire(now, func(e *Entry[K, V]) {
		t.noted--
		come(e)
	})
	if t.rules.MaxStale > 0 {
		t.ages.expire(now, t.staleAt, func(e *Entry[K, V]) {
			e.Set(Stale)
			t.census.Stale++
			turned.Stale = append(turned.Stale, e)
		})
	}
	return turned
}

// lag tells over how long overdue entries have to be spread because the process was suspended: 0 if
// it was not. A backlog of L spread over 2 L raises the rate of refreshes by one half.
func (t *Table[K, V]) lag(now int64) int64 {
	late := now - t.wakeAt
	if t.wakeAt == Never || late < max(int64(t.rules.Period)/8, int64(100*time.Millisecond)) {
		return 0
	}
	return min(2*late, t.round())
}

// NextTurn is when Turn has to be called again: at latest, which is when a call will be found
// stuck, or Never.
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

// unreadFor tells for how long an entry has not been read, as far as that matters, and notes that
// it was looked at. To wait for an entry is to read it.
func (t *Table[K, V]) unreadFor(e *Entry[K, V], now int64) int64 {
	switch {
	case t.rules.HotFor == 0 && t.rules.IdleFor == 0 || e.Has(Absent):
		return 0
	case e.Has(Watched) || !e.Has(Unread):
		e.Set(Unread)
		e.readAt = now
		return 0
	}
	return now - e.readAt
}
