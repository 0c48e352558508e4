package groupcache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

// atOnce is how many keys of one GetMulti are loaded at once by this process, or fetched one by one.
const atOnce = 32

// GetMulti finds the values of several keys, with one request to each owner. A key that is not found is missing in the map. The error joins
// what went wrong with other keys, whose values are missing, too; the map is never nil.
func (g *Group) GetMulti(ctx context.Context, keys []string) (map[string]ByteView, error) {
	found := make(map[string]ByteView, len(keys))
	missing := make(map[*peer.Peer][]string)
	seen := make(map[string]bool, len(keys))
	for _, key := range keys {
		if seen[key] {
			continue
		}
		seen[key] = true
		g.Stats.Gets.Add(1)
		v, hit, err := g.serveFromCache(key)
		switch {
		case !hit:
			p := g.batchPeer(key)
			missing[p] = append(missing[p], key)
		case err == nil:
			found[key] = v
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	ctx = orBackground(ctx)
	if err := ctx.Err(); err != nil {
		return found, err
	}
	return found, g.gather(ctx, missing, found)
}

// batchPeer is the owner of a key if it can be asked for several at once, else nil.
func (g *Group) batchPeer(key string) *peer.Peer {
	pool, ok := g.peers().(*HTTPPool)
	if !ok {
		return nil
	}
	if p := pool.pool.Owner(key); p != nil && p.Marked() && p.Up() {
		return p
	}
	return nil
}

// gather finds the keys that no cache has, all peers at once, and adds their values to found.
func (g *Group) gather(ctx context.Context, missing map[*peer.Peer][]string, found map[string]ByteView) error {
	var mu sync.Mutex
	var errs []error
	take := func(key string, v ByteView, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			found[key] = v
		case errors.Is(err, &ErrNotFound{}):
		default:
			errs = append(errs, fmt.Errorf("groupcache: key %s: %w", quoted(key), err))
		}
	}
	var all sync.WaitGroup
	for p, keys := range missing {
		all.Go(func() {
			ctx := ctx
			if p != nil {
				keys = g.fetchBatch(ctx, p, keys, take)
			} else {
				ctx = g.inheritMulti(ctx, keys)
			}
			g.oneByOne(ctx, keys, take)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// oneByOne loads or fetches keys with a request for each.
func (g *Group) oneByOne(ctx context.Context, keys []string, take func(string, ByteView, error)) {
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, key := range keys {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			v, err := g.miss(ctx, key)
			take(key, v, err)
		})
	}
	all.Wait()
}

// fetchBatch asks a peer for several keys at once, those left out that are being fetched. It returns the keys that are still missing.
func (g *Group) fetchBatch(ctx context.Context, p *peer.Peer, keys []string, take func(string, ByteView, error)) (left []string) {
	b := g.newBatch(ctx, g.fetches, p, keys)
	if len(b.flights) > 0 && !g.instance.spawn(b.run) {
		b.landAll(ErrClosed)
	}
	for _, f := range b.flights {
		v, err := f.wait(ctx)
		if errors.Is(err, errAskElsewhere) {
			left = append(left, f.key)
			continue
		}
		take(f.key, v, err)
	}
	return append(left, b.joined...)
}

// errAskElsewhere ends the flights of a batch that the owner did not answer.
var errAskElsewhere = errors.New("groupcache: the batch was not answered")

// batch is a fetch of several keys, each of which is a flight that others can join.
type batch struct {
	group   *Group
	ctx     context.Context // of this fetch
	cancel  context.CancelFunc
	peer    *peer.Peer
	flights []*flight
	joined  []string // keys that are being fetched already
	landed  map[*flight]bool
}

func (g *Group) newBatch(ctx context.Context, flights *flights, p *peer.Peer, keys []string) *batch {
	b := &batch{group: g, peer: p, landed: make(map[*flight]bool, len(keys))}
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	waitedFor := 0
	var mu sync.Mutex
	for _, key := range keys {
		f, ctxOfLoad, err := flights.join(ctx, key)
		if err != nil || ctxOfLoad == nil {
			if err == nil {
				f.leave()
			}
			b.joined = append(b.joined, key)
			continue
		}
		f.await()
		waitedFor++
		context.AfterFunc(ctxOfLoad, func() { // the last to leave ends the request
			mu.Lock()
			defer mu.Unlock()
			if waitedFor--; waitedFor == 0 {
				b.cancel()
			}
		})
		b.flights = append(b.flights, f)
	}
	return b
}

// run asks the peer, and lands all flights.
func (b *batch) run() {
	defer b.cancel()
	defer b.landAll(errAskElsewhere) // those that were not answered
	g := b.group
	g.Stats.Loads.Add(int64(len(b.flights)))
	if pool, ok := g.peers().(*HTTPPool); ok {
		for _, f := range b.flights {
			g.keepApart(pool, f.key)
		}
	}
	start := time.Now()
	answers, err := b.peer.GetMulti(b.ctx, g.name, keysOf(b.flights))
	if err != nil {
		g.Stats.PeerErrors.Add(1)
		return
	}
	for i, a := range answers {
		f := b.flights[i]
		if a.Outcome != peer.Found {
			g.Stats.PeerErrors.Add(1)
			b.land(f, ByteView{}, remoteError(g.name, f.key, a))
			continue
		}
		g.fetched(start)
		g.hot.Add(store.Item{Key: f.key, Value: a.Value, Expire: a.Expire, Fence: &f.fence})
		b.land(f, ByteView{a.Value, a.Expire}, nil)
	}
}

func (b *batch) land(f *flight, v ByteView, err error) {
	b.landed[f] = true
	f.view, f.err = v, err
	f.cancel()
	f.land()
}

func (b *batch) landAll(err error) {
	for _, f := range b.flights {
		if !b.landed[f] {
			b.land(f, ByteView{}, err)
		}
	}
}

// answerMulti answers a peer that asks for several keys.
func (g *Group) answerMulti(ctx context.Context, w http.ResponseWriter, r *http.Request, key string, body []byte) error {
	keys, err := multiwire.ParseRequest(body)
	if err != nil {
		return BadGroupcacheRequestError{"the body is no list of keys"}
	}
	var entries []peer.Answer
	switch {
	case key == httppeer.Offered && len(keys) > 0:
		if err := g.takeOver(ctx, keys[0], keys[1:]); err != nil {
			return BadGroupcacheRequestError{"the offer is not taken"}
		}
	case key == httppeer.CachedOnly:
		entries = g.serveCached(keys)
	default:
		s := showLife(w, r)
		entries = g.serveMulti(ctx, keys)
		s.Stop()
		if g.instance.isClosed() { // the loads were ended
			return ErrClosed
		}
	}
	writeBody(w, multiwire.AppendAnswers(nil, entries))
	return nil
}

// longAnswer is how many bytes of values share an answer; what is beyond is asked for alone.
const longAnswer = 256 << 10

// serveCached answers a peer for what is in the caches.
func (g *Group) serveCached(keys []string) []peer.Answer {
	answers := make([]peer.Answer, len(keys))
	size := 0
	for i, key := range keys {
		answers[i].Outcome = peer.Absent
		if size > longAnswer {
			continue
		}
		v, hit, err := g.serveFromCache(key)
		if !hit {
			continue
		}
		g.Stats.ServerRequests.Add(1)
		g.Stats.Gets.Add(1)
		answers[i] = answerOf(v, err)
		size += v.Len()
	}
	return answers
}

func answerOf(v ByteView, err error) peer.Answer {
	switch {
	case err == nil:
		return peer.Answer{Outcome: peer.Found, Value: v.s, Expire: v.expire}
	case errors.Is(err, &ErrNotFound{}):
		return peer.Answer{Outcome: peer.NotFound, Message: err.Error()}
	}
	return peer.Answer{Outcome: peer.LoadFailed, Message: err.Error()}
}

func (g *Group) serveMulti(ctx context.Context, keys []string) []peer.Answer {
	results := make(map[string]peer.Answer, len(keys))
	var mu sync.Mutex
	take := func(key string, v ByteView, err error) {
		mu.Lock()
		defer mu.Unlock()
		results[key] = answerOf(v, err)
	}
	var missing []string
	for _, key := range slices.Compact(slices.Sorted(slices.Values(keys))) {
		g.Stats.ServerRequests.Add(1)
		g.Stats.Gets.Add(1)
		if v, hit, err := g.serveFromCache(key); hit {
			take(key, v, err)
			continue
		}
		missing = append(missing, key)
	}
	ctx = g.inheritMulti(ctx, missing)
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, key := range missing {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			v, err := g.serveByLoad(ctx, key)
			take(key, v, err)
		})
	}
	all.Wait()
	answers := make([]peer.Answer, len(keys))
	for i, key := range keys {
		answers[i] = results[key]
	}
	return answers
}
