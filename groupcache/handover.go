package groupcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

// inheritBudget bounds how long a load waits for former owners.
const inheritBudget = 50 * time.Millisecond

// inherit looks for a key in the caches of those who owned it before the peers changed. What was
// set or removed here lately is not asked for: they may not have been told yet.
func (g *Group) inherit(ctx context.Context, key string) (ByteView, bool) {
	former := g.route().former(key)
	if len(former) == 0 || g.touched.Has(key) {
		return ByteView{}, false
	}
	asked, _ := ctx.Value(askedFor{}).(map[string][]*peer.Peer)
	ctx, cancel := context.WithTimeoutCause(ctx, inheritBudget, peer.ErrTooLate)
	defer cancel()
	for _, p := range former {
		if slices.Contains(asked[key], p) {
			continue
		}
		if a, ok := p.Inherit(ctx, g.name, key); ok && g.alive(a.Expire) {
			g.inherited.Add(1)
			return ByteView{a.Value, a.Expire}, true
		}
	}
	return ByteView{}, false
}

// askedFor is the key of what a context knows of former owners that were asked in vain:
// map[string][]*peer.Peer.
type askedFor struct{}

// inheritMulti is inherit for several keys that are to be loaded, as far as they are this process's
// own, with one request to each former owner: first to those that owned them last, then, for what
// these do not have, to those before. The context it returns is for loading what is still missing.
func (g *Group) inheritMulti(ctx context.Context, keys []string) context.Context {
	if len(keys) < 2 {
		return ctx
	}
	former := make(map[string][]*peer.Peer)
	for _, key := range keys {
		if all := g.route().former(key); len(all) > 0 && g.owns(key) && !g.touched.Has(key) {
			former[key] = all
		}
	}
	if len(former) == 0 {
		return ctx
	}
	limited, cancel := context.WithTimeout(ctx, inheritBudget)
	defer cancel()
	asked := make(map[string][]*peer.Peer, len(former))
	for rank := 0; limited.Err() == nil; rank++ {
		by := make(map[*peer.Peer][]string)
		for key, all := range former {
			if _, here := g.peek(key); rank < len(all) && !here {
				by[all[rank]] = append(by[all[rank]], key)
				asked[key] = all[:rank+1]
			}
		}
		if len(by) == 0 {
			break
		}
		g.takeFromEach(limited, by)
	}
	return context.WithValue(ctx, askedFor{}, asked)
}

// takeFromEach takes from the caches of peers what each has of its keys.
func (g *Group) takeFromEach(ctx context.Context, by map[*peer.Peer][]string) {
	var all sync.WaitGroup
	for p, keys := range by {
		for part := range multiwire.Parts(keys) {
			all.Go(func() { g.inherited.Add(g.takeFrom(ctx, p, part)) })
		}
	}
	all.Wait()
}

// keepApart makes the fetch under way of a key that was written lately one that is not joined, and
// whose value is not kept, while the peers change: the peer that this process takes for the owner
// may not have been told of the write yet. It does the same while a removal of all keys that begin
// with a prefix is under way.
func (g *Group) keepApart(key string) {
	pool := g.route().pool()
	if g.sweeps.Covers(key) || pool != nil && pool.Changing() && g.touched.Has(key) {
		g.fetches.Fence(key)
	}
}

// forget drops all values: a peer has made writes that this process was not told of, because the
// peer did not know it.
func (i *Instance) forget() {
	for _, g := range i.Groups() {
		g.drop()
	}
	i.forgets.Add(1)
}

// touch notes that a key was set or removed.
func (g *Group) touch(key string) {
	if pool := g.route().pool(); pool != nil && pool.Shared() {
		g.touched.Add(key)
	}
}

func (g *Group) alive(expire int64) bool { return expire == 0 || expire > g.instance.now().UnixNano() }

const (
	// offerKeys and offerBytes bound one offer; a value that is larger goes alone.
	offerKeys  = 128
	offerBytes = 1 << 20
	// offersAtOnce is how many peers are made offers at the same time.
	offersAtOnce = 4
	// maxOffered is how many keys of a group are offered.
	maxOffered = 1 << 16
)

