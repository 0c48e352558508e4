package peer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// The attempts, one after each good probe, after which a peer that does not take its removals is to
// drop all that it has in their place, and after as many again is used without having been told:
// what cannot be delivered must not keep a peer away for ever.
const (
	// answeredAttempts are those that something has answered.
	answeredAttempts = 10
	// silentAttempts are those that nothing has answered: the network may be at fault, so that more
	// of them make sense. With the longest pause between probes they take a minute.
	silentAttempts = 60
)

// aloneAtOnce is how many removals are under way at once where each needs a request of its own.
const aloneAtOnce = 16

// Miss keeps a removal for the peer, which could not be told, and does not use the peer again
// before it was.
func (p *Peer) Miss(r writes.Removal, cause error) {
	if p.missed.Add(r) {
		p.options.log.Warn("groupcache: a peer misses more removals than are kept: it is to drop all that it has when it is back",
			observe.Endpoint(p.shown), "kept", writes.MaxMissed)
	}
	p.breaker.Trip(errors.Join(errors.New("a removal did not arrive"), cause))
}

// catching reports whether the peer is being told what it has missed, before it is used again.
func (p *Peer) catching() bool {
	return p.breaker.State() == breaker.HalfOpen && p.missed.IsCatching()
}

// ready tells the peer what it has missed after a good probe, before it is used again.
func (p *Peer) ready(ctx context.Context) error {
	p.missed.CatchUp()
	defer p.missed.Stop()
	return p.catchUp(ctx)
}

// catchUp tells the peer what it has missed.
func (p *Peer) catchUp(ctx context.Context) error {
	err := p.tellMissed(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUnfinished), !p.missed.Failed(attempts(err)):
		return err
	case p.marked.Load() && p.missed.ForgetInstead():
		return err
	}
	p.missed.DropAll()
	p.warnGivenUp(err)
	return nil
}

// attempts is how many that end with an error are made.
func attempts(err error) int {
	if errors.Is(err, wire.ErrForeign) {
		return answeredAttempts
	}
	return silentAttempts
}

// errUnfinished says that some removals were delivered, before the time was over or the connection
// ended. That is no failed attempt.
var errUnfinished = errors.New("not all removals were delivered")

func (p *Peer) tellMissed(ctx context.Context) error {
	if err := p.beginMissed(ctx); err != nil { // first: from then on it keeps nothing old
		return err
	}
	if err := p.forgetMissed(ctx); err != nil {
		return err
	}
	told, err := p.sweepMissed(ctx)
	if err != nil {
		return err
	}
	for {
		group, keys := p.missed.Next()
		if len(keys) == 0 {
			return nil
		}
		switch err := p.tellAll(ctx, group, keys); {
		case err == nil:
			told = true
		case told && !errors.Is(err, wire.ErrForeign): // it takes long, but not for ever
			return fmt.Errorf("%w: %w", errUnfinished, err)
		default:
			return err
		}
	}
}

// tellAll tells the peer of removals, with one request if it can be.
func (p *Peer) tellAll(ctx context.Context, group string, keys map[string]uint64) error {
	if p.Batches() {
		err := p.transport.RemoveMulti(ctx, group, slices.Collect(maps.Keys(keys)))
		if err == nil || errors.Is(err, wire.ErrNoGroup) {
			p.missed.Settle(group, keys)
			p.missed.Delivered()
			return nil
		}
		if !wire.Hopeless(err) {
			return err
		}
	}
	slots := make(chan struct{}, aloneAtOnce)
	errs := make(chan error, len(keys))
	var all sync.WaitGroup
	for key, at := range keys {
		slots <- struct{}{}
		if len(errs) > 0 {
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			if err := p.remove(ctx, group, key); err != nil && !wire.Hopeless(err) {
				errs <- err
				return
			}
			p.missed.Settle(group, map[string]uint64{key: at})
		})
	}
	all.Wait()
	close(errs)
	return <-errs // nil if there is none
}

// forgetMissed lets a peer of ours that has missed an unknown number of removals drop all that it
// has.
func (p *Peer) forgetMissed(ctx context.Context) error {
	at, ok := p.missed.MustForget()
	if !ok || !p.marked.Load() {
		return nil
	}
	err := p.transport.Forget(ctx)
	switch {
	case err == nil:
		p.missed.Repaid()
	case wire.Hopeless(err):
		p.giveUp(err)
	default:
		return err
	}
	p.missed.SettleAll(at)
	return nil
}

// remove drops a key from the peer's caches, of which it has none without the group. If what
// answers does not let the request through, the key is sent in a body in place of the path, and
// then the peer is to forget everything. The error is Hopeless if none of this can ever arrive; the
// removal is then given up.
func (p *Peer) remove(ctx context.Context, group, key string) error {
	err := p.transport.Remove(ctx, group, key)
	if (wire.Hopeless(err) || errors.Is(err, wire.ErrUndeliverable)) && !errors.Is(err, wire.ErrRefused) && p.marked.Load() {
		err = p.removeOtherwise(ctx, group, key, err)
	}
	switch {
	case err == nil, errors.Is(err, wire.ErrNoGroup):
		p.missed.Delivered()
		return nil
	case wire.Hopeless(err):
		p.giveUp(err)
	}
	return err
}

// repay lets a peer forget all that did not take a removal before, as soon as it takes that. It is
// tried now and then, before a request.
func (p *Peer) repay(ctx context.Context) {
	if p.missed.MayRepay() && p.marked.Load() && p.transport.Forget(ctx) == nil {
		p.missed.Repaid()
	}
}

func (p *Peer) removeOtherwise(ctx context.Context, group, key string, cause error) error {
	err := p.transport.RemoveMulti(ctx, group, []string{key})
	if !wire.Hopeless(err) {
		return err
	}
	err = p.transport.Forget(ctx)
	if err == nil {
		p.missed.Repaid()
	}
	if !wire.Hopeless(err) {
		return err
	}
	return fmt.Errorf("%w; nor can it be told to drop all that it has: %w", cause, err)
}

// giveUp counts a removal that cannot be delivered.
func (p *Peer) giveUp(cause error) {
	if p.missed.Drop() {
		p.warnGivenUp(cause)
	}
}

func (p *Peer) warnGivenUp(cause error) {
	p.options.log.Warn("groupcache: a peer cannot be told of removals, and may answer with old values until they expire: let PUT, DELETE and POST "+
		"through to its base path, and authorise this process", observe.Endpoint(p.shown), observe.Cause(cause))
}

// beginMissed has the peer take part in the removals by prefix that are under way: some of those
// that it may ask for values have not begun yet.
func (p *Peer) beginMissed(ctx context.Context) error {
	for _, s := range p.options.beginning.All() {
		if err := p.sweep(ctx, s.Group, s.Sweep); err != nil && !wire.Hopeless(err) {
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
		case wire.Hopeless(err):
			p.giveUp(err)
		default:
			return told, err
		}
		p.missed.SettlePrefix(r, at)
	}
}
