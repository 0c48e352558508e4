package httppeer

import "time"

const (
	// steadyFor is how long a connection for frames must have lived to be no failure.
	steadyFor = time.Minute
	// atOnce is how many that were failures in a row have another one made at once, the first of
	// them after lostPause, and each that follows after twice as long.
	atOnce    = 3
	lostPause = 50 * time.Millisecond
	// unsteadyFor is for how long a peer is then asked over HTTP, and twice as long after each
	// failure that follows, up to longestUnsteady.
	unsteadyFor     = time.Minute
	longestUnsteady = 8 * time.Minute
)

// steadiness says when another connection for frames is made. Each that ends fails the requests on
// it: where they end again and again, HTTP serves better.
type steadiness struct{ lost int }

// ended takes note of a connection that has ended, and returns how long to wait for another one.
func (s *steadiness) ended(lived time.Duration) (pause time.Duration) {
	if lived >= steadyFor {
		s.lost = 0
	}
	s.lost++
	if s.lost <= atOnce {
		return lostPause << (s.lost - 1)
	}
	return min(unsteadyFor<<min(s.lost-atOnce-1, 10), longestUnsteady)
}

// unsteady reports whether the last pause is one for which the peer is asked over HTTP.
func (s *steadiness) unsteady() bool { return s.lost > atOnce }
