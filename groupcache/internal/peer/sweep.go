package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// errOriginal says that a peer cannot remove all keys that begin with a prefix.
var errOriginal = fmt.Errorf("%w: peers of the original remove single keys only", ErrUndeliverable)

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
	return p.tell(ctx, telling{"remove_prefix", group, s.Prefix, 0, nil}, func(ctx context.Context, _ func()) error { return p.sweep(ctx, group, s) })
}

func (p *Peer) sweep(ctx context.Context, group string, s writes.Sweep) error {
	if !p.Marked() {
		return errOriginal
	}
	err := p.transport.Sweep(ctx, group, s)
	if Hopeless(err) {
		if forgot := p.transport.Forget(ctx); !Hopeless(forgot) {
			err = forgot
		}
	}
	if errors.Is(err, ErrNoGroup) {
		return nil
	}
	return err
}

// Written asks which of several keys were set or removed at the peer within so long a time. See
// Transport.Written.
func (p *Peer) Written(ctx context.Context, group string, within time.Duration, keys []string) (answers []Answer, err error) {
	if err := p.AwaitGreeting(ctx); err != nil {
		return nil, p.unavailable(err)
	}
	err = p.bounded(ctx, telling{}, func(ctx context.Context, _ func()) (err error) {
		answers, err = p.transport.Written(ctx, group, within, keys)
		return err
	})
	return answers, err
}

// beginMissed has the peer take part in the removals by prefix that are under way: some of those
// that it may ask for values have not begun yet.
func (p *Peer) beginMissed(ctx context.Context) error {
	for _, s := range p.options.beginning.All() {
		if err := p.sweep(ctx, s.Group, s.Sweep); err != nil && !Hopeless(err) {
			return err
		}
	}
	return nil
}

// sweepMissed tells the peer of the removals by prefix that it has missed, and reports whether
// there were any.
func (p *Peer) sweepMissed(ctx context.Context) (told bool, err error) {
	for {
		r, at, ok := p.missed.NextPrefix()
		if !ok {
			return told, nil
		}
		err := p.sweep(ctx, r.Group, writes.Sweep{Phase: writes.Once, Prefix: r.Key})
		switch {
		case err == nil:
			told = true
			p.missed.Delivered()
		case Hopeless(err):
			p.giveUp(err)
		default:
			return told, err
		}
		p.missed.SettlePrefix(r, at)
	}
}
