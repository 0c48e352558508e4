package autorefresh

import (
	"context"

	"golang.org/x/time/rate"
)

// pace waits until the source may be called: for the user's limiter and, if the second level could not be asked, for the shield's. What
// was shared by all processes is then asked for by each of them, and the source must not see all of that.
func (c *Cache[K, V]) pace(ctx context.Context, r rank, blind blindness) error {
	if err := c.gate.wait(ctx, r); err != nil {
		return err
	}
	if blind {
		return c.second.shield.wait(ctx, r)
	}
	return nil
}

// newGate makes the gate before the source, nil if there is no limiter.
func newGate(limiter RateLimiter) *gate {
	if limiter == nil {
		return nil
	}
	return &gate{limiter: limiter, name: "Limiter.Wait"}
}

// newShield makes the gate for when the second level is down, nil if none is wanted.
func newShield(perSecond float64) *gate {
	if perSecond == 0 {
		return nil
	}
	return &gate{limiter: rate.NewLimiter(rate.Limit(perSecond), 1), name: "shield"}
}
