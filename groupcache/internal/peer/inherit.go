package peer

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// ErrTooLate is the cause of the end of a context that bounds how long a load waits for a former
// owner.
var ErrTooLate = errors.New("a former owner takes too long")

// sparedFor is for how long a former owner is not asked that was too late for several loads in a
// row: it may be far from what counts as silent.
const sparedFor = time.Second

// Inherit asks a former owner for a key that it may have in its cache.
func (p *Peer) Inherit(ctx context.Context, group, key string) (a wire.Answer, ok bool) {
	if time.Now().UnixNano() < p.spared.Load() || p.AwaitGreeting(ctx) != nil {
		return wire.Answer{}, false
	}
	a, ok = p.Cached(ctx, group, key)
	switch {
	case ok:
		p.tooLate.Store(0)
	case errors.Is(context.Cause(ctx), ErrTooLate) && p.tooLate.Add(1) >= strikes:
		p.spared.Store(time.Now().Add(sparedFor).UnixNano())
	}
	return a, ok
}

// AwaitGreeting waits until it is known what the peer is. The error is the context's, or that the
// peer is down or none of ours.
func (p *Peer) AwaitGreeting(ctx context.Context) error {
	select {
	case <-p.known:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !p.Marked() || !p.Up() {
		return wire.ErrUnavailable
	}
	return nil
}

// Written asks which of several keys were set or removed at the peer within so long a time. See
// Transport.Written.
func (p *Peer) Written(ctx context.Context, group string, within time.Duration, keys []string) (answers []wire.Answer, err error) {
	if err := p.AwaitGreeting(ctx); err != nil {
		return nil, p.unavailable(err)
	}
	err = p.bounded(ctx, telling{}, func(ctx context.Context, _ func()) (err error) {
		answers, err = p.transport.Written(ctx, group, within, keys)
		return err
	})
	return answers, err
}
