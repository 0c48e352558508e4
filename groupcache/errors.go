package groupcache

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/observe"
)

var (
	// ErrClosed is returned by all methods of an Instance and its groups after Close. Make a new
	// one.
	ErrClosed = outcome.ErrClosed
	// ErrPeerUnavailable is wrapped by the errors of Set and Remove that could not reach a peer,
	// and told to a PeerErrorHandler when an owner could not be asked: it is down, silent, busy, or
	// its answer was not one of groupcache. Try again later: a removal that missed a peer is
	// repeated when that peer is back.
	ErrPeerUnavailable = outcome.ErrPeerUnavailable
	// ErrValueTooLarge is returned by Get and Set for values above Options.MaxValueSize.
	ErrValueTooLarge = outcome.ErrValueTooLarge
	// ErrGetterPanicked is wrapped by the error of a load whose Getter panicked or ended its
	// goroutine. The key can be loaded again.
	ErrGetterPanicked = outcome.ErrGetterPanicked
)

// ErrNotFound is returned by a Getter to say that there is no such key; a Get at any peer returns
// it too. Match it with errors.Is(err, &ErrNotFound{}).
type ErrNotFound struct{ Msg string }

// Error implements error.
func (e *ErrNotFound) Error() string { return e.Msg }

// Is matches any ErrNotFound.
func (e *ErrNotFound) Is(target error) bool {
	_, ok := target.(*ErrNotFound)
	return ok
}

// ErrRemoteCall is the error of a Getter at another peer. Match it with errors.Is(err,
// &ErrRemoteCall{}).
type ErrRemoteCall struct{ Msg string }

// Error implements error.
func (e *ErrRemoteCall) Error() string { return e.Msg }

// Is matches any ErrRemoteCall.
func (e *ErrRemoteCall) Is(target error) bool {
	_, ok := target.(*ErrRemoteCall)
	return ok
}

// RemoteLoadError is the error of a load at another peer, with the peer's answer. It wraps an
// ErrNotFound or ErrRemoteCall.
type RemoteLoadError struct {
	Group      string
	Key        string
	StatusCode int    // of HTTP
	Status     string // of HTTP
	Body       []byte // what the peer's server wrote, at most 64 KiB of it
	Err        error
}

// Error is the message of the Getter's error at the peer.
func (r RemoteLoadError) Error() string {
	if r.Err == nil {
		return fmt.Sprintf("groupcache: group %q: the peer answered %s", observe.Cut(r.Group), r.Status)
	}
	return r.Err.Error()
}

// Unwrap returns Err.
func (r RemoteLoadError) Unwrap() error { return r.Err }

// errorsOf are the errors of Getters.
func errorsOf() group.Errors {
	return group.Errors{
		NotFound: notFound, Remote: remoteError,
		IsNotFound: func(err error) bool { return errors.Is(err, &ErrNotFound{}) },
		IsRemote:   func(err error) bool { return errors.Is(err, &ErrRemoteCall{}) },
	}
}

// notFound is the error of a key that is not there.
func notFound(message string) error { return &ErrNotFound{Msg: message} }

// remoteError is the error of the Getter at a peer.
func remoteError(group, key string, a wire.Answer) error {
	var err error = &ErrRemoteCall{Msg: a.Message}
	if a.Outcome == wire.NotFound {
		err = notFound(a.Message)
	}
	return RemoteLoadError{Group: group, Key: key, StatusCode: a.Code, Status: a.Status, Body: []byte(a.Message), Err: err}
}

// BadGroupcacheRequestError is given to a ServerErrorHandler for a request that is not one of
// groupcache.
type BadGroupcacheRequestError struct{ reason string }

// Error implements error.
func (e BadGroupcacheRequestError) Error() string { return "bad groupcache request: " + e.reason }

// GroupNotFoundError is given to a ServerErrorHandler for a request to a group that this process
// does not have.
type GroupNotFoundError struct{ group string }

// Error implements error.
func (e GroupNotFoundError) Error() string { return "no such group: " + observe.Quote(e.group) }

// served is an error of a request as a ServerErrorHandler gets it.
func served(err error) error {
	switch e := err.(type) { //nolint:errorlint // those of the server are not wrapped; what is wrapped is the Getter's
	case httppeer.BadRequestError:
		return BadGroupcacheRequestError{e.Reason}
	case httppeer.NoGroupError:
		return GroupNotFoundError{e.Group}
	}
	switch {
	case errors.Is(err, wire.ErrEnding):
		return ErrClosed
	case errors.Is(err, wire.ErrTooLarge):
		return ErrValueTooLarge
	}
	return err
}

// DefaultServerErrorHandler answers 404 for an ErrNotFound, 400 for a bad request, 500 for a group
// that this process does not have or that is being closed, 413 for a value that is too large, and
// 503 for all other errors, as the original's peers expect it, with the error's text.
func DefaultServerErrorHandler(_ context.Context, w http.ResponseWriter, _ *http.Request, err error) {
	code := http.StatusServiceUnavailable
	switch {
	case errors.As(err, new(BadGroupcacheRequestError)):
		code = http.StatusBadRequest
	case errors.As(err, new(GroupNotFoundError)), errors.Is(err, ErrClosed):
		code = http.StatusInternalServerError
	case errors.Is(err, &ErrNotFound{}):
		code = http.StatusNotFound
	case errors.Is(err, ErrValueTooLarge):
		code = http.StatusRequestEntityTooLarge
	}
	http.Error(w, err.Error(), code)
}
