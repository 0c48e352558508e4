package wire

import "time"

const (
	// tickInterval is how late a context without a deadline may end its call.
	tickInterval = 10 * time.Millisecond
	// silenceWorth is what the time between two ticks counts for at most: a tick that comes late
	// says that the process was starved, and the answer may be there unread.
	silenceWorth = tickInterval * 3 / 2
	// slowest is how slow a network may be, in bytes a second: a large request takes its time, and
	// is not answered meanwhile.
	slowest = 1 << 20
)

// silence is for how long a connection that owes answers has read nothing. It decides alone, from
// what it is told at each tick.
type silence struct {
	heard  bool          // something has been read, or nothing was owed, since the last tick
	last   int64         // the last tick
	began  int64         // the first tick of this silence
	lasted time.Duration // since then
	proven time.Duration // the part of it after the server was heard elsewhere
}

// broken ends the silence.
func (s *silence) broken(now int64) { *s = silence{heard: true, last: now} }

// goes on for another tick; witness is when the server was last heard elsewhere. It reports whether
// the connection has lost its way: silent for the limit, and for a third of it after the server
// gave a sign of life. A server that stalls as a whole gives none.
func (s *silence) goesOn(now, witness int64, limit time.Duration) (lost bool) {
	if s.heard || s.last == 0 {
		*s = silence{last: now, began: now}
		return false
	}
	elapsed := min(time.Duration(now-s.last), silenceWorth)
	s.last = now
	s.lasted += elapsed
	if witness > s.began {
		s.proven += elapsed
	}
	return s.lasted >= limit && s.proven >= limit/3
}
