// Package handover takes values over from other caches: those of former owners, of a process that
// leaves, and of one that has left a snapshot.
package handover

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A Handover takes over values of a group. Make it with New. It is safe for concurrent use.
type Handover struct {
	// TakenOver is how many values were taken from processes that were about to leave.
	TakenOver atomic.Int64

	group  *group.Group
	loader *loader.Loader
}

// New makes a Handover, which takes values as loads that others may join, and that writes fence.
func New(g *group.Group, l *loader.Loader) *Handover { return &Handover{group: g, loader: l} }

// Inherit looks for several keys that are to be loaded in the caches of their former owners, as far
// as they are this process's own, with one request to each former owner: first to those that owned
// them last, then, for what these do not have, to those before. The context it returns is for
// loading the keys that are still missing.
func (h *Handover) Inherit(ctx context.Context, keys []string) context.Context {
	if len(keys) < 2 {
		return ctx
	}
	former := make(map[string][]*peer.Peer)
	for _, key := range keys {
		if all := h.group.Route().Former(key); len(all) > 0 && h.group.Owns(key) && !h.group.Touched.Has(key) {
			former[key] = all
		}
	}
	if len(former) == 0 {
		return ctx
	}
	limited, cancel := context.WithTimeout(ctx, loader.FormerBudget)
	defer cancel()
	asked := make(map[string][]*peer.Peer, len(former))
	for rank := 0; limited.Err() == nil; rank++ {
		by := make(map[*peer.Peer][]string)
		for key, all := range former {
			if _, here := h.group.Tiers.Peek(key); rank < len(all) && !here {
				by[all[rank]] = append(by[all[rank]], key)
				asked[key] = all[:rank+1]
			}
		}
		if len(by) == 0 {
			break
		}
		h.takeFromEach(limited, by)
	}
	return loader.AskedInVain(ctx, asked)
}

// takeFromEach takes from the caches of peers what each has of its keys.
func (h *Handover) takeFromEach(ctx context.Context, by map[*peer.Peer][]string) {
	var all sync.WaitGroup
	for p, keys := range by {
		for part := range multiwire.Parts(keys) {
			all.Go(func() { h.loader.Inherit(h.TakeFrom(ctx, p, part)) })
		}
	}
	all.Wait()
}

// TakeOver takes values of keys from the cache of a peer that is about to leave.
func (h *Handover) TakeOver(ctx context.Context, from string, keys []string) error {
	pool := h.group.Route().Pool()
	if pool == nil || h.group.Process.Limits().SetOwnerOnly || h.group.Process.Handover < 0 {
		return wire.ErrRefused
	}
	p := pool.Peer(from)
	if p == nil {
		return wire.ErrRefused
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		_, here := h.group.Tiers.Main.Peek(key)
		return here
	})
	h.TakenOver.Add(h.TakeFrom(ctx, p, keys))
	return nil
}

// TakeFrom keeps what a peer has in its cache of keys, as loads that others may join, and returns
// how many values that were. It asks again for what did not find room in the answer. Loads of what
// the peer does not have end without a value: their callers load. Keys that were set or removed
// here lately are not asked for, as the peer may not have been told.
//
//nolint:contextcheck // the batch's context ends with ctx
func (h *Handover) TakeFrom(ctx context.Context, p *peer.Peer, keys []string) (taken int64) {
	if p.AwaitGreeting(ctx) != nil {
		return 0
	}
	b := h.loader.Batch(ctx, keys)
	defer b.End()
	b.Abstain()
	defer b.LandAll(flight.ErrUndone)
	defer context.AfterFunc(ctx, b.End)()
	for left := slices.DeleteFunc(slices.Clone(b.Flights), h.wroteBefore); len(left) > 0; {
		answers, err := p.CachedMulti(b.Lifetime(), h.group.Name, flight.Keys(left))
		if err != nil {
			break
		}
		var absent []*loader.Flight
		for i, a := range answers {
			f := left[i]
			switch {
			case a.Outcome == wire.Absent:
				absent = append(absent, f)
			case a.Outcome == wire.Found && h.group.Process.Alive(a.Expire):
				h.group.Tiers.Main.Put(store.Item{Key: f.Key, Value: a.Value, Expire: a.Expire, Fence: &f.Fence})
				taken++
				loader.Land(b, f, outcome.Value{Bytes: a.Value, Expire: a.Expire}, nil)
			}
		}
		if len(absent) == len(left) {
			break
		}
		left = absent
	}
	return taken
}

// wroteBefore reports whether the key of a load under way was set or removed here lately. A write
// that comes later fences the load. Asked before the load has begun, it would miss a write that
// comes in between.
func (h *Handover) wroteBefore(f *loader.Flight) bool { return h.group.Touched.Has(f.Key) }
