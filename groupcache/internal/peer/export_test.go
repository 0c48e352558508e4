package peer

import "time"

// P99 is what a percentile says after the observations.
func P99(durations []time.Duration) time.Duration {
	var p percentile
	for _, d := range durations {
		p.observe(d)
	}
	return p.value()
}

// MaxMissed is how many removals are kept.
const MaxMissed = maxMissed
