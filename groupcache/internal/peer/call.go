package peer

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

// Get asks for a key. An error wraps ErrUnavailable, or is the context's.
func (p *Peer) Get(ctx context.Context, group, key string) (Answer, error) {
	if b := p.batcherFor(group, key); b != nil {
		answer, err := b.get(ctx, key)
		if !errors.Is(err, ErrUndeliverable) && (err != nil || answer.Outcome != Absent) {
			return answer, err
		}
	}
	return p.getAlone(ctx, group, key)
}

// Usual is how long 95 of 100 first signs of life of the peer took at most lately, 0 if that is not
// known.
func (p *Peer) Usual() time.Duration { return time.Duration(p.first.p95.Load()) }

// Cached asks for a key that the peer may have in its cache.
func (p *Peer) Cached(ctx context.Context, group, key string) (a Answer, ok bool) {
	if b := p.batcherFor(group, key); b != nil {
		a, err := b.get(ctx, key)
		return a, err == nil && a.Outcome == Found
	}
	answers, err := p.CachedMulti(ctx, group, []string{key})
	if err != nil || answers[0].Outcome != Found {
		return Answer{}, false
	}
	return answers[0], true
}

// CachedMulti asks for what the peer has in its cache of several keys, as many as fit into a
// request. An error wraps ErrUnavailable, or is the context's.
func (p *Peer) CachedMulti(ctx context.Context, group string, keys []string) ([]Answer, error) {
	return p.several(ctx, severalKeys{"get_cached", group, keys, func(ctx context.Context, _ func()) ([]Answer, error) {
		return p.transport.GetCached(ctx, group, keys)
	}})
}

// severalKeys is a request for several keys of a group.
type severalKeys struct {
	name, group string
	keys        []string
	ask         func(ctx context.Context, alive func()) ([]Answer, error)
}

// several makes a request for several keys. Once such a request was not let through, none is made
// for a minute, or until the peer is greeted again.
func (p *Peer) several(ctx context.Context, s severalKeys) ([]Answer, error) {
	if p.options.Trace != nil {
		return p.severalTraced(ctx, s)
	}
	return p.requestSeveral(ctx, s)
}

func (p *Peer) requestSeveral(ctx context.Context, s severalKeys) ([]Answer, error) {
	if p.isAlone() {
		return nil, p.unavailable(ErrUndeliverable)
	}
	var answers []Answer
	err := p.call(ctx, func(ctx context.Context, alive func()) (err error) {
		p.repay(ctx)
		answers, err = s.ask(ctx, alive)
		return err
	})
	if errors.Is(err, ErrUndeliverable) {
		p.alone.Store(time.Now().Add(aloneFor).UnixNano())
	}
	if err != nil {
		return nil, err
	}
	for _, a := range answers {
		p.count(a)
	}
	return answers, nil
}

func (p *Peer) getAlone(ctx context.Context, group, key string) (Answer, error) {
	if p.options.Trace != nil {
		return p.getTraced(ctx, group, key)
	}
	return p.request(ctx, group, key)
}

func (p *Peer) request(ctx context.Context, group, key string) (Answer, error) {
	if p.isQuick() {
		if answer, ok, err := p.requestQuickly(ctx, group, key); ok {
			return answer, err
		}
	}
	var answer Answer
	err := p.call(ctx, func(ctx context.Context, alive func()) error {
		p.repay(ctx)
		var err error
		if answer, err = p.transport.Get(ctx, group, key, alive); err == nil {
			err = p.believe(answer)
		}
		return err
	})
	if err != nil {
		return Answer{}, err
	}
	p.count(answer)
	return answer, nil
}

// GetMulti asks a marked peer for several keys at once, as many as fit into a request. An error
// wraps ErrUnavailable, or is the context's.
func (p *Peer) GetMulti(ctx context.Context, group string, keys []string) ([]Answer, error) {
	return p.several(ctx, severalKeys{"get_multi", group, keys, func(ctx context.Context, alive func()) ([]Answer, error) {
		return p.transport.GetMulti(ctx, group, keys, alive)
	}})
}

