// Package fetcher brings values of a group from the processes that own their keys.
package fetcher

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A Handler decides what follows the error of a peer: a load by this process's own Getter, or an
// error.
type Handler func(ctx context.Context, key, url string, err error) (tryLocally bool, failed error)

// A Fetcher fetches values of a group. Make it with New. It is safe for concurrent use.
type Fetcher struct {
	*loader.Table // of fetches under way

	// Budget is that of hedges.
	Budget Budget

	group   *group.Group
	loader  *loader.Loader
	handler Handler
}

// New makes a Fetcher. What peers cannot be asked for is loaded; limit bounds a fetch that nobody
// waits for, 0 for the default. Without a handler (nil) the errors of a peer's Getter are those of
// the fetch.
func New(g *group.Group, l *loader.Loader, limit time.Duration, handler Handler) *Fetcher {
	f := &Fetcher{group: g, loader: l, handler: handler, Budget: Budget{group: g}}
	f.Table = loader.NewTable(g, limit, f.fetch, f.begin)
	return f
}

// keepApart makes the fetch under way of a key that was written lately one that is not joined, and
// whose value is not kept, while the peers change: the peer that this process takes for the owner
// may not have been told of the write yet. It does the same while a removal of all keys that begin
// with a prefix is under way.
func (f *Fetcher) keepApart(key string) {
	pool := f.group.Route().Pool()
	if f.group.Sweeps.Covers(key) || pool != nil && pool.Changing() && f.group.Touched.Has(key) {
		f.Fence(key)
	}
}

// fetch is what the flights do: ask the owner, or those that stand in for it.
func (f *Fetcher) fetch(ctx context.Context, one *loader.Flight) (outcome.Value, error) {
	f.keepApart(one.Key)
	return f.fetchFrom(ctx, one, f.group.Route().Owners(one.Key), nil)
}

// fetchFrom asks one of the owners after the other. The first has been asked already if there is
// the error failed.
func (f *Fetcher) fetchFrom(ctx context.Context, one *loader.Flight, owners []route.Remote, failed error) (outcome.Value, error) {
	key := one.Key
	for i, r := range owners {
		if r.Here() { // this process is next
			break
		}
		err := failed
		if i > 0 || err == nil {
			start := time.Now()
			var v outcome.Value
			if v, err = f.askOwner(ctx, owners[i:], key); err == nil {
				f.fetched(one, v, start)
				return v, nil
			}
		}
		if ctx.Err() != nil {
			return outcome.Value{}, ctx.Err()
		}
		f.group.Stats.PeerErrors.Add(1)
		if f.handler != nil || f.group.Errors.Answered(err) {
			return f.afterRefusal(ctx, key, r.URL(), err)
		}
		if i == 0 { // the load need not ask it once more
			ctx = loader.AskedInVain(ctx, map[string][]*peer.Peer{key: {r.Peer}})
		}
	}
	return f.loader.Load(ctx, key)
}

// askOwner asks the first of the owners, with a hedge.
func (f *Fetcher) askOwner(ctx context.Context, owners []route.Remote, key string) (outcome.Value, error) {
	f.Budget.Asked.Add(1)
	if !hedges(owners) {
		return f.get(ctx, owners[0], key)
	}
	hedged, cancel := context.WithCancel(ctx)
	defer cancel()
	var h hedge
	defer h.start(hedged, &f.Budget, owners, key, cancel).Stop()
	v, err := f.get(hedged, owners[0], key)
	return h.or(&f.group.Errors, v, err)
}

func (f *Fetcher) get(ctx context.Context, r route.Remote, key string) (outcome.Value, error) {
	answer, err := r.Get(ctx, f.group.Name, key)
	return f.valueOf(key, answer, err)
}

// valueOf is what a peer has answered.
func (f *Fetcher) valueOf(key string, a wire.Answer, err error) (outcome.Value, error) {
	switch {
	case err != nil:
		return outcome.Value{}, err
	case a.Outcome != wire.Found:
		return outcome.Value{}, f.group.Errors.Remote(f.group.Name, key, a)
	}
	return outcome.Value{Bytes: a.Value, Expire: a.Expire}, nil
}

// fetched counts and keeps what a peer has answered.
func (f *Fetcher) fetched(one *loader.Flight, v outcome.Value, start time.Time) {
	f.group.Stats.PeerLoads.Add(1)
	f.group.Process.Sizes.Observe(int64(len(v.Bytes)))
	f.group.Stats.Slowest(time.Since(start).Milliseconds())
	f.group.Tiers.KeepGuest(store.Item{Key: one.Key, Value: v.Bytes, Expire: v.Expire, Fence: &one.Fence})
}

// afterRefusal does what the group's handler says about the error of a peer; without one it is
// returned.
func (f *Fetcher) afterRefusal(ctx context.Context, key, url string, err error) (outcome.Value, error) {
	if f.handler == nil {
		return outcome.Value{}, err
	}
	tryLocally, err := f.handler(ctx, key, url, err)
	if tryLocally {
		return f.loader.Load(ctx, key)
	}
	if err == nil {
		err = fmt.Errorf("%w: %s: the handler said nothing more", outcome.ErrPeerUnavailable, url)
	}
	return outcome.Value{}, err
}
