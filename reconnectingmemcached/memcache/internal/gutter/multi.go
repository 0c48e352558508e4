package gutter

import (
	"context"
	"errors"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// LeavesTo reports whether a copy may stand in for the answer of a server whose call ended so. A
// time-out has used up the call's time.
func (g *Gutter) LeavesTo(s *server.Server, err error) bool {
	return g != nil && !errors.Is(err, faults.ErrTimeout) && (s.IsDown() || errors.Is(err, faults.ErrBusy) && s.Ramp.Rising.Load())
}

// Missing are the keys of a GetMulti that may have copies: those of parts whose server is down, and
// those doubted that it does not have.
func (g *Gutter) Missing(items map[string]*gomemcache.Item, parts []server.Part, doubted []string) (keys []string) {
	for _, key := range doubted {
		if items[key] == nil {
			keys = append(keys, key)
		}
	}
	for i := range parts {
		if p := &parts[i]; p.Outcome.Err != nil && !p.Outcome.Replied && g.LeavesTo(p.Server, p.Outcome.Err) {
			keys = append(keys, p.Request.Keys...)
		}
	}
	return keys
}

// Fill adds what there is of copies to the items of a GetMulti.
func (g *Gutter) Fill(ctx context.Context, items map[string]*gomemcache.Item, missing []string, began int64) {
	if len(missing) == 0 || ctx.Err() != nil || g.fleet.Now()-began >= int64(g.options.Timeout) {
		return
	}
	var parts []server.Part
	for _, key := range missing {
		owner, err := g.owners.Pick(key)
		if err != nil {
			continue
		}
		if s := g.holder(key, owner); s != nil && !s.Missed.Holds(copyPrefix+key) { // else the copy may be old
			parts = server.AddKey(parts, s, copyPrefix+key, len(missing))
		} else {
			g.misses.Add(1)
		}
	}
	let := parts[:0]
	for _, p := range parts {
		p.Request.Own, p.Request.Began = true, began
		if g.enter(p.Server) {
			let = append(let, p)
		}
	}
	server.Launch(ctx, let)
	for i := range let {
		let[i].Server.Guests.Add(-1)
		found := let[i].Outcome.Items
		g.hits.Add(uint64(len(found)))
		g.misses.Add(uint64(len(let[i].Request.Keys) - len(found)))
		for _, it := range found {
			it = asOriginal(it)
			items[it.Key] = it
		}
	}
}
