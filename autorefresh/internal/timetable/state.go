package timetable

// Join makes an entry, which is not in the table yet, one of a group.
func (t *Table[K, V]) Join(e *Entry[K, V], name string) {
	if t.rules.Grouped {
		e.group = t.groups.join(name)
	}
}

// Enter counts an entry and schedules it.
func (t *Table[K, V]) Enter(e *Entry[K, V], due, now int64) {
	t.census.Items++
	switch {
	case e.Has(Absent):
		t.census.Absent++
		t.absents.push(e, byAge)
	case e.Has(Terminal):
		t.census.Terminal++
		t.finals.push(e, byAge)
		e.Set(Unread)
		e.readAt = now
	default:
		e.Set(Unread)
		e.readAt = now
		t.watchAge(e)
	}
	t.schedule(e, due)
}

// Leave takes an entry out of the table, for good.
func (t *Table[K, V]) Leave(e *Entry[K, V]) {
	e.life |= dead
	t.groups.leave(e.group)
	t.unschedule(e)
	t.ends.Delete(e) // its flag stays: a reader that found it before must not take its value for one without end
	if e.slots[byAge] != notSlotted {
		t.ages.remove(e)
	}
	t.census.Items--
	switch flags := e.Flags.Load(); {
	case flags&Absent != 0:
		t.census.Absent--
		t.absents.remove(e, byAge)
	case flags&Terminal != 0:
		t.census.Terminal--
		t.finals.remove(e, byAge)
	default:
		if flags&Cold != 0 {
			t.census.Cold--
		}
		if flags&Stale != 0 {
			t.census.Stale--
		}
		t.recover(e)
	}
}

// recover ends the failures of an entry.
func (t *Table[K, V]) recover(e *Entry[K, V]) {
	if e.failures > 0 {
		e.failures = 0
		t.census.Failing--
	}
}

// rest has an entry not refreshed until it is read.
func (t *Table[K, V]) rest(e *Entry[K, V]) {
	e.Set(Cold)
	t.census.Cold++
	t.recover(e)
	t.schedule(e, Never)
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
		e.life |= again
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

// Expedite makes an entry that is due one that a call under way waits for, and reports whether it
// has.
func (t *Table[K, V]) Expedite(e *Entry[K, V]) bool {
	if e.place != placeReady {
		return false
	}
	t.ready.remove(e, bySchedule)
	e.place = placeUrgent
	t.urgent.unshift(e, bySchedule)
	return true
}

// Revive keeps an entry that was idle, and was read before it left. If that read, or another caller
// came before, has had it refreshed, it has its place already.
func (t *Table[K, V]) Revive(e *Entry[K, V], now int64) {
	e.Clear(Idle | Leaving)
	e.readAt = now
	if e.place == placeIdle {
		t.schedule(e, e.due)
	}
}
