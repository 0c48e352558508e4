package httppeer

import "time"

// WindowSize is how many requests may overtake each other.
const WindowSize = windowSize

// Window and Session are what tests look at.
type (
	Window  = window
	Session = session

	Steadiness = steadiness
)

// Ended takes note of a connection that has lived so long.
func (s *steadiness) Ended(lived time.Duration) time.Duration { return s.ended(lived) }

// NewWindow makes a window of which nothing is taken.
func NewWindow() *Window { return &window{} }

// Take takes a number.
func (w *window) Take(n, floor uint64) bool { return w.take(n, floor) }

// NewSession makes a session.
func NewSession() *Session { return newSession() }

// Begin is the next number, and the floor.
func (s *session) Begin() (n, floor uint64) { return s.begin() }

// End ends a number.
func (s *session) End(n uint64) { s.end(n) }

// Held is how many numbers are kept.
func (s *session) Held() int { return len(s.done) }

// TakeFor takes a number of a session.
func (s *Signer) TakeFor(client string, n uint64, now time.Time) bool {
	return s.windows.take(client, n, 0, now)
}

// Sessions is how many sessions are kept.
func (s *Signer) Sessions() int { return len(s.windows.of) }
