package peer

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// Get asks for a key. An error wraps ErrUnavailable, or is the context's.
func (p *Peer) Get(ctx context.Context, group, key string) (wire.Answer, error) {
	if b := p.batcherFor(group, key); b != nil {
		answer, err := b.get(ctx, key)
		if !errors.Is(err, wire.ErrUndeliverable) && (err != nil || answer.Outcome != wire.Absent) {
			return answer, err
		}
	}
	return p.getAlone(ctx, group, key)
}

// Usual is how long 95 of 100 first signs of life of the peer took at most lately, 0 if that is not
// known.
func (p *Peer) Usual() time.Duration { return time.Duration(p.first.p95.Load()) }

// Cached asks for a key that the peer may have in its cache.
func (p *Peer) Cached(ctx context.Context, group, key string) (a wire.Answer, ok bool) {
	if b := p.batcherFor(group, key); b != nil {
		a, err := b.get(ctx, key)
		return a, err == nil && a.Outcome == wire.Found
	}
	answers, err := p.CachedMulti(ctx, group, []string{key})
	if err != nil || answers[0].Outcome != wire.Found {
		return wire.Answer{}, false
	}
	return answers[0], true
}

// CachedMulti asks for what the peer has in its cache of several keys, as many as fit into a
// request. An error wraps ErrUnavailable, or is the context's.
func (p *Peer) CachedMulti(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	return p.several(ctx, severalKeys{"get_cached", group, keys, func(ctx context.Context, _ func()) ([]wire.Answer, error) {
		return p.transport.GetCached(ctx, group, keys)
	}})
}

// several makes a request for several keys. Once such a request was not let through, none is made
// for a minute, or until the peer is greeted again.
func (p *Peer) several(ctx context.Context, s severalKeys) ([]wire.Answer, error) {
	if p.options.Trace != nil {
		return p.severalTraced(ctx, s)
	}
	return p.requestSeveral(ctx, s)
}

func (p *Peer) requestSeveral(ctx context.Context, s severalKeys) ([]wire.Answer, error) {
	if p.isAlone() {
		return nil, p.unavailable(wire.ErrUndeliverable)
	}
	var answers []wire.Answer
	err := p.call(ctx, func(ctx context.Context, alive func()) (err error) {
		p.repay(ctx)
		answers, err = s.ask(ctx, alive)
		return err
	})
	if errors.Is(err, wire.ErrUndeliverable) {
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

func (p *Peer) getAlone(ctx context.Context, group, key string) (wire.Answer, error) {
	if p.options.Trace != nil {
		return p.getTraced(ctx, group, key)
	}
	return p.request(ctx, group, key)
}

func (p *Peer) request(ctx context.Context, group, key string) (wire.Answer, error) {
	if p.isQuick() {
		if answer, ok, err := p.requestQuickly(ctx, group, key); ok {
			return answer, err
		}
	}
	var answer wire.Answer
	err := p.call(ctx, func(ctx context.Context, alive func()) error {
		p.repay(ctx)
		var err error
		if answer, err = p.transport.Get(ctx, group, key, alive); err == nil {
			err = p.believe(answer)
		}
		return err
	})
	if err != nil {
		return wire.Answer{}, err
	}
	p.count(answer)
	return answer, nil
}

// GetMulti asks a marked peer for several keys at once, as many as fit into a request. An error
// wraps ErrUnavailable, or is the context's.
func (p *Peer) GetMulti(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	return p.several(ctx, severalKeys{"get_multi", group, keys, func(ctx context.Context, alive func()) ([]wire.Answer, error) {
		return p.transport.GetMulti(ctx, group, keys, alive)
	}})
}