// Drain hands over what is read most to the peers that will own it when this process has left, so
// that they need not load it. Call it first when the process is to end, while it is still among the
// peers; then let it leave their lists, and Close it some seconds later, if there is time: until
// then they ask it for what was not handed over.
//
// It returns when all is handed over or the context ends, with the context's error then. Other
// errors name peers that took nothing; what they lack will be loaded. With Options.SetOwnerOnly, or
// a negative Options.Handover, nothing is handed over.
func (i *Instance) Drain(ctx context.Context) error {
	if i.isClosed() {
		return ErrClosed
	}
	if i.setOwnerOnly() || i.options.Handover < 0 {
		return nil
	}
	var errs []error
	for _, g := range i.Groups() {
		if pool := g.route().pool(); pool != nil {
			errs = append(errs, g.drain(ctx, pool))
		}
	}
	return errors.Join(errs...)
}

// drain offers the group's values to their heirs, to each what is read most first.
func (g *Group) drain(ctx context.Context, pool *peer.Pool) error {
	heir := pool.Heirs()
	offers := make(map[*peer.Peer][]store.Hot)
	for _, hot := range g.main.Hottest(maxOffered) {
		if p := heir(hot.Key); p != nil && hot.Flags&flagAbsent == 0 {
			offers[p] = append(offers[p], hot)
		}
	}
	var mu sync.Mutex
	var errs []error
	slots := make(chan struct{}, offersAtOnce)
	var all sync.WaitGroup
	for p, values := range offers {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := g.offer(ctx, p, pool.Self(), values); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// offer makes a peer as many offers as the values take.
func (g *Group) offer(ctx context.Context, p *peer.Peer, self string, values []store.Hot) error {
	for len(values) > 0 {
		var keys []string
		size := 0
		for _, v := range values[:min(len(values), offerKeys)] {
			if size += len(v.Value); len(keys) > 0 && size > offerBytes {
				break
			}
			keys = append(keys, v.Key)
		}
		values = values[len(keys):]
		if err := p.Offer(ctx, g.name, self, keys); err != nil {
			return fmt.Errorf("%w: %s took no values: %w", ErrPeerUnavailable, p.Shown(), err)
		}
	}
	return nil
}

// takeOver takes values of keys from the cache of a peer that is about to leave.
func (g *Group) takeOver(ctx context.Context, from string, keys []string) error {
	pool := g.route().pool()
	if pool == nil || g.instance.setOwnerOnly() || g.instance.options.Handover < 0 {
		return peer.ErrRefused
	}
	p := pool.Peer(from)
	if p == nil {
		return peer.ErrRefused
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		_, here := g.main.Peek(key)
		return here
	})
	g.takenOver.Add(g.takeFrom(ctx, p, keys))
	return nil
}

// takeFrom keeps what a peer has in its cache of keys, as loads that others may join, and returns
// how many values that were. It asks again for what did not find room in the answer. Loads of what
// the peer does not have end without a value: who waits for them loads. What was set or removed
// here lately is not asked for, as the peer may not have been told.
//
//nolint:contextcheck // the batch's context ends with ctx
func (g *Group) takeFrom(ctx context.Context, p *peer.Peer, keys []string) (taken int64) {
	if p.AwaitGreeting(ctx) != nil {
		return 0
	}
	b := g.loads.Batch(ctx, keys)
	defer b.End()
	b.Abstain()
	defer b.LandAll(flight.ErrUndone)
	defer context.AfterFunc(ctx, b.End)()
	for left := slices.DeleteFunc(slices.Clone(b.Flights), g.wroteBefore); len(left) > 0; {
		answers, err := p.CachedMulti(b.Context(), g.name, flight.Keys(left))
		if err != nil {
			break
		}
		var absent []*loading
		for i, a := range answers {
			f := left[i]
			switch {
			case a.Outcome == peer.Absent:
				absent = append(absent, f)
			case a.Outcome == peer.Found && g.alive(a.Expire):
				g.main.Add(store.Item{Key: f.Key, Value: a.Value, Expire: a.Expire, Fence: &f.Fence})
				taken++
				land(b, f, ByteView{a.Value, a.Expire}, nil)
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
func (g *Group) wroteBefore(f *loading) bool { return g.touched.Has(f.Key) }
