package breaker

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrOpen is returned by Do and Allow, as it is, when the call was not made because the breaker is open. Answer without the
	// dependency, or try again later.
	ErrOpen = errors.New("breaker: open, call not made")
	// ErrClosed is returned by Do and Allow after Close. The caller's shutdown order is wrong; nothing will make it pass.
	ErrClosed = errors.New("breaker: used after Close")
	// ErrSlow is the cause of an opening by SlowCallRatio. Calls never return it.
	ErrSlow = errors.New("breaker: too many slow calls")
	// ErrAborted is the cause when a call, a probe or OnReady ended by a panic or runtime.Goexit. Calls never return it.
	ErrAborted = errors.New("breaker: panicked or exited its goroutine")
	// ErrProbeTimeout is the cause when a probe, OnReady or a trial call overran its time limit; it is a
	// [context.DeadlineExceeded] too. Calls never return it.
	ErrProbeTimeout = fmt.Errorf("breaker: probe timed out: %w", context.DeadlineExceeded)

	// errFailed is what gobreaker is told; it only looks for nil.
	errFailed = errors.New("breaker: failed")
)

// is is errors.Is for errors of others, whose methods may panic: those of a nil pointer in an error do. Such an error is nothing in
// particular.
func is(err, target error) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	return errors.Is(err, target)
}
