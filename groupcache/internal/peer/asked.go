package peer

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

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

// Asked is a Get under way, whose caller waits beside other things. Answer must follow.
type Asked struct {
	peer    *Peer
	permit  breaker.Permit
	pending Pending
}

// Ask asks for a key without waiting for the answer. If not ok, it was not asked: that is left to
// Get.
func (p *Peer) Ask(ctx context.Context, group, key string) (a Asked, ok bool) {
	if p.options.Trace != nil || !p.isQuick() {
		return Asked{}, false
	}
	return p.askQuickly(ctx, group, key)
}

func (p *Peer) askQuickly(ctx context.Context, group, key string) (a Asked, ok bool) {
	permit, err := p.enter()
	if err != nil {
		return Asked{}, false
	}
	pending, ok := p.quick.Quick(ctx, Question{Group: group, Key: key, Silence: p.silence()})
	if !ok {
		p.exit(permit, errGaveUp)
		return Asked{}, false
	}
	return Asked{p, permit, pending}, true
}

// Done has one message when there is an answer.
func (a *Asked) Done() <-chan struct{} { return a.pending.Done() }

// Leave gives the answer up. It may be called at any time.
func (a *Asked) Leave() { a.pending.Leave() }

// Answer returns the answer, after the message of Done. The context is that of the caller. An error
// wraps ErrUnavailable, or is the context's, ErrLeft, or ErrNotTaken.
func (a *Asked) Answer(ctx context.Context) (Answer, error) {
	p := a.peer
	answer, first, err := a.pending.Take()
	if err == nil {
		p.first.observe(first)
		err = p.believe(answer)
	}
	if errors.Is(err, ErrNotTaken) {
		p.exit(a.permit, errGaveUp)
		return Answer{}, err
	}
	if err = p.judge(ctx, ctx, a.permit, err); err != nil {
		return Answer{}, err
	}
	p.count(answer)
	return answer, nil
}
