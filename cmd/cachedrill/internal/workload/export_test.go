package workload

import "time"

// Read counts a read of a phase.
func (r *Recorder) Read(phase int, latency time.Duration) {
	r.read(outcome{phase: phase, latency: latency, hits: 1})
}
