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
	// Quick asks for a key on that connection, with the trace of a context. If not ok, there is no
	// such connection, or it does not take the question, and nothing was asked.
	Quick(ctx context.Context, q Question) (p Pending, ok bool)
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

// HasLine reports whether the peer is asked on a connection that many requests share.
func (p *Peer) HasLine() bool { return p.quick != nil && p.quick.HasLine() }

// isQuick reports whether requests need not be shared to be cheap.
func (p *Peer) isQuick() bool {
	return p.marked.Load() && p.HasLine() && !p.missed.Owes()
}

// requestQuickly is request on the connection that all share. If not ok, there is none.
func (p *Peer) requestQuickly(ctx context.Context, group, key string) (answer Answer, ok bool, err error) {
	a, ok := p.askQuickly(ctx, group, key)
	if !ok {
		return Answer{}, false, nil
	}
	a.pending.Wait(ctx)
	answer, err = a.Answer(ctx)
	return answer, !errors.Is(err, ErrNotTaken), err
}
