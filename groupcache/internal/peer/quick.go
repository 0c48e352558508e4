package peer

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Quick is a Transport that may also have one connection which many requests share. It watches over
// the peer's silence itself, so that a request needs no context and no timer of its own.
type Quick interface {
	Transport
	// Quick asks for a key on that connection. The error is ErrSilent if the peer was silent for
	// too long. first is how long it took to be heard of. If not ok, there is no such connection,
	// or the question does not fit, and nothing was asked.
	Quick(ctx context.Context, q Question) (a Answer, first time.Duration, ok bool, err error)
	// HasLine reports whether there is one.
	HasLine() bool
	// Route is how the peer is asked.
	Route() Route
	// Renew gives it up, as it may not work any more: the peer was down.
	Renew()
}

// Question is what a peer is asked.
type Question struct {
	Group, Key string
	// Silence is how long the peer may be silent.
	Silence time.Duration
}

// LostError ends all requests of a connection that many share. Only one of them counts as a
// failure.
type LostError struct {
	Cause   error
	counted atomic.Bool
}

// Error implements error.
func (e *LostError) Error() string { return "the connection was lost: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Cause }

// counted reports whether an error is one of several that have one cause, of which another one has
// been counted.
func counted(err error) bool {
	var lost *LostError
	return errors.As(err, &lost) && lost.counted.Swap(true)
}

// HasLine says that the peer is asked on a connection that many requests share.
func (p *Peer) HasLine() bool { return p.quick != nil && p.quick.HasLine() }

// isQuick says that requests need not be shared to be cheap.
func (p *Peer) isQuick() bool {
	return p.marked.Load() && p.HasLine() && !p.missed.Owes()
}

// requestQuickly is request on the connection that all share. If not ok, there is none.
func (p *Peer) requestQuickly(ctx context.Context, group, key string) (answer Answer, ok bool, err error) {
	err = p.guard(ctx, ctx, func() error {
		var first time.Duration
		var err error
		answer, first, ok, err = p.quick.Quick(ctx, Question{Group: group, Key: key, Silence: p.silence()})
		if !ok {
			return errGaveUp // it is asked another way
		}
		if err == nil {
			p.first.observe(first)
			err = p.believe(answer)
		}
		return err
	})
	if !ok && errors.Is(err, errGaveUp) {
		return Answer{}, false, nil
	}
	if err != nil {
		return Answer{}, true, err
	}
	p.count(answer)
	return answer, true, nil
}
