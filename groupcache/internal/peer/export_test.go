package peer

import (
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// P99 is what a percentile says after the observations.
func P99(durations []time.Duration) time.Duration {
	var p percentile
	for _, d := range durations {
		p.observe(d)
	}
	return p.value()
}

// MaxMissed is how many removals are kept.
const MaxMissed = writes.MaxMissed
