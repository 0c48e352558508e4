package breaker

import "time"

// tenths is into how many parts a window is cut.
const tenths = 10

// evidence is what the slow path knows against the dependency since it was last closed. Guarded by
// Breaker.mu.
type evidence struct {
	options *Options

	run, hardRun int    // failures, and hard ones, without a success between them
	lastOK       uint64 // the success counter at the last failure

	ring [tenths]slice
	head int // the newest slice
	size int
}

// slice is one tenth of the window in which something bad happened. Quiet ones are not kept.
type slice struct {
	index          int64  // which tenth of a window since the epoch
	firstOK        uint64 // the success counter just before the slice's first event
	failures, slow uint64
}

// event is one bad call.
type event struct {
	outcome Outcome
	slow    bool
	err     error
}

func (e event) failed() bool { return e.outcome != Success }

func (e *evidence) reset() {
	*e = evidence{options: e.options}
}

// doubt makes the next failure trip, if it comes before a success. ok is the success counter.
func (e *evidence) doubt(ok uint64) {
	if e.options.ConsecutiveFailures > 0 {
		e.run, e.lastOK = e.options.ConsecutiveFailures-1, ok
	}
}

// add takes in an event and returns why to trip, or nil. ok is the success counter, the event
// included.
func (e *evidence) add(now time.Duration, ok uint64, ev event) error {
	s := e.slice(now, ok, ev)
	if ev.slow {
		s.slow++
	}
	if ev.failed() {
		s.failures++
		e.count(ok, ev.outcome)
	}
	failures, slow, calls := e.totals(ok)
	o := e.options
	reached := func(share uint64, ratio float64) bool {
		return ratio > 0 && calls >= uint64(o.MinCalls) && float64(share) >= ratio*float64(calls)
	}
	switch {
	case ev.failed() && (o.ConsecutiveFailures > 0 && e.run >= o.ConsecutiveFailures ||
		o.HardFailures > 0 && e.hardRun >= o.HardFailures ||
		reached(failures, o.FailureRatio)):
		return ev.err
	case ev.slow && reached(slow, o.SlowCallRatio):
		return ErrSlow
	default:
		return nil
	}
}

// count keeps the runs. Successes are not seen here: their counter has moved since the last
// failure, or not.
func (e *evidence) count(ok uint64, outcome Outcome) {
	if ok != e.lastOK {
		e.run, e.hardRun, e.lastOK = 0, 0, ok
	}
	e.run++
	if outcome == Hard {
		e.hardRun++
	}
}

// slice returns the current slice, having cut a new one if the last is over.
func (e *evidence) slice(now time.Duration, ok uint64, ev event) *slice {
	index := int64(now / max(e.options.Window/tenths, 1))
	for e.size > 0 && e.oldest().index <= index-tenths {
		e.size--
	}
	if e.size > 0 && e.ring[e.head].index == index {
		return &e.ring[e.head]
	}
	if !ev.failed() {
		ok-- // the event's own success belongs to the slice
	}
	e.head = (e.head + 1) % tenths
	e.size = min(e.size+1, tenths)
	e.ring[e.head] = slice{index: index, firstOK: ok}
	return &e.ring[e.head]
}

func (e *evidence) oldest() *slice {
	return &e.ring[(e.head-e.size+1+tenths)%tenths]
}

// totals counts what the window holds. The calls are those since its first event; of earlier
// successes it knows no time.
func (e *evidence) totals(ok uint64) (failures, slow, calls uint64) {
	for i := range e.size {
		s := e.ring[(e.head-i+tenths)%tenths]
		failures += s.failures
		slow += s.slow
	}
	return failures, slow, failures + ok - e.oldest().firstOK
}
