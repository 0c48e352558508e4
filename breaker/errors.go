package breaker

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-go/holdfast/internal/observe"
)

var (
	// ErrOpen is what errors.Is finds in the error of Do and Allow when the call was not made
	// because the breaker is open: a [*Refusal]. Answer without the dependency, or try again later.
	ErrOpen = errors.New("breaker: open, call not made")
	// ErrClosed is returned by Do and Allow after Close. The caller's shutdown order is wrong;
	// nothing will make it pass.
	ErrClosed = errors.New("breaker: used after Close")
	// ErrSlow is the cause of an opening by SlowCallRatio. Calls never return it.
	ErrSlow = errors.New("breaker: too many slow calls")
	// ErrResult is the cause when Judge took a result without an error for a failure. Calls never
	// return it.
	ErrResult = errors.New("breaker: result judged as a failure")
	// ErrAborted is the cause when a call, a probe or OnReady ended by a panic or runtime.Goexit.
	// Calls never return it.
	ErrAborted = errors.New("breaker: panicked or exited its goroutine")
	// ErrProbeTimeout is the cause when a probe, OnReady or a trial call overran its time limit; it
	// is a [context.DeadlineExceeded] too. Calls never return it.
	ErrProbeTimeout = fmt.Errorf("breaker: probe timed out: %w", context.DeadlineExceeded)

	// errFailed is what gobreaker is told; it only looks for nil.
	errFailed = errors.New("breaker: failed")
)

// Refusal is the error of a call that was not made. It is the same for all calls of one outage, and
// must not be changed.
type Refusal struct {
	// Name and Endpoint are those of the breaker, as its labels have them. A lone breaker has no
	// endpoint.
	Name, Endpoint string
	// Cause is the error that opened the breaker, or of the last trial or probe; nil if it was
	// forced open.
	Cause error
}

// Error says which breaker refused, and why.
func (r *Refusal) Error() string {
	text := ErrOpen.Error() + ": " + r.Name
	if r.Endpoint != "" {
		text += " " + r.Endpoint
	}
	if r.Cause == nil {
		return text + ": forced open"
	}
	return fmt.Sprintf("%s: %v", text, r.Cause) // not by its method, which may panic: see is
}

// Unwrap returns ErrOpen and not the cause, which is another call's error.
func (*Refusal) Unwrap() error { return ErrOpen }

// is is errors.Is for errors of others, see [soundly].
func is(err, target error) bool {
	return soundly(func() bool { return errors.Is(err, target) })
}

// isRefused reports whether a connection was refused, of errors of others, too.
func isRefused(err error) bool {
	return soundly(func() bool { return observe.IsRefused(err) })
}

// soundly has an error of others asked, whose methods may panic: those of a nil pointer in an error
// do. Such an error is nothing in particular.
func soundly(ask func() bool) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	return ask()
}
