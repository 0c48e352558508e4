package replica

import (
	"time"
)

// mark is how much a primary had written at a time, or earlier.
type mark struct {
	generation uint64 // of the seat: offsets of different primaries cannot be compared
	offset     int64
	at         time.Time
}

// marks are those of one primary, oldest first. They are not changed, but replaced.
type marks []mark

// maxMarks is how many marks are kept: for about twice as long as the bound, and for sixteen
// questions at least.
const maxMarks = 64

// add appends a mark, unless there is one of a moment ago. Those of another primary are dropped.
func (m marks) add(next mark, least time.Duration) marks {
	if len(m) > 0 {
		last := m[len(m)-1]
		switch {
		case last.generation != next.generation:
			m = nil
		case next.at.Sub(last.at) < least:
			return m
		}
	}
	grown := make(marks, 0, maxMarks)
	grown = append(grown, m[max(0, len(m)-maxMarks+1):]...)
	return append(grown, next)
}

// reached is the time of the latest mark that an offset has reached: a replica at that offset has
// everything that was written before.
func (m marks) reached(offset int64) (time.Time, bool) {
	for i := len(m) - 1; i >= 0; i-- {
		if offset >= m[i].offset {
			return m[i].at, true
		}
	}
	return time.Time{}, false
}
