package timetable

// Note takes notice of the state of the source, and returns the state that was known.
func (t *Table[K, V]) Note(s Source, now int64) (before Source) {
	before = t.outage.source
	t.outage.source = s
	switch {
	case before == Up && s != Up:
		t.outage.since = now
		t.WakeBy(now + int64(pollOutage))
	case before != Up && s == Up:
		t.outage.limit = 1
		t.outage.spread = t.ready.n
		t.hasten(now)
		t.WakeBy(now)
	}
	return before
}

// MayRun reports whether one more call may be made beside those that are running.
func (t *Table[K, V]) MayRun(running int) bool {
	switch {
	case t.outage.spread > 0:
		return false
	case !t.outage.active():
		return running < t.outage.limit
	default:
		return t.outage.source == Trial && running == 0
	}
}

// Ramp allows twice as many calls at once after one that went well, and reports whether there may
// be more than before.
func (t *Table[K, V]) Ramp() bool {
	if t.outage.active() || t.outage.limit >= t.rules.Workers {
		return false
	}
	t.outage.limit = min(2*t.outage.limit, t.rules.Workers)
	return true
}

// chunk is how many entries are spread at one go.
const chunk = 4096

// SpreadSome spreads some of what fell due in an outage, and reports whether there is more. Nothing
// is taken meanwhile.
func (t *Table[K, V]) SpreadSome(now int64) bool {
	if t.outage.spread == 0 {
		return false
	}
	window := max(min(2*(now-t.outage.since), t.round()), 1)
	for n := 0; n < chunk && t.outage.spread > 0 && t.ready.n > 0; n++ {
		e := t.ready.pop(bySchedule)
		t.schedule(e, max(t.inTime(e, t.spread(now, window), 0), now+1))
		t.outage.spread--
	}
	if t.ready.n == 0 {
		t.outage.spread = 0
	}
	return t.outage.spread > 0
}

// hasten brings forward entries that back off for longer than a period, because of an outage that
// is over.
func (t *Table[K, V]) hasten(now int64) {
	var late []*Entry[K, V] // moved afterwards, lest some are met twice, and counted for others
	horizon := now + int64(t.rules.Period)
	for i, left := 0, t.census.Failing; i < len(t.wheel.slots) && left > 0; i++ {
		for e := t.wheel.slots[i].head; e != nil; e = e.links[bySchedule].next {
			if e.failures == 0 {
				continue
			}
			if left--; e.due > horizon {
				late = append(late, e)
			}
		}
	}
	for _, e := range late {
		t.wheel.remove(e)
		t.schedule(e, t.spread(now, t.round()))
	}
}
