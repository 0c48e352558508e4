package staleness

import (
	"context"
	"time"
)

// Source is the simulated source.
type Source struct{ *source }

// NewSource makes one.
func NewSource(cost time.Duration, slots int, called func()) Source {
	return Source{newSource(cost, slots, "v", called)}
}

// Get returns when a value was given.
func (s Source) Get(ctx context.Context) (time.Time, error) {
	v, err := s.get(ctx)
	return time.Unix(0, v.At), err
}

// Slow makes it slow, Kill dead, Revive neither.
func (s Source) Slow() { s.slow() }

// Kill is described at Slow.
func (s Source) Kill() { s.kill() }

// Revive is described at Slow.
func (s Source) Revive() { s.revive() }

// Close ends the calls under way.
func (s Source) Close() { s.close() }

// Slowdown is how many times longer a call takes while the source is slow.
const Slowdown = slowdown

// ErrDead and ErrClosed are what the source says when it is.
var ErrDead, ErrClosed = errDead, errClosed //nolint:gochecknoglobals // never written.

// Period returns how old values may grow.
func (o Options) Period() time.Duration { return o.period() }

// Backoff returns when a breaker tries again.
func (o Options) Backoff(attempt int) time.Duration { return o.backoff(nil, attempt) }
