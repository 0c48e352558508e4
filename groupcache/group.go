package groupcache

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/answers"
	"github.com/holdfast-go/holdfast/groupcache/internal/fetcher"
	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/parts"
	"github.com/holdfast-go/holdfast/groupcache/internal/process"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// A Group is a set of keys with one Getter, whose values are spread over the peers. Make it with
// NewGroup; most callers want Get or View. It is safe for concurrent use.
type Group struct {
	// Stats count what the group does.
	Stats Stats

	config groupConfig
	shared group.Group

	parts answers.Group
}

// groupConfig is what the options of a group set.
type groupConfig struct {
	picker        PeerPicker
	onPeerError   PeerErrorHandler
	policy        store.Policy
	payloadBudget bool
	ttl           time.Duration
	jitter        float64
	negativeTTL   time.Duration
	stale         time.Duration
	loadTimeout   time.Duration
}

// A GroupOption is a choice of a group.
type GroupOption func(group *Group)

// WithPeerErrorHandler sets what follows a peer's error. Without it, errors of the peer's Getter
// are returned, and other peers or this process's Getter stand in for peers that cannot be asked.
func WithPeerErrorHandler(handler PeerErrorHandler) GroupOption {
	return func(g *Group) { g.config.onPeerError = handler }
}

// WithPeerPicker gives the group peers of its own. With NoPeers it stays within this process.
func WithPeerPicker(picker PeerPicker) GroupOption {
	return func(g *Group) { g.config.picker = picker }
}

// Eviction says which values give way when a cache is full.
type Eviction int

const (
	// S3FIFO keeps keys that were asked for more than once apart from those asked for once (Yang et
	// al., SOSP 2023). How much room the latter has follows what comes back, so that it keeps near
	// LRU where keys are asked for by recency.
	S3FIFO Eviction = iota
	// LRU keeps the keys that were asked for last.
	LRU
)

// WithEviction sets which values give way when a cache is full. Default S3FIFO.
func WithEviction(e Eviction) GroupOption {
	return func(g *Group) {
		g.config.policy = store.S3FIFO
		if e == LRU {
			g.config.policy = store.LRU
		}
	}
}

// WithPayloadBudget makes cacheBytes bound keys and values alone, as the original does. By default
// it bounds what they really take, with all that is kept to find them.
func WithPayloadBudget() GroupOption { return func(g *Group) { g.config.payloadBudget = true } }

// WithTTL makes values without an expiry of their own expire after ttl, less a random share of it
// of at most jitter (0 to 1), so that values loaded together do not expire together.
func WithTTL(ttl time.Duration, jitter float64) GroupOption {
	return func(g *Group) { g.config.ttl, g.config.jitter = ttl, min(max(jitter, 0), 1) }
}

// WithNegativeTTL keeps the answer "not found" of this process's Getter for ttl, or until the key
// is set or removed. Default 0: not kept.
func WithNegativeTTL(ttl time.Duration) GroupOption {
	return func(g *Group) { g.config.negativeTTL = ttl }
}

// WithStaleWhileRevalidate answers with an expired value for so long after its expiry, while it is
// loaded again in the background. Default 0: an expired value is gone.
func WithStaleWhileRevalidate(d time.Duration) GroupOption {
	return func(g *Group) { g.config.stale = d }
}

// WithLoadTimeout bounds a call of the Getter, by its context, whether somebody waits or not.
// Default 0: it ends some time after the last caller has left, see Getter.
func WithLoadTimeout(d time.Duration) GroupOption {
	return func(g *Group) { g.config.loadTimeout = d }
}

// newGroup makes a group of a process. Its router is asked for when it is first needed.
func newGroup(p *process.Process, name string, cacheBytes int64, getter Getter, opts []GroupOption, routerFor func(PeerPicker) route.Router) *Group {
	g := &Group{}
	for _, o := range opts {
		o(g)
	}
	hot := cacheBytes / tiers.HotShare
	if _, alone := g.config.picker.(NoPeers); alone {
		hot = 0
	}
	g.shared = group.Group{
		Name:    name,
		Process: p,
		Tiers: tiers.New(cacheBytes-hot, hot, store.Options{
			Policy: g.config.policy, Payload: g.config.payloadBudget, Stale: g.config.stale, Now: p.Now,
		}),
		Route:   sync.OnceValue(func() route.Router { return routerFor(g.config.picker) }),
		Touched: writes.NewTouched(p.Handover),
		Sweeps:  new(writes.Sweeps),
		Stats:   g.Stats.counters(),
		Errors:  errorsOf(),
	}
	g.Stats.sumUp(&g.shared.Tiers)
	g.parts.Parts = parts.New(&g.shared, loader.Options{
		Get: getting(getter), Batch: batching(getter),
		TTL: g.config.ttl, Jitter: g.config.jitter, NegativeTTL: g.config.negativeTTL, Timeout: g.config.loadTimeout,
	}, g.peerFailed())
	return g
}

// peerFailed is the group's PeerErrorHandler, nil if it has none.
func (g *Group) peerFailed() fetcher.Handler {
	handler := g.config.onPeerError
	if handler == nil {
		return nil
	}
	return func(ctx context.Context, key, url string, err error) (bool, error) {
		return handler(ctx, g, key, url, err)
	}
}

// Name is the name of the group.
func (g *Group) Name() string { return g.shared.Name }
