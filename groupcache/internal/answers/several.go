package answers

import (
	"context"
	"slices"
	"sync"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

const (
	// atOnce is how many keys of one question are loaded at once.
	atOnce = 32
	// longAnswer is how many bytes of values from the caches share an answer.
	longAnswer = 256 << 10
)

// cached answers from the caches, once for each key.
func (g *Group) cached(keys []string) []wire.Answer {
	space := room{limit: longAnswer}
	return eachOnce(keys, func(key string) wire.Answer {
		if space.isFull() {
			return wire.Answer{Outcome: wire.Absent}
		}
		v, hit, err := g.FromCache(key)
		if !hit {
			g.Shared.Stats.Gets.Add(-1) // the peer asks for it once more, or somebody else
			return wire.Answer{Outcome: wire.Absent}
		}
		g.Shared.Stats.ServerRequests.Add(1)
		return space.take(g.answerOf(v, err))
	})
}

// several answers for several keys, which are loaded as long as there is room in the answer.
func (g *Group) several(ctx context.Context, keys []string) []wire.Answer {
	space := room{limit: multiwire.MaxAnswer}
	results := make(map[string]wire.Answer, len(keys))
	var mu sync.Mutex
	take := func(key string, v outcome.Value, err error) {
		a := space.take(g.answerOf(v, err))
		mu.Lock()
		defer mu.Unlock()
		results[key] = a
	}
	var missing []string
	for _, key := range slices.Compact(slices.Sorted(slices.Values(keys))) {
		g.Shared.Stats.ServerRequests.Add(1)
		if v, hit, err := g.FromCache(key); hit {
			take(key, v, err)
			continue
		}
		missing = append(missing, key)
	}
	ctx = g.Handover.Inherit(ctx, missing)
	var single []string
	for len(missing) > 0 && !space.isFull() { // what has no room in the answer would be loaded for nothing
		part := missing[:g.Loader.Fitting(space.left(), len(missing))]
		missing = missing[len(part):]
		single = append(single, g.Loader.LoadSeveral(ctx, part, take)...)
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
			v, err := g.byLoad(ctx, key)
			take(key, v, err)
		})
	}
	all.Wait()
	return eachOnce(keys, func(key string) wire.Answer {
		if a, ok := results[key]; ok {
			return a
		}
		return wire.Answer{Outcome: wire.Absent}
	})
}

// eachOnce answers each key where it stands first. Where it stands again, it is Absent: a request
// must not be answered by many times its length.
func eachOnce(keys []string, answer func(string) wire.Answer) []wire.Answer {
	answers := make([]wire.Answer, len(keys))
	seen := make(map[string]struct{}, len(keys))
	for i, key := range keys {
		if _, again := seen[key]; again {
			answers[i].Outcome = wire.Absent
			continue
		}
		seen[key] = struct{}{}
		answers[i] = answer(key)
	}
	return answers
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
func (r *room) take(a wire.Answer) wire.Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := len(a.Value) + len(a.Message)
	r.full = r.full || r.used > 0 && r.used+size > r.limit
	if r.full {
		return wire.Answer{Outcome: wire.Absent}
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

// FindEach finds the values of keys for a caller of this process, with one request to each owner,
// and tells add of each, one after the other. The error joins those of keys that are there but were
// not found.
func (g *Group) FindEach(ctx context.Context, keys []string, add func(key string, v outcome.Value)) error {
	ctx = group.OrBackground(ctx)
	g.Shared.Route().Settle(ctx)
	var missing []string
	seen := make(map[string]bool, len(keys))
	for _, key := range keys {
		if seen[key] {
			continue
		}
		seen[key] = true
		v, hit, err := g.FromCache(key)
		switch {
		case !hit:
			missing = append(missing, key)
		case err == nil:
			add(key, v)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return g.Finder.FindSeveral(ctx, missing, add)
}
