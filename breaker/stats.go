package breaker

import (
	"time"
)

// Stats is a snapshot of a breaker.
type Stats struct {
	Name, Endpoint string
	State          State
	// Since is when the state began.
	Since time.Time
	// Successes, Failures and Ignored count calls by outcome, Rejected those that were not made.
	Successes, Failures, Ignored, Rejected uint64
	// Slow counts calls that took SlowCallDuration or longer.
	Slow uint64
	// Transitions counts changes of state by their target: Transitions[Open] is how often it
	// opened.
	Transitions [states]uint64
	// OpenTime is the time spent open, forced open or half-open.
	OpenTime time.Duration
	Probes   ProbeStats
	// ProbeDelay is the present wait between probes; 0 unless open or half-open.
	ProbeDelay time.Duration
	// LastCause is the error that last opened the breaker or failed its probe; nil if none did.
	LastCause error
	// LastTransition is when the state last changed; zero if it never did.
	LastTransition time.Time
}

// Stats returns a snapshot. It is meant for a scrape or a status page: it takes the slow path's
// lock for a moment.
func (b *Breaker) Stats() Stats {
	s := Stats{
		Name: b.name, Endpoint: b.endpoint,
		Successes: b.counters.successes(),
		Failures:  b.counters.sum(failuresOf),
		Ignored:   b.counters.sum(ignoredOf),
		Rejected:  b.counters.sum(rejectedOf),
		Slow:      b.slow.Load(),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h := &b.history
	s.State, s.Since = h.state, h.since
	s.Transitions, s.OpenTime = h.transitions, h.refusedUntil(time.Now())
	s.Probes, s.ProbeDelay = h.probes, h.probeDelay
	s.LastCause, s.LastTransition = h.cause, h.last
	return s
}
