package breaker

import "math/rand/v2"

// rampFloor is the share of the calls that is let through at once after an outage.
const rampFloor = 0.05

// admit reports whether a call of generation w is let through while the ramp lasts, and ends the
// ramp.
func (b *Breaker) admit(w word) bool {
	share := float64(int64(b.now())-b.ramped.Load()) / float64(b.options.RampUp)
	if share >= 1 {
		b.word.CompareAndSwap(uint64(w), uint64(w&^flagRamp))
		return true
	}
	return rand.Float64() < rampFloor+(1-rampFloor)*share //nolint:gosec // no secret.
}
