package groupcache

import (
	"context"
	"slices"
	"sync"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// ResetDefault makes a new default instance, as at the start of a process.
func ResetDefault() {
	_ = standard().Close()
	standard = sync.OnceValue(newStandard)
}

// Acquainted reports whether all peers have shown our mark, and the ring is the one that is meant.
func (i *Instance) Acquainted() bool {
	if p := i.pool; i.options.Ring != HashRing && len(p.Peers()) > 0 && !p.Even() {
		return false
	}
	for _, p := range i.pool.Peers() {
		if !p.Marked() {
			return false
		}
	}
	return true
}

// Explored reports whether it is known what gets through to the peers.
func (i *Instance) Explored() bool {
	return !slices.ContainsFunc(i.pool.Peers(), func(p *peer.Peer) bool { return !p.Explored() })
}

// AsksByFrames reports whether peers are to be asked by frames.
func (i *Instance) AsksByFrames() bool { return i.options.Frames == FramesAuto }

// Owns reports whether this instance owns a key.
func (i *Instance) Owns(key string) bool { return i.pool.Owner(key) == nil }

// Zone is where this instance is.
func (i *Instance) Zone() string { return i.options.Zone }

// PeersUp is how many peers are asked.
func (i *Instance) PeersUp() (n int) {
	for _, p := range i.pool.Peers() {
		if p.Up() {
			n++
		}
	}
	return n
}

// Ranks are the URLs of the peers that own a key, best first; "" is this instance.
func (i *Instance) Ranks(key string) (urls []string) {
	for _, p := range i.pool.Owners(nil, key) {
		if p == nil {
			urls = append(urls, "")
			continue
		}
		urls = append(urls, p.URL())
	}
	return urls
}

// Keep puts a value into the hot cache, as if it had been loaded in the owner's place.
func (g *Group) Keep(key, value string) { g.shared.Tiers.PutHot(store.Item{Key: key, Value: value}) }

// GrantHedges makes room in the budget of hedges.
func (g *Group) GrantHedges() { g.parts.Fetcher.Budget.Asked.Add(1000) }

// DropHot empties the hot cache.
func (g *Group) DropHot() { g.shared.Tiers.Hot.Clear() }

// Waiting is how many wait for the load of a key by this process's Getter.
func (g *Group) Waiting(key string) int { return g.parts.Loader.Waiting(key) }

// Fetching is how many fetches from peers are under way.
func (g *Group) Fetching() int64 {
	n, _ := g.parts.Fetcher.Active()
	return n
}

// Loading is how many loads by this process's Getter are under way.
func (g *Group) Loading() int64 {
	n, _ := g.parts.Loader.Active()
	return n
}

// Sessions is on how many connections peers ask by frames.
func (i *Instance) Sessions() int { return i.pool.Server.Sessions().Open }

// GreetAgain has the peers asked what they are by now.
func (i *Instance) GreetAgain() { i.pool.GreetAll() }

// SweepStep is what the group does for a step of a removal by prefix.
func (g *Group) SweepStep(phase, id, prefix string) error {
	return g.parts.Writer.SweepHere(writes.Sweep{Phase: writes.Phase(phase), ID: id, Prefix: prefix})
}

// Beginning is how many removals of this process by prefix are in their first step.
func (i *Instance) Beginning() int { return len(i.pool.Beginning().All()) }

// Drop empties the caches, as if the process had begun anew.
func (g *Group) Drop() { g.parts.Writer.Drop() }

// TakeFrom takes values of keys from the cache of a peer, and returns how many.
func (g *Group) TakeFrom(ctx context.Context, url string, keys ...string) int64 {
	return g.parts.Handover.TakeFrom(ctx, g.shared.Route().Pool().Peer(url), keys)
}
