package autorefresh

import (
	"context"

	"golang.org/x/time/rate"
)

// pace waits until the source may be called: for the user's limiter and, if the second level could not be asked, for the shield's. What
// was shared by all processes is then asked for by each of them, and the source must not see all of that.
func (c *Cache[K, V]) pace(ctx context.Context, blind blindness) error {
	if c.opts.Limiter != nil {
		if err := guardError("Limiter.Wait", func() error { return c.opts.Limiter.Wait(ctx) }); err != nil {
			return err
		}
	}
	if bool(blind) && c.second.shield != nil {
		return c.second.shield.Wait(ctx)
	}
	return nil
}

// newShield makes the limiter for when the second level is down, nil if none is wanted.
func newShield(perSecond float64) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), 1)
}
