// Package outcome has the errors that callers look for, and says of a command that failed whether
// it may have been carried out. What each error means to callers is said where package sentinel has
// it under the same name.
package outcome

import (
	"errors"
	"fmt"

	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// Errors of commands.
var (
	ErrNoPrimary      = errors.New("sentinel: no primary")
	ErrFailover       = errors.New("sentinel: failover under way")
	ErrNotSent        = errors.New("sentinel: not sent")
	ErrOutcomeUnknown = errors.New("sentinel: outcome unknown")
	ErrNoReplica      = errors.New("sentinel: no replica")
	ErrClosed         = errors.New("sentinel: client is closed")
	ErrStateful       = errors.New("sentinel: command needs a connection of its own")
	ErrNotDurable     = errors.New("sentinel: not as durable as asked")
	ErrBusy           = errors.New("sentinel: all private connections are in use")
)

// Errors of the start, and of names and options.
var (
	ErrBadOptions     = errors.New("sentinel: bad options")
	ErrNoSentinel     = errors.New("sentinel: no sentinel answers")
	ErrNotSentinel    = errors.New("sentinel: not a sentinel")
	ErrUnknownPrimary = errors.New("sentinel: unknown primary")
	ErrSentinelAuth   = observe.NewCause("credentials refused", "sentinel: a sentinel refuses the credentials")
	ErrServerAuth     = observe.NewCause("credentials refused", "sentinel: a server refuses the credentials")
)

// Of turns a connection's failure into an error that says whether the command may have been carried
// out. The failure stays in it.
func Of(f *wire.Failure, name, addr string) error {
	verdict := ErrNotSent
	if f.Sent {
		verdict = ErrOutcomeUnknown
	}
	return fmt.Errorf("%w: %q at %s: %w", verdict, name, addr, f)
}

// Unsendable says why a request was not even tried.
func Unsendable(err error) error {
	switch {
	case errors.Is(err, wire.ErrPushed):
		return resp.ErrConnUsable{Err: fmt.Errorf("%w: %w: %w: use Client.Subscribe", ErrStateful, ErrNotSent, err)}
	case errors.Is(err, wire.ErrUnmatched):
		return resp.ErrConnUsable{Err: fmt.Errorf("%w: %w: %w", ErrStateful, ErrNotSent, err)}
	}
	return err // it is no command
}

// Unused returns the failure of a request that can still be sent elsewhere.
func Unused(err error) *wire.Failure {
	if f := (*wire.Failure)(nil); errors.As(err, &f) && f.Unused {
		return f
	}
	return nil
}
