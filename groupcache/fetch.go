package groupcache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

// fetch is what the flights of fetches do: ask the owner, or those that stand in for it.
func (g *Group) fetch(ctx context.Context, f *loading) (ByteView, error) {
	g.keepApart(f.Key)
	return g.fetchFrom(ctx, f, g.route().owners(f.Key), nil)
}

// fetchFrom asks one of the owners after the other. The first has been asked already if there is
// the error failed.
func (g *Group) fetchFrom(ctx context.Context, f *loading, owners []remote, failed error) (ByteView, error) {
	key := f.Key
	for i, r := range owners {
		if r.here() { // this process is next
			break
		}
		err := failed
		if i > 0 || err == nil {
			start := time.Now()
			var v ByteView
			if v, err = g.askOwner(ctx, owners[i:], key); err == nil {
				g.fetched(f, v, start)
				return v, nil
			}
		}
		if ctx.Err() != nil {
			return ByteView{}, ctx.Err()
		}
		g.Stats.PeerErrors.Add(1)
		if g.config.onPeerError != nil || answered(err) {
			return g.afterRefusal(ctx, key, r.url(), err)
		}
		if i == 0 { // the load need not ask it once more
			ctx = context.WithValue(ctx, askedFor{}, map[string][]*peer.Peer{key: {r.peer}})
		}
	}
	return brought(g.loads.Do(ctx, key))
}

// fetched counts and keeps what a peer has answered.
func (g *Group) fetched(f *loading, v ByteView, start time.Time) {
	g.Stats.PeerLoads.Add(1)
	g.instance.histograms.sizes.Observe(int64(v.Len()))
	g.Stats.GetFromPeersLatencyLower.raise(time.Since(start).Milliseconds())
	g.keepGuest(store.Item{Key: f.Key, Value: v.s, Expire: v.expire, Fence: &f.Fence})
}

// afterRefusal does what the group's handler says about the error of a peer; without one it is
// returned.
func (g *Group) afterRefusal(ctx context.Context, key, url string, err error) (ByteView, error) {
	if g.config.onPeerError == nil {
		return ByteView{}, err
	}
	tryLocally, err := g.config.onPeerError(ctx, g, key, url, err)
	if tryLocally {
		return brought(g.loads.Do(ctx, key))
	}
	if err == nil {
		err = fmt.Errorf("%w: %s: the handler said nothing more", ErrPeerUnavailable, url)
	}
	return ByteView{}, err
}

// begunFetch is a fetch whose owner was asked on a connection that does not keep who waits.
type begunFetch struct {
	group  *Group
	flight *loading
	owners []remote
	asked  peer.Asked
	start  time.Time
	failed error // the owner's

	hedge hedge
	timer *time.Timer // of hedge, nil for none
}

// beginFetch is fetch up to the answer of the owner, nil if it cannot be asked so.
func (g *Group) beginFetch(ctx context.Context, f *loading) flight.Begun {
	g.keepApart(f.Key)
	owners := g.route().owners(f.Key)
	if owners[0].peer == nil {
		return nil
	}
	b := &begunFetch{group: g, flight: f, owners: owners, start: time.Now()}
	var ok bool
	if b.asked, ok = owners[0].peer.Ask(ctx, g.name, f.Key); !ok {
		return nil
	}
	g.fetchCount.Add(1)
	if hedges(owners) {
		b.timer = b.hedge.start(ctx, g, owners, f.Key, b.asked.Leave)
	}
	return b
}

// Done implements flight.Begun.
func (b *begunFetch) Done() <-chan struct{} { return b.asked.Done() }

// Leave implements flight.Begun.
func (b *begunFetch) Leave() { b.asked.Leave() }

// Finish implements flight.Begun.
func (b *begunFetch) Finish(ctx context.Context) (ok bool, err error) {
	g, key := b.group, b.flight.Key
	if b.timer != nil {
		b.timer.Stop()
	}
	answer, err := b.asked.Answer(ctx)
	v, err := viewOf(g.name, key, answer, err)
	v, err = b.hedge.or(v, err)
	switch {
	case err == nil:
		g.fetched(b.flight, v, b.start)
		b.flight.Data.view = v
		return true, nil
	case ctx.Err() != nil:
		return true, ctx.Err()
	case g.config.onPeerError == nil && answered(err):
		g.Stats.PeerErrors.Add(1)
		return true, err
	case errors.Is(err, peer.ErrNotTaken): // it is to be asked another way
	default:
		b.failed = err
	}
	return false, nil
}

// Rest implements flight.Begun.
func (b *begunFetch) Rest(ctx context.Context) (err error) {
	b.flight.Data.view, err = b.group.fetchFrom(ctx, b.flight, b.owners, b.failed)
	return err
}

// askOwner asks the first of the owners, with a hedge.
func (g *Group) askOwner(ctx context.Context, owners []remote, key string) (ByteView, error) {
	g.fetchCount.Add(1)
	if !hedges(owners) {
		return owners[0].get(ctx, g.name, key)
	}
	hedged, cancel := context.WithCancel(ctx)
	defer cancel()
	var h hedge
	defer h.start(hedged, g, owners, key, cancel).Stop()
	v, err := owners[0].get(hedged, g.name, key)
	return h.or(v, err)
}

// hedgeShare is the budget of hedges: one of so many fetches.
const hedgeShare = 20

// hedges reports whether it is known when to ask the cache of the second of the owners, too.
func hedges(owners []remote) bool {
	if len(owners) < 2 {
		return false
	}
	owner, next := owners[0].peer, owners[1].peer
	return next != nil && next.Up() && owner.Marked() && owner.Usual() != 0
}

// hedge is the question to the cache of the next owner, if the owner takes longer than 95 of 100
// times. It never causes a load.
type hedge struct{ found atomic.Pointer[peer.Answer] }

// start asks later, within a budget. What is found ends the question to the owner.
func (h *hedge) start(ctx context.Context, g *Group, owners []remote, key string, end func()) *time.Timer {
	next := owners[1].peer
	ask := func() {
		if a, ok := next.Cached(ctx, g.name, key); ok {
			h.found.Store(&a)
			g.hedgesWon.Add(1)
			end()
		}
	}
	return time.AfterFunc(owners[0].peer.Usual(), func() {
		if g.hedges.Load()*hedgeShare < g.fetchCount.Load() && g.instance.spawn(ask) {
			g.hedges.Add(1)
		}
	})
}

// or is what the owner has said, or the next one if the owner has not.
func (h *hedge) or(v ByteView, err error) (ByteView, error) {
	if a := h.found.Load(); err != nil && !answered(err) && a != nil {
		return ByteView{a.Value, a.Expire}, nil
	}
	return v, err
}
