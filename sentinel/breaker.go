package sentinel

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/metrics"
)

// newBreaker makes the breaker of a primary. It decides nothing: it says what the follower has found, to metrics and to whoever watches
// it, and takes an operator's orders. Calls look at the seat alone.
func (p *primary) newBreaker() (*breaker.Breaker, error) {
	retry := backoff.Exponential{Base: 10 * time.Millisecond, Cap: 250 * time.Millisecond, Factor: 1.6}
	return breaker.New(p.client.name, breaker.Options{
		Kind:          metrics.KindRedis,
		Endpoint:      p.label,
		Probe:         p.lookedFor,
		ProbeTimeout:  p.client.options.DialTimeout,
		Backoff:       func(_ error, attempt int) time.Duration { return retry.Delay(attempt) },
		OnStateChange: func(c breaker.Change) { p.client.director.operated(p, c.To) },
	})
}

// lookedFor is why there is no primary; nil if there is one.
func (p *primary) lookedFor(context.Context) error {
	s := p.seat.Load()
	if cause := p.cause.Load(); s.err != nil && cause != nil && *cause != nil {
		return *cause
	}
	return s.err
}

func forced(b *breaker.Breaker) bool { return b.State() == breaker.ForcedOpen }
