package peer

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"

	"github.com/holdfast-go/holdfast/breaker"
)

// call makes a request that may take as long as the peer shows signs of life.
func (p *Peer) call(ctx context.Context, fn func(ctx context.Context, alive func()) error) error {
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	w := startWatchdog(p.limit(), cancel)
	defer w.timer.Stop()
	first := true
	alive := func() {
		if first {
			first = false
			p.first.observe(time.Since(start))
		}
		w.feed(3 * wire.NextSign)
	}
	return p.guard(ctx, watched, func() error {
		err := fn(watched, alive)
		if err == nil && first {
			p.first.observe(time.Since(start))
		}
		return err
	})
}

// guard asks the breaker for leave and tells it what came of it. The context limited ends when the
// peer has had its time.
func (p *Peer) guard(ctx, limited context.Context, fn func() error) error {
	permit, err := p.enter()
	if err != nil {
		p.counts[countRefused].Add(1)
		return p.unavailable(err)
	}
	return p.judge(ctx, limited, permit, fn())
}

// enter begins a request, whose end is exit.
func (p *Peer) enter() (breaker.Permit, error) {
	permit, err := p.breaker.Allow()
	if err != nil {
		return permit, err
	}
	if p.inFlight.Add(1) > int64(p.options.MaxInFlight) {
		p.exit(permit, errGaveUp)
		return permit, wire.ErrBusy
	}
	return permit, nil
}

// exit ends a request and tells the breaker what came of it.
func (p *Peer) exit(permit breaker.Permit, err error) {
	p.inFlight.Add(-1)
	permit.Done(err)
}

// judge ends a request, and says what its caller is told.
func (p *Peer) judge(ctx, limited context.Context, permit breaker.Permit, err error) error {
	if err == nil {
		p.exit(permit, nil)
		if p.refuses.Load() {
			p.refuses.Store(false)
		}
		return nil
	}
	silent := errors.Is(context.Cause(limited), wire.ErrSilent) || errors.Is(err, wire.ErrSilent)
	if !silent && (ctx.Err() != nil || errors.Is(err, wire.ErrLeft)) {
		p.exit(permit, errGaveUp)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	if silent {
		err = wire.ErrSilent
	}
	if counted(err) {
		p.exit(permit, errGaveUp)
	} else {
		p.exit(permit, err)
	}
	p.counts[countFailed].Add(1)
	p.sayRefused(err)
	return p.unavailable(err)
}

func (p *Peer) count(a wire.Answer) {
	switch a.Outcome {
	case wire.Absent: // it will be asked again
	case wire.NotFound:
		p.counts[countNotFound].Add(1)
	case wire.LoadFailed:
		p.counts[countLoadFailed].Add(1)
	default:
		p.counts[countFound].Add(1)
	}
}

// believe learns who has answered. What a proxy or another service answers in the place of a peer
// of ours lacks our mark; only a value is proof that an older peer has taken its place.
func (p *Peer) believe(a wire.Answer) error {
	switch {
	case a.Marked && !p.marked.Swap(true):
		p.again(p)                                // it may know more than what answered before
		if _, all := p.missed.MustForget(); all { // something else has answered the greeting: what it has may be out of date
			p.breaker.Trip(errUntold)
			return errUntold
		}
	case a.Marked:
	case a.Outcome == wire.Found:
		if p.marked.Swap(false) {
			p.learn(wire.Greeting{})
		}
	case p.marked.Load():
		return wire.ErrForeign
	}
	return nil
}

// telling is a request that changes a key.
type telling struct {
	name, group, key string
	size             int             // of the value
	left             <-chan struct{} // see Value
}

// bounded makes a request that tells the peer something, when its turn has come. It may take as
// long as something of it goes out. A peer that is being told of the changes it has missed is told
// of those made meanwhile, too: otherwise there would always be more.
func (p *Peer) bounded(ctx context.Context, t telling, fn func(ctx context.Context, alive func()) error) error {
	bytes, over, err := p.turns.take(ctx, t.size, t.left)
	if err != nil {
		return err
	}
	defer over()
	return p.within(ctx, bytes, fn)
}

// within is bounded when the turn has come, and so many bytes are on their way to the peer.
func (p *Peer) within(ctx context.Context, bytes int64, fn func(ctx context.Context, alive func()) error) error {
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begun := time.Now()
	w := startWatchdog(p.patience()+underWay(bytes), cancel)
	defer w.timer.Stop()
	alive := func() { w.feed(time.Since(begun)) } // what has been written may take as long to arrive as it took to be written
	if p.catching() {
		if err := fn(watched, alive); err != nil {
			if errors.Is(context.Cause(watched), wire.ErrSilent) {
				err = wire.ErrSilent
			}
			return p.unavailable(err)
		}
		return nil
	}
	return p.guard(ctx, watched, func() error { return fn(watched, alive) })
}

// severalKeys is a request for several keys of a group.
type severalKeys struct {
	name, group string
	keys        []string
	ask         func(ctx context.Context, alive func()) ([]wire.Answer, error)
}
