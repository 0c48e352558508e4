package grpcpeer

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// refusal is a request that was answered by a status, or not at all.
type refusal struct {
	err             error
	method          int
	header, trailer metadata.MD
}

// marked reports whether a peer of ours has answered.
func (r refusal) marked() bool { return len(r.trailer[marker]) > 0 }

// ofGRPC reports whether a server of gRPC has answered: grpc gives codes to the errors of all of
// HTTP.
func (r refusal) ofGRPC() bool {
	return len(r.header["content-type"]) > 0 || len(r.trailer["content-type"]) > 0
}

// loadError is what the Getter of an original's peer has said.
type loadError struct{ answer wire.Answer }

// Error implements error.
func (e loadError) Error() string { return e.answer.Message }

// answerOfError is the answer of an original's peer whose Getter has failed, else the error.
func answerOfError(err error) (wire.Answer, error) {
	var e loadError
	if errors.As(err, &e) {
		return e.answer, nil
	}
	return wire.Answer{}, err
}

// error is what a refusal means.
func (r refusal) error(c *conn) error {
	s, _ := status.FromError(r.err)
	if !r.ofGRPC() {
		return r.unanswered(s, c)
	}
	wrap := func(err error) error { return fmt.Errorf("%w: %s: %.200q", err, s.Code(), s.Message()) }
	switch s.Code() {
	case codes.ResourceExhausted:
		if r.method == methodRemove || r.method == methodForget || r.method == methodSweep || r.method == methodWritten { // they carry no value: something limits the rate
			return r.err
		}
		return wrap(wire.ErrTooLarge)
	case codes.Unauthenticated, codes.PermissionDenied:
		return wrap(wire.ErrRefused)
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %w", errLate, r.err)
	case codes.Unavailable, codes.Canceled:
		return r.err
	}
	if !r.marked() {
		return r.ofOriginal(s, wrap)
	}
	switch s.Code() {
	case codes.FailedPrecondition:
		return wrap(wire.ErrNoGroup)
	case codes.InvalidArgument, codes.Unimplemented:
		return wrap(wire.ErrRefused)
	}
	return wrap(wire.ErrForeign)
}

// unanswered is the error of a request that no server of gRPC has answered.
func (r refusal) unanswered(s *status.Status, c *conn) error {
	switch s.Code() {
	case codes.Unavailable:
		if why := c.why.Load(); why != nil { // grpc does not wrap it
			return fmt.Errorf("connect: %w", *why)
		}
		return fmt.Errorf("%w: %w", lost(s), r.err)
	case codes.ResourceExhausted: // the answer was not read to its end
		return fmt.Errorf("%w: %.200q", wire.ErrTooLarge, s.Message())
	case codes.Unauthenticated, codes.PermissionDenied:
		return fmt.Errorf("%w: %s: %.200q", wire.ErrRefused, s.Code(), s.Message())
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %w", errLate, r.err)
	case codes.Canceled:
		return r.err
	}
	return fmt.Errorf("%w: %s: %.200q", wire.ErrForeign, s.Code(), s.Message())
}

// What metrics call the failures of connections that grpc has only text for.
var (
	errLate      = observe.NewCause("timeout", "no answer in time")
	errLost      = observe.NewCause("connection closed", "the connection was lost")
	errHandshake = observe.NewCause("tls", "no agreement on TLS")
)

func lost(s *status.Status) error {
	if strings.Contains(s.Message(), "authentication handshake failed") {
		return errHandshake
	}
	return errLost
}

// ofOriginal is the error of a server of the original.
func (r refusal) ofOriginal(s *status.Status, wrap func(error) error) error {
	a := wire.Answer{Message: s.Message()}
	switch {
	case s.Code() == codes.Unimplemented && r.method != methodGet: // the original's peers know no more
		return wrap(wire.ErrRefused)
	case s.Code() == codes.Unknown && isNoGroup(s.Message()):
		return wrap(wire.ErrNoGroup)
	case s.Code() == codes.Unknown && r.method == methodGet:
		a.Outcome = wire.LoadFailed
		return loadError{a}
	case s.Code() == codes.NotFound && r.method == methodGet:
		a.Outcome = wire.NotFound
		return loadError{a}
	}
	return wrap(wire.ErrForeign)
}

// isNoGroup recognises the messages of the original's peers that do not have the group.
func isNoGroup(message string) bool {
	return strings.HasPrefix(message, "no such group") || message == "group not found"
}
