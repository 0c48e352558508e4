package httppeer_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
)

// A connection that ended again and again was made again after a moment, for ever, and failed the
// calls under way on it each time.
func TestAnUnsteadyConnectionIsMadeLessAndLessOften(t *testing.T) {
	var s httppeer.Steadiness
	ms := time.Millisecond
	for i, want := range []time.Duration{50 * ms, 100 * ms, 200 * ms, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 8 * time.Minute} {
		if got := s.Ended(59 * time.Second); got != want {
			t.Errorf("after connection %d: %v, want %v", i+1, got, want)
		}
	}
	for range 100 {
		s.Ended(0)
	}
	if got := s.Ended(0); got != 8*time.Minute {
		t.Errorf("after many: %v", got)
	}
	if got := s.Ended(time.Minute); got != 50*ms {
		t.Errorf("after one that was steady: %v, want to begin anew", got)
	}
}
