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
	"github.com/holdfast-go/holdfast/internal/observe"
)

// atOnce is how many keys of one GetMulti are loaded at once by this process, or fetched one by
// one.
const atOnce = 32

// GetMulti finds the values of several keys, with one request to each owner. A key that is not
// found is missing in the map. The error joins what went wrong with other keys, whose values are
// missing, too; the map is never nil.
func (g *Group) GetMulti(ctx context.Context, keys []string) (map[string]ByteView, error) {
	g.route().settle(orBackground(ctx))
	found := make(map[string]ByteView, len(keys))
	missing := make(map[*peer.Peer][]string)
	seen := make(map[string]bool, len(keys))
	for _, key := range keys {
		if seen[key] {
			continue
		}
		seen[key] = true
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
	if g.instance.tracer != nil {
		return found, g.gatherTraced(ctx, missing, found)
	}
	return found, g.gather(ctx, missing, found)
}

// batchPeer is the owner of a key if it can be asked for several at once, else nil.
func (g *Group) batchPeer(key string) *peer.Peer {
	if p := g.route().owner(key).peer; p != nil && p.Batches() && p.Up() {
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
			errs = append(errs, fmt.Errorf("groupcache: key %s: %w", observe.Quote(key), err))
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
				var own []string
				if own, keys = g.apart(keys); len(own) > 0 {
					all.Go(func() { g.oneByOne(ctx, g.loadSeveral(ctx, own, take), take) })
				}
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
		if err := ctx.Err(); err != nil {
			<-slots
			take(key, ByteView{}, err)
			continue
		}
		all.Go(func() {
			defer func() { <-slots }()
			v, err := g.miss(ctx, key)
			take(key, v, err)
		})
	}
	all.Wait()
}

// fetchBatch asks a peer for several keys at once, those left out that are being fetched. It
// returns the keys that are still missing.
func (g *Group) fetchBatch(ctx context.Context, p *peer.Peer, keys []string, take func(string, ByteView, error)) (left []string) {
	var batches []*flight.Batch[loaded]
	for part := range multiwire.Parts(keys) {
		b := g.fetches.Batch(ctx, part)
		left = append(left, b.Refused...)
		b.Abstain()
		left = append(left, flight.Keys(b.Joined)...)
		if len(b.Flights) > 0 && !g.instance.spawn(func() { g.askTogether(b.Context(), p, b) }) { //nolint:contextcheck // that of the batch
			b.LandAll(ErrClosed)
		}
		batches = append(batches, b)
	}
	var again []string
	for _, b := range batches {
		for _, f := range b.Flights {
			switch v, err := brought(f, f.Wait(ctx)); {
			case errors.Is(err, errAskAgain):
				again = append(again, f.Key)
			case errors.Is(err, flight.ErrUndone):
				left = append(left, f.Key)
			default: // the others are counted where they are found
				g.Stats.Loads.Add(1)
				take(f.Key, v, err)
			}
		}
	}
	if len(again) == len(keys) { // no progress
		return append(left, again...)
	}
	if len(again) > 0 {
		left = append(left, g.fetchBatch(ctx, p, again, take)...)
	}
	return left
}

// errAskAgain ends the flights of those keys that found no room in the answer.
var errAskAgain = fmt.Errorf("%w for want of room", flight.ErrUndone)

// askTogether asks a peer for the keys of a batch, and lands all flights.
func (g *Group) askTogether(ctx context.Context, p *peer.Peer, b *flight.Batch[loaded]) {
	defer b.End()
	defer b.LandAll(flight.ErrUndone) // those that were not answered
	for _, f := range b.Flights {
		g.keepApart(f.Key)
	}
	start := time.Now()
	answers, err := p.GetMulti(ctx, g.name, flight.Keys(b.Flights))
	if err != nil {
		g.Stats.PeerErrors.Add(1)
		return
	}
	for i, a := range answers {
		f := b.Flights[i]
		if a.Outcome == peer.Absent { // there was no room for it
			land(b, f, ByteView{}, errAskAgain)
			continue
		}
		if a.Outcome != peer.Found {
			g.Stats.PeerErrors.Add(1)
			land(b, f, ByteView{}, remoteError(g.name, f.Key, a))
			continue
		}
		v := ByteView{a.Value, a.Expire}
		g.fetched(f, v, start)
		land(b, f, v, nil)
	}
}

// room is what an answer to several keys may still have. It is safe for concurrent use.
type room struct {
	limit int

	mu   sync.Mutex
	used int  // guarded by mu
	full bool // one found no room; guarded by mu
}

// take returns an answer if there is room for it, or if it is the first. Otherwise, it is Absent,
// and so are all that follow.
func (r *room) take(a peer.Answer) peer.Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := len(a.Value) + len(a.Message)
	r.full = r.full || r.used > 0 && r.used+size > r.limit
	if r.full {
		return peer.Answer{Outcome: peer.Absent}
	}
	r.used += size
	return a
}

