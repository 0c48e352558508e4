package timetable

// A value may have an end of its own, after which it is not to be served. Few caches have such
// values: the ends are kept beside the entries.

// End is when the value of an entry ends, false if it does not. It may be asked at any time.
func (t *Table[K, V]) End(e *Entry[K, V]) (int64, bool) {
	if !e.Has(Bounded) {
		return 0, false
	}
	at, ok := t.ends.Load(e)
	if !ok {
		return 0, false
	}
	end, ok := at.(int64)
	return end, ok
}

// IsOver reports whether the value of an entry has ended. It may be asked at any time.
func (t *Table[K, V]) IsOver(e *Entry[K, V], now int64) bool {
	if !e.Has(Bounded) {
		return false
	}
	if end, known := t.End(e); known {
		return end <= now
	}
	return e.Has(Bounded) // it has left: nobody knows any more
}

// SetEnd notes when the present value of an entry ends, 0 if it does not.
func (t *Table[K, V]) SetEnd(e *Entry[K, V], end int64) {
	switch {
	case end != 0:
		t.ends.Store(e, end)
		e.Set(Bounded)
	case e.Has(Bounded):
		e.Clear(Bounded)
		t.ends.Delete(e)
	}
}

// lead is how long before its end a value is refreshed that is good for so long: in time for a call
// that takes as long as it may, and for another one; and for values that last, a tenth of that
// time.
func (t *Table[K, V]) lead(life int64) int64 {
	return max(min(max(life/10, 2*int64(t.rules.Timeout)), life/5), 0)
}

// Latest is when a value is due, or may not be taken over from others any more, that is good from
// one time to another; end is 0 if it has none.
func (t *Table[K, V]) Latest(loadedAt, end int64) int64 {
	if end == 0 {
		return Never
	}
	return end - t.lead(end-loadedAt)
}

// inTime makes a time when an entry would be due early enough for the end of its value. Luck, from
// 0 to 1, keeps values apart that end together.
func (t *Table[K, V]) inTime(e *Entry[K, V], due int64, luck float64) int64 {
	end, bounded := t.End(e)
	if !bounded {
		return due
	}
	lead := t.lead(end - e.LoadedAt())
	return min(due, end-lead-int64(luck*float64(lead)/4))
}

// soon is after what time an entry is tried again whose call has failed, if its value has an end:
// in half of the time that is left at the latest, and later at the pace of the value, not of the
// cache.
func (t *Table[K, V]) soon(e *Entry[K, V], delay, now int64) int64 {
	end, bounded := t.End(e)
	if !bounded {
		return delay
	}
	life := end - e.LoadedAt()
	if end <= now {
		return min(delay, max(life/4, int64(minTick))<<min(e.failures, 10))
	}
	return min(delay, max((end-now)/2, t.lead(life)/32, int64(minTick)))
}

// grain is how exactly the time can be kept at which an entry is due. The ticks of the wheel are
// made for the period, and may be long beside what a value is good for.
func (t *Table[K, V]) grain(e *Entry[K, V]) int64 {
	if t.isShort(e) {
		return int64(minTick)
	}
	return t.wheel.tick
}

// isShort reports whether the value of an entry is good for too short a time for the wheel.
func (t *Table[K, V]) isShort(e *Entry[K, V]) bool {
	end, bounded := t.End(e)
	return bounded && t.wheel.tick > (end-e.LoadedAt())/64
}

// isNoted reports whether an entry that waits is in the agenda: if it rests, only IdleFor is waited
// for.
func (t *Table[K, V]) isNoted(e *Entry[K, V]) bool { return e.due != Never && t.isShort(e) }
