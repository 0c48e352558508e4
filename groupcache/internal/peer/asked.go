package peer

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"

	"github.com/holdfast-go/holdfast/breaker"
)

// Asked is a Get under way, whose caller waits beside other things. Answer must follow.
type Asked struct {
	peer    *Peer
	permit  breaker.Permit
	pending wire.Pending
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
	pending, ok := p.quick.Quick(ctx, wire.Question{Group: group, Key: key, Silence: p.silence()})
	if !ok {
		p.exit(permit, errGaveUp)
		return Asked{}, false
	}
	return Asked{p, permit, pending}, true
}

// Answered has one message when there is an answer.
func (a *Asked) Answered() <-chan struct{} { return a.pending.Done() }

// Leave gives the answer up. It may be called at any time.
func (a *Asked) Leave() { a.pending.Leave() }

// Answer returns the answer, after the message of Answered. The context is that of the caller. An
// error wraps ErrUnavailable, or is the context's, ErrLeft, or ErrNotTaken.
func (a *Asked) Answer(ctx context.Context) (wire.Answer, error) {
	p := a.peer
	answer, first, err := a.pending.Take()
	if err == nil {
		p.first.observe(first)
		err = p.believe(answer)
	}
	if errors.Is(err, wire.ErrNotTaken) {
		p.exit(a.permit, errGaveUp)
		return wire.Answer{}, err
	}
	if err = p.judge(ctx, ctx, a.permit, err); err != nil {
		return wire.Answer{}, err
	}
	p.count(answer)
	return answer, nil
}

// counted reports whether an error is one of several that have one cause, of which another one has
// been counted.
func counted(err error) bool {
	var lost *wire.LostError
	return errors.As(err, &lost) && lost.Counted()
}

// HasLine reports whether the peer is asked on a connection that many requests share.
func (p *Peer) HasLine() bool { return p.quick != nil && p.quick.HasLine() }

// isQuick reports whether requests need not be shared to be cheap.
func (p *Peer) isQuick() bool {
	return p.marked.Load() && p.HasLine() && !p.missed.Owes()
}

// requestQuickly is request on the connection that all share. If not ok, there is none.
func (p *Peer) requestQuickly(ctx context.Context, group, key string) (answer wire.Answer, ok bool, err error) {
	a, ok := p.askQuickly(ctx, group, key)
	if !ok {
		return wire.Answer{}, false, nil
	}
	a.pending.Wait(ctx)
	answer, err = a.Answer(ctx)
	return answer, !errors.Is(err, wire.ErrNotTaken), err
}

// Route is how the peer is asked.
func (p *Peer) Route() wire.Route {
	if p.quick == nil {
		return wire.Off
	}
	return p.quick.Route()
}
