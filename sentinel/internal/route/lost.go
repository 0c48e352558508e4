package route

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
)

// lostError is the end of a connection of a Dialer. It wraps nothing: other clients look for io.EOF
// and net.Error in what they get, and send a command again if they find one, although it may have
// been carried out.
type lostError struct {
	text    string
	cause   error
	verdict error // outcome.ErrNotSent or outcome.ErrOutcomeUnknown
}

// Error says what became of the command, and why.
func (e *lostError) Error() string { return e.text }

// Is finds the errors of this package and of contexts.
func (e *lostError) Is(target error) bool {
	if target == e.verdict {
		return true
	}
	switch target {
	case outcome.ErrNoPrimary, outcome.ErrFailover, outcome.ErrClosed, context.Canceled, context.DeadlineExceeded:
		return errors.Is(e.cause, target)
	}
	return false
}

// unsentError is a lostError of a command that was not sent. Other clients take it for a passing
// error of the network, and try again.
type unsentError struct{ lostError }

var _ net.Error = (*unsentError)(nil)

// Timeout is false: some clients do not try again after a time-out.
func (*unsentError) Timeout() bool { return false }

// Temporary is true.
func (*unsentError) Temporary() bool { return true }

func notSent(name, addr string, cause error) error {
	return &unsentError{lost(name, addr, cause, outcome.ErrNotSent)}
}

func outcomeUnknown(name, addr string, cause error) error {
	e := lost(name, addr, cause, outcome.ErrOutcomeUnknown)
	return &e
}

func lost(name, addr string, cause, verdict error) lostError {
	text := cause.Error()
	if !errors.Is(cause, verdict) { // else it has the name and the address, too
		text = fmt.Sprintf("%v: %q at %s: %v", verdict, name, addr, cause)
	}
	return lostError{text: text, cause: cause, verdict: verdict}
}
