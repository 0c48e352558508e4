package level

import (
	"sync/atomic"
	"time"
)

// clock dates what other processes read, and reads their dates. Processes that hear of each other's
// changes compare dates closer together than their clocks may be apart. So each of them dates by
// the fastest clock that it has met, but for one that is too far ahead: what it writes after a look
// is never dated before what it has seen there.
type clock struct {
	now     func() int64  // the cache's clock
	skew    time.Duration // how far the clocks may be apart
	follows bool          // others' clocks are followed
	ahead   atomic.Int64  // of this one, the fastest that was met
}

// moment is what the clock shows at one time. Dates that are compared are written or read by the
// same one.
type moment struct {
	now  int64 // on the cache's clock
	wall int64 // on this machine's, in nanoseconds since 1970
	date int64 // by which this process dates
}

func (c *clock) read() moment {
	m := moment{now: c.now(), wall: time.Now().UnixNano()}
	m.date = m.wall + c.ahead.Load()
	return m
}

// meet takes note of a date by another clock.
func (c *clock) meet(date int64) {
	ahead := date - time.Now().UnixNano()
	for c.follows && ahead < int64(c.skew) {
		old := c.ahead.Load()
		if ahead <= old || c.ahead.CompareAndSwap(old, ahead) {
			return
		}
	}
}

// dateOf is the date of a time on the cache's clock.
func (m moment) dateOf(at int64) int64 { return m.date + at - m.now }

// timeOf is the time of a date on the cache's clock.
func (m moment) timeOf(date int64) int64 { return m.now + date - m.date }

// isFar reports whether a time is by a clock too far ahead: it says nothing of what came first, and
// what was dated after it could be read by nobody.
func (c *clock) isFar(at int64, m moment) bool { return at > m.timeOf(m.wall)+int64(c.skew) }

// after is the first time from now on that comes after others, but for those that are too far
// ahead.
func (c *clock) after(m moment, others ...int64) int64 {
	at := m.now
	for _, other := range others {
		if !c.isFar(other, m) {
			at = max(at, other+1)
		}
	}
	return at
}
