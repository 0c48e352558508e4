package wire

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

// ErrLeft is what there is in the place of an answer that was not waited for.
var ErrLeft = errors.New("the answer was not waited for")

// ErrNotTaken says that a request was not carried out, and will not be: it may be made another way.
var ErrNotTaken = errors.New("the connection takes no more requests")

// Waiting is a caller's part of a connection that many share.
type Waiting interface {
	// Done has one message when there is an answer.
	Done() <-chan struct{}
	// Take returns the answer, and how long it took until something was heard of the peer. It is
	// called once, after the message of Done. The error is ErrSilent if the peer was silent for too
	// long, ErrLeft after Leave, and ErrNotTaken if it is to be asked another way.
	Take() (a Answer, first time.Duration, err error)
}

// Shared is such a connection.
type Shared interface {
	// Leave has the message of Done come soon, if it has not come yet. It may be called at any time
	// and more than once.
	Leave(w Waiting, id uint32)
}

// Pending is a question under way on a connection that many share.
type Pending struct {
	Waiting
	On Shared
	ID uint32 // of the question, on the connection
}

// Leave gives the answer up. Done and Take follow as ever.
func (p Pending) Leave() { p.On.Leave(p.Waiting, p.ID) }

// Wait waits for the message of Done. It leaves when the context ends.
func (p Pending) Wait(ctx context.Context) {
	if ctx.Done() == nil {
		<-p.Done()
		return
	}
	select {
	case <-p.Done():
		return
	case <-ctx.Done():
	}
	p.Leave()
	<-p.Done()
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

// Counted takes note that the end of the connection counts, and reports whether it did before.
func (e *LostError) Counted() bool { return e.counted.Swap(true) }
