package groupcache

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// A Getter loads values.
type Getter interface {
	// Get loads the value of a key and gives it to dest. It returns an *ErrNotFound if there is
	// none. The context has the values of the first caller's, but not its end: it ends when nobody
	// has waited for as long as the load had taken before, a second at least; with WithLoadTimeout
	// then instead; and at Close. A value that comes later is kept, too.
	Get(ctx context.Context, key string, dest Sink) error
}

// A GetterFunc is a function that is a Getter.
type GetterFunc func(ctx context.Context, key string, dest Sink) error

// Get calls f.
func (f GetterFunc) Get(ctx context.Context, key string, dest Sink) error { return f(ctx, key, dest) }

// A Group is a set of keys with one Getter, whose values are spread over the peers. Make it with
// NewGroup; most callers want Get or View. It is safe for concurrent use.
type Group struct {
	// Stats count what the group does.
	Stats Stats

	name     string
	instance *Instance
	getter   Getter
	batches  BatchGetter  // the getter, if it is one
	meanSize atomic.Int64 // of values that were loaded, the latest count most
	config   groupConfig
	main     *store.Store
	hot      *store.Store
	loads    *flight.Table[loaded] // by the Getter
	fetches  *flight.Table[loaded] // from peers
	removals writes.Ages
	left     writes.Left

	touched *writes.Touched
	sweeps  writes.Sweeps

	fetchCount, hedges, hedgesWon, inherited, takenOver atomic.Int64

	findRouter sync.Once
	router     router
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
	// S3FIFO keeps what was asked for more than once from what was asked for once (Yang et al.,
	// SOSP 2023). How much room the latter has follows what comes back, so that it keeps near LRU
	// where keys are asked for by recency.
	S3FIFO Eviction = iota
	// LRU keeps what was asked for last.
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

// hotShare is the part of a group's budget that is for keys of other owners. Values of theirs that
// are too large for it are kept among this process's own.
const hotShare = 8

func newGroup(i *Instance, name string, cacheBytes int64, getter Getter, opts []GroupOption) *Group {
	g := &Group{name: name, instance: i, getter: getter}
	for _, o := range opts {
		o(g)
	}
	g.batches, _ = getter.(BatchGetter)
	hot := cacheBytes / hotShare
	if _, alone := g.config.picker.(NoPeers); alone {
		hot = 0
	}
	g.main = g.newStore(cacheBytes-hot, hot)
	g.hot = g.newStore(hot, 0)
	g.countGets()
	g.touched = writes.NewTouched(i.options.Handover)
	g.loads = g.newFlights(g.load, nil)
	g.fetches = g.newFlights(g.fetch, g.beginFetch)
	return g
}

// countGets makes two of the Stats sums of what the caches count. Two counters that all hits share
// would cost a hit as much as all the rest.
func (g *Group) countGets() {
	g.Stats.Gets.also = func() int64 {
		mainHits, _ := g.main.Counts()
		hotHits, hotMisses := g.hot.Counts()
		return mainHits + hotHits + hotMisses
	}
	g.Stats.CacheHits.also = func() int64 {
		mainHits, _ := g.main.Counts()
		hotHits, _ := g.hot.Counts()
		return mainHits + hotHits
	}
}

func (g *Group) newStore(budget, beside int64) *store.Store {
	return store.New(store.Options{
		MaxBytes: budget, Beside: beside, Policy: g.config.policy, Payload: g.config.payloadBudget, Stale: g.config.stale, Now: g.instance.now,
	})
}

// Name is the name of the group.
func (g *Group) Name() string { return g.name }

// route is the group's router, which is found when it is first needed.
func (g *Group) route() router {
	g.findRouter.Do(func() {
		picker := g.config.picker
		if picker == nil {
			picker = g.instance.pickerFor(g.name)
		}
		g.router = routerOf(picker)
	})
	return g.router
}

var errNilSink = errors.New("groupcache: Get: dest is nil: pass a Sink, such as StringSink(&s)")

// Get finds the value of a key and gives it to dest: from this process's caches, else from the
// key's owner, else from the Getter. All who ask for a key at the same time share one load. It
// returns the Getter's error, wherever that ran, or the context's.
func (g *Group) Get(ctx context.Context, key string, dest Sink) error {
	if dest == nil {
		return errNilSink
	}
	v, err := g.View(ctx, key)
	if err != nil {
		return err
	}
	return dest.setView(v)
}

// View is Get without a Sink. A value that is in the cache costs no allocation.
func (g *Group) View(ctx context.Context, key string) (ByteView, error) {
	v, ok := g.find(key)
	if !ok {
		return g.miss(ctx, key)
	}
	if v.Stale {
		g.revalidate(key)
	}
	return result(v)
}

// find looks into the caches. That is a Get, and perhaps a hit: the caches count both, see
// countGets.
func (g *Group) find(key string) (store.View, bool) {
	v, ok := g.main.Get(key)
	if !ok {
		v, ok = g.hot.Get(key)
	}
	return v, ok
}

// flagAbsent marks an entry that stands for "not found"; its value is the message.
const flagAbsent = 1

// result is what an entry stands for.
func result(v store.View) (ByteView, error) {
	if v.Flags&flagAbsent != 0 {
		return ByteView{}, &ErrNotFound{Msg: v.Value}
	}
	return ByteView{v.Value, v.Expire}, nil
}

// revalidate loads an expired value again, for later callers.
func (g *Group) revalidate(key string) { g.flightsFor(key).Start(g.instance.life, key) }

// orBackground is for callers without a context, as one of the originals allowed.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// miss is a Get that no cache answers.
func (g *Group) miss(ctx context.Context, key string) (ByteView, error) {
	ctx = orBackground(ctx)
	if err := ctx.Err(); err != nil {
		return ByteView{}, err
	}
	g.route().settle(ctx)
	g.Stats.Loads.Add(1)
	if g.instance.tracer != nil {
		return g.missTraced(ctx, key)
	}
	return brought(g.flightsFor(key).Do(ctx, key))
}

// flightsFor says whether a key is loaded here or fetched from a peer.
func (g *Group) flightsFor(key string) *flight.Table[loaded] {
	if g.owns(key) {
		return g.loads
	}
	return g.fetches
}

// owns says whether this process is the owner of a key.
func (g *Group) owns(key string) bool { return g.route().owner(key).here() }

// expiry is when a value that was loaded at now expires.
func (g *Group) expiry(own int64) int64 {
	if own != 0 || g.config.ttl <= 0 {
		return own
	}
	ttl := g.config.ttl
	if g.config.jitter > 0 {
		ttl -= time.Duration(rand.Float64() * g.config.jitter * float64(ttl))
	}
	return g.instance.now().Add(ttl).UnixNano()
}

// keepGuest stores a value of another owner.
func (g *Group) keepGuest(item store.Item) {
	to, other := g.hot, g.main
	if !g.hot.Fits(len(item.Key), len(item.Value)) {
		to, other = g.main, g.hot
	}
	if _, ok := other.Peek(item.Key); ok { // from when it had another size, or owner
		other.Remove(item.Key)
	}
	to.Add(item)
}

// Clear drops all values of the group from this process's caches, and what is being loaded is not
// kept. Peers keep theirs.
func (g *Group) Clear() {
	g.touched.AddAll()
	g.drop()
}

// drop is Clear, but what former owners have may be taken again.
func (g *Group) drop() { g.dropPrefix("") }

// CacheStats are the statistics of one of the group's caches; those of an unknown cache are zero.
func (g *Group) CacheStats(which CacheType) CacheStats {
	var s store.Stats
	switch which {
	case MainCache:
		s = g.main.Stats()
	case HotCache:
		s = g.hot.Stats()
	default:
		return CacheStats{}
	}
	out := CacheStats{Bytes: s.Bytes, Items: s.Items, Gets: s.Gets, Hits: s.Hits, Evictions: s.Evictions}
	loads, since := g.loads.Active()
	fetches, sinceFetch := g.fetches.Active()
	out.ActiveSingleFlightLoads = loads + fetches
	out.SingleFlightLoadOldestAge = max(age(since), age(sinceFetch))
	removes, sinceRemove := g.removals.Active()
	out.ActiveSingleFlightRemoves, out.SingleFlightRemoveOldestAge = removes, age(sinceRemove)
	return out
}

func age(since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return time.Since(since)
}
