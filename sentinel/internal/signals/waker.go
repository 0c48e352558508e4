// Package signals has how goroutines of a client wake one another.
package signals

import (
	"context"
	"time"
)

// Waker wakes one goroutine that waits. A signal that comes while it does something else is kept;
// further ones are not.
type Waker chan struct{}

// NewWaker returns a Waker without a signal.
func NewWaker() Waker { return make(Waker, 1) }

// Wake never waits.
func (w Waker) Wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// Sleep waits for the time, or until it is woken; false says that ctx has ended. The channel may be
// nil.
func Sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return false
	}
	return true
}
