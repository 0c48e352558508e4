// Package faults says why calls and connections to a memcached ended, and what that means to its
// breaker.
package faults

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Why a call got no answer. What those mean to callers that they see is said where package memcache
// has them under the same name.
var (
	ErrItemTooLarge = errors.New("memcache: item larger than MaxItemSize")
	ErrBusy         = errors.New("memcache: too many calls in flight")
	ErrTimeout      = observe.NewCause("timeout", "memcache: no reply in time")
	ErrHung         = observe.NewCause("timeout", "memcache: server accepts calls but does not answer")
	ErrBadReply     = observe.NewCause("bad reply", "memcache: reply does not fit the request")
	ErrClosed       = errors.New("memcache: client closed")
	ErrAuth         = observe.NewCause("authentication", "memcache: login refused")

	ErrCredentials  = observe.NewCause("credentials", "memcache: no credentials")
	ErrTooManyConns = observe.NewCause("no more connections", "memcache: server is at its connection limit")
	ErrRetired      = errors.New("memcache: connection replaced")
	ErrSettled      = errors.New("memcache: settled elsewhere")
)

// Fault is why a connection ended, with what it means to the breaker.
type Fault struct {
	Err      error
	outcome  breaker.Outcome
	Dialling bool // there was no connection yet
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

// Hard is the end of a server: its port is closed, or it does not answer.
func Hard(err error) *Fault { return &Fault{Err: err, outcome: breaker.Hard} }

// Soft is an end that makes a server suspect if others follow.
func Soft(err error) *Fault { return &Fault{Err: err, outcome: breaker.Failure} }

// Blameless is an end that says nothing about the server.
func Blameless(err error) *Fault { return &Fault{Err: err, outcome: breaker.Ignored} }

// Classify is the breaker's view of what ended a call: calls that got an answer report nil,
// whatever the answer was.
func Classify(err error) breaker.Outcome {
	if err == nil {
		return breaker.Success
	}
	var f *Fault
	if errors.As(err, &f) {
		return f.outcome
	}
	return breaker.Ignored
}

// IsTimeout reports whether an error says that something took too long.
func IsTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, ErrTimeout) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// IsMisconfigured tells errors that a wrong option causes rather than an outage: they last until
// somebody mends it.
func IsMisconfigured(err error) bool {
	if errors.Is(err, ErrAuth) || errors.Is(err, ErrCredentials) {
		return true
	}
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	if errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &authority) || errors.As(err, &name) {
		return true
	}
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error" // how crypto/tls words an alert of the server
}

// Plain takes off what only the breaker needs.
func Plain(err error) error {
	var f *Fault
	if errors.As(err, &f) {
		return f.Err
	}
	return err
}