// left is how many bytes there is room for.
func (r *room) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.limit-r.used, 0)
}

func (r *room) isFull() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

// longAnswer is how many bytes of values from the caches share an answer.
const longAnswer = 256 << 10

// serveCached answers a peer for what is in the caches, once for each key.
func (g *Group) serveCached(keys []string) []peer.Answer {
	space := room{limit: longAnswer}
	return eachOnce(keys, func(key string) peer.Answer {
		if space.isFull() {
			return peer.Answer{Outcome: peer.Absent}
		}
		v, hit, err := g.serveFromCache(key)
		if !hit {
			g.Stats.Gets.Add(-1) // the peer asks for it once more, or somebody else
			return peer.Answer{Outcome: peer.Absent}
		}
		g.Stats.ServerRequests.Add(1)
		return space.take(answerOf(v, err))
	})
}

// eachOnce answers each key where it stands first. Where it stands again, it is Absent: a request
// must not be answered by many times its length.
func eachOnce(keys []string, answer func(string) peer.Answer) []peer.Answer {
	answers := make([]peer.Answer, len(keys))
	seen := make(map[string]struct{}, len(keys))
	for i, key := range keys {
		if _, again := seen[key]; again {
			answers[i].Outcome = peer.Absent
			continue
		}
		seen[key] = struct{}{}
		answers[i] = answer(key)
	}
	return answers
}

// maxMessage is how many bytes of a Getter's error are sent.
const maxMessage = 64 << 10

func answerOf(v ByteView, err error) peer.Answer {
	if err == nil {
		return peer.Answer{Outcome: peer.Found, Value: v.s, Expire: v.expire}
	}
	message := err.Error()
	a := peer.Answer{Outcome: peer.LoadFailed, Message: message[:min(len(message), maxMessage)], Cause: err}
	if errors.Is(err, &ErrNotFound{}) {
		a.Outcome = peer.NotFound
	}
	return a
}

// serveMulti answers a peer for several keys, which are loaded as long as there is room in the
// answer.
func (g *Group) serveMulti(ctx context.Context, keys []string) []peer.Answer {
	space := room{limit: multiwire.MaxAnswer}
	results := make(map[string]peer.Answer, len(keys))
	var mu sync.Mutex
	take := func(key string, v ByteView, err error) {
		a := space.take(answerOf(v, err))
		mu.Lock()
		defer mu.Unlock()
		results[key] = a
	}
	var missing []string
	for _, key := range slices.Compact(slices.Sorted(slices.Values(keys))) {
		g.Stats.ServerRequests.Add(1)
		if v, hit, err := g.serveFromCache(key); hit {
			take(key, v, err)
			continue
		}
		missing = append(missing, key)
	}
	ctx = g.inheritMulti(ctx, missing)
	var single []string
	for len(missing) > 0 && !space.isFull() { // what has no room in the answer would be loaded for nothing
		part := missing[:g.batchFor(space.left(), len(missing))]
		missing = missing[len(part):]
		single = append(single, g.loadSeveral(ctx, part, take)...)
	}
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, key := range single {
		slots <- struct{}{}
		if space.isFull() || ctx.Err() != nil { // nobody waits: a load that is begun nevertheless would take no slot
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			v, err := g.serveByLoad(ctx, key)
			take(key, v, err)
		})
	}
	all.Wait()
	return eachOnce(keys, func(key string) peer.Answer {
		if a, ok := results[key]; ok {
			return a
		}
		return peer.Answer{Outcome: peer.Absent}
	})
}
