package peer

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// Value is the one that is set.
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
	set := func(ctx context.Context, alive func()) error {
		err := p.transport.Set(ctx, group, key, v.Value, v.Expire, alive)
		if !wire.Hopeless(err) {
			return err
		}
		if gone := p.remove(ctx, group, key); gone != nil && !wire.Hopeless(gone) {
			return gone
		}
		return err
	}
	t := telling{"set", group, key, len(v.Value), v.Left}
	err := p.tell(ctx, t, func(ctx context.Context) error { return p.bounded(ctx, t, set) })
	if errors.Is(err, errNotBegun) {
		return p.Remove(ctx, group, key)
	}
	return err
}

// Remove drops a key from the peer's caches, of which it has none without the group. An error wraps
// ErrUnavailable, or is the context's.
func (p *Peer) Remove(ctx context.Context, group, key string) error {
	return p.tell(ctx, telling{"remove", group, key, 0, nil}, func(ctx context.Context) error { return p.removeInTurn(ctx, group, key) })
}

// tell makes a request that changes a key, by do.
func (p *Peer) tell(ctx context.Context, t telling, do func(context.Context) error) error {
	if p.options.Trace != nil {
		return p.tellTraced(ctx, t, do)
	}
	return do(ctx)
}

// errOriginal says that a peer cannot remove all keys that begin with a prefix.
var errOriginal = fmt.Errorf("%w: peers of the original remove single keys only", wire.ErrUndeliverable)

// Sweep drops all keys of the peer that begin with a prefix. One of an older version forgets all
// that it has instead. The error is Hopeless if it can do neither, as a peer of the original;
// otherwise it wraps ErrUnavailable, or is the context's.
func (p *Peer) Sweep(ctx context.Context, group string, s writes.Sweep) error {
	select {
	case <-p.known:
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.Up() && !p.Marked() {
		return p.unavailable(errOriginal)
	}
	t := telling{"remove_prefix", group, s.Prefix, 0, nil}
	return p.tell(ctx, t, func(ctx context.Context) error {
		return p.bounded(ctx, t, func(ctx context.Context, _ func()) error { return p.sweep(ctx, group, s) })
	})
}

func (p *Peer) sweep(ctx context.Context, group string, s writes.Sweep) error {
	if !p.Marked() {
		return errOriginal
	}
	err := p.transport.Sweep(ctx, group, s)
	if wire.Hopeless(err) {
		if forgot := p.transport.Forget(ctx); !wire.Hopeless(forgot) {
			err = forgot
		}
	}
	if errors.Is(err, wire.ErrNoGroup) {
		return nil
	}
	return err
}

// Offer tells the peer that this process has values of keys that will be the peer's own, and waits
// until it has taken them.
func (p *Peer) Offer(ctx context.Context, group, from string, keys []string) error {
	return p.bounded(ctx, telling{}, func(ctx context.Context, _ func()) error { return p.transport.Offer(ctx, group, from, keys) })
}