func (p *Peer) count(a Answer) {
	switch a.Outcome {
	case Absent: // it will be asked again
	case NotFound:
		p.counts[countNotFound].Add(1)
	case LoadFailed:
		p.counts[countLoadFailed].Add(1)
	default:
		p.counts[countFound].Add(1)
	}
}

// believe learns who has answered. What a proxy or another service answers in the place of a peer
// of ours lacks our mark; only a value is proof that an older peer has taken its place.
func (p *Peer) believe(a Answer) error {
	switch {
	case a.Marked && !p.marked.Swap(true):
		p.again(p)                                // it may know more than what answered before
		if _, all := p.missed.MustForget(); all { // something else has answered the greeting: what it has may be out of date
			p.breaker.Trip(errUntold)
			return errUntold
		}
	case a.Marked:
	case a.Outcome == Found:
		if p.marked.Swap(false) {
			p.learn(Greeting{})
		}
	case p.marked.Load():
		return ErrForeign
	}
	return nil
}

// Value is what is set.
type Value struct {
	Value  string
	Expire int64
	// Left is closed when the caller has left. Then the value does not go out any more: the key is
	// removed in its place, which needs no memory. Nil for never.
	Left <-chan struct{}
}

// Set stores a value at the peer. If the peer does not take it, the key is removed there. An error
// wraps ErrUnavailable, or is the context's.
func (p *Peer) Set(ctx context.Context, group, key string, v Value) error {
	err := p.tell(ctx, telling{"set", group, key, len(v.Value), v.Left}, func(ctx context.Context, alive func()) error {
		err := p.transport.Set(ctx, group, key, v.Value, v.Expire, alive)
		if !Hopeless(err) {
			return err
		}
		if gone := p.remove(ctx, group, key); gone != nil && !Hopeless(gone) {
			return gone
		}
		return err
	})
	if errors.Is(err, errNotBegun) {
		return p.Remove(ctx, group, key)
	}
	return err
}

// Remove drops a key from the peer's caches, of which it has none without the group. An error wraps
// ErrUnavailable, or is the context's.
func (p *Peer) Remove(ctx context.Context, group, key string) error {
	return p.tell(ctx, telling{"remove", group, key, 0, nil}, func(ctx context.Context, _ func()) error { return p.remove(ctx, group, key) })
}

// telling is a request that changes a key.
type telling struct {
	name, group, key string
	size             int             // of the value
	left             <-chan struct{} // see Value
}

// tell makes a request that changes a key.
func (p *Peer) tell(ctx context.Context, t telling, fn func(ctx context.Context, alive func()) error) error {
	if p.options.Trace != nil {
		return p.tellTraced(ctx, t, fn)
	}
	return p.bounded(ctx, t, fn)
}

// bounded makes a request that tells the peer something, when its turn has come. It may take as
// long as something of it goes out. A peer that is being told what it has missed is told what is
// written meanwhile, too: otherwise there would always be more.
func (p *Peer) bounded(ctx context.Context, t telling, fn func(ctx context.Context, alive func()) error) error {
	bytes, leave, err := p.turns.take(ctx, t.size, t.left)
	if err != nil {
		return err
	}
	defer leave()
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begun := time.Now()
	w := startWatchdog(p.patience()+underWay(bytes), cancel)
	defer w.timer.Stop()
	alive := func() { w.feed(time.Since(begun)) } // what has been written may take as long to arrive as it took to be written
	if p.catching() {
		if err := fn(watched, alive); err != nil {
			if errors.Is(context.Cause(watched), ErrSilent) {
				err = ErrSilent
			}
			return p.unavailable(err)
		}
		return nil
	}
	return p.guard(ctx, watched, func() error { return fn(watched, alive) })
}

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
		w.feed(3 * NextSign)
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
		return permit, ErrBusy
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
	silent := errors.Is(context.Cause(limited), ErrSilent) || errors.Is(err, ErrSilent)
	if !silent && (ctx.Err() != nil || errors.Is(err, ErrLeft)) {
		p.exit(permit, errGaveUp)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	if silent {
		err = ErrSilent
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
