package tombstone

import (
	"sync/atomic"
	"time"
)

// Clock dates what other processes read, and reads their dates. Processes that hear of each other's
// changes compare dates closer together than their clocks may be apart. So each of them dates by
// the fastest clock that it has met, but for one that is too far ahead: what it writes after a look
// is never dated before what it has seen there.
type Clock struct {
	Now     func() int64  // the cache's clock
	Skew    time.Duration // how far the clocks may be apart
	Follows bool          // others' clocks are followed
	ahead   atomic.Int64  // of this one, the fastest that was met
}

// Moment is a reading of the clock. Dates that are compared are written or read by the
// same one.
type Moment struct {
	Now  int64 // on the cache's clock
	Wall int64 // on this machine's, in nanoseconds since 1970
	Date int64 // by which this process dates
}

// Read returns the present moment.
func (c *Clock) Read() Moment {
	m := Moment{Now: c.Now(), Wall: time.Now().UnixNano()}
	m.Date = m.Wall + c.ahead.Load()
	return m
}

// Follow takes note of a date by another clock.
func (c *Clock) Follow(date int64) {
	ahead := date - time.Now().UnixNano()
	for c.Follows && ahead < int64(c.Skew) {
		old := c.ahead.Load()
		if ahead <= old || c.ahead.CompareAndSwap(old, ahead) {
			return
		}
	}
}

// DateOf is the date of a time on the cache's clock.
func (m Moment) DateOf(at int64) int64 { return m.Date + at - m.Now }

// TimeOf is the time of a date on the cache's clock.
func (m Moment) TimeOf(date int64) int64 { return m.Now + date - m.Date }

// IsFar reports whether a time is by a clock too far ahead: it says nothing of what came first, and
// nobody could read values dated after it.
func (c *Clock) IsFar(at int64, m Moment) bool { return at > m.TimeOf(m.Wall)+int64(c.Skew) }

// After is the first time from now on that comes after others, but for those that are too far
// ahead.
func (c *Clock) After(m Moment, others ...int64) int64 {
	at := m.Now
	for _, other := range others {
		if !c.IsFar(other, m) {
			at = max(at, other+1)
		}
	}
	return at
}
