package fetcher

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// begun is a fetch whose owner was asked on a connection that does not keep the caller.
type begun struct {
	fetcher *Fetcher
	flight  *loader.Flight
	owners  []route.Remote
	asked   peer.Asked
	start   time.Time
	failed  error // the owner's

	hedge hedge
	timer *time.Timer // of hedge, nil for none
}

// begin is fetch up to the answer of the owner, nil if it cannot be asked so.
func (f *Fetcher) begin(ctx context.Context, one *loader.Flight) flight.Begun {
	f.keepApart(one.Key)
	owners := f.group.Route().Owners(one.Key)
	if owners[0].Peer == nil {
		return nil
	}
	b := &begun{fetcher: f, flight: one, owners: owners, start: time.Now()}
	var ok bool
	if b.asked, ok = owners[0].Peer.Ask(ctx, f.group.Name, one.Key); !ok {
		return nil
	}
	f.Budget.Asked.Add(1)
	if hedges(owners) {
		b.timer = b.hedge.start(ctx, &f.Budget, owners, one.Key, b.asked.Leave)
	}
	return b
}

// Done implements flight.Begun.
func (b *begun) Done() <-chan struct{} { return b.asked.Answered() }

// Leave implements flight.Begun.
func (b *begun) Leave() { b.asked.Leave() }

// Finish implements flight.Begun.
func (b *begun) Finish(ctx context.Context) (ok bool, err error) {
	f, key := b.fetcher, b.flight.Key
	if b.timer != nil {
		b.timer.Stop()
	}
	answer, err := b.asked.Answer(ctx)
	v, err := f.valueOf(key, answer, route.Unavailable(err))
	v, err = b.hedge.or(&f.group.Errors, v, err)
	switch {
	case err == nil:
		f.fetched(b.flight, v, b.start)
		b.flight.Data.Value = v
		return true, nil
	case ctx.Err() != nil:
		return true, ctx.Err()
	case f.handler == nil && f.group.Errors.Answered(err):
		f.group.Stats.PeerErrors.Add(1)
		return true, err
	case errors.Is(err, wire.ErrNotTaken): // it is to be asked another way
	default:
		b.failed = err
	}
	return false, nil
}

// Rest implements flight.Begun.
func (b *begun) Rest(ctx context.Context) (err error) {
	b.flight.Data.Value, err = b.fetcher.fetchFrom(ctx, b.flight, b.owners, b.failed)
	return err
}
