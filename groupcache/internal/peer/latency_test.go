package peer_test

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
)

func TestThePercentileIsWithinAQuarter(t *testing.T) {
	for d := 20 * time.Microsecond; d < 900*time.Millisecond; d = d * 11 / 10 {
		samples := slices.Repeat([]time.Duration{time.Microsecond, d, d, d}, 32)
		if got := peer.P99(samples); got < d || got > d*5/4+time.Microsecond {
			t.Errorf("of %v it is %v", d, got)
		}
	}
	mostly := append(slices.Repeat([]time.Duration{time.Millisecond}, 127), time.Second)
	if got := peer.P99(mostly); got > 2*time.Millisecond {
		t.Errorf("one of 128 makes it %v", got)
	}
}
