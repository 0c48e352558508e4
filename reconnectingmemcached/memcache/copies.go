package memcache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

// gutter carries out what Gutter's rules decide.
type gutter struct {
	core    *core
	options Gutter
	fallen  chan struct{} // holds a token when a server has gone down; capacity 1

	hits, misses, stored, deleted, full atomic.Uint64
}

func newGutter(c *core) *gutter {
	if c.options.Gutter.Expiration == 0 {
		return nil
	}
	g := &gutter{core: c, options: c.options.Gutter, fallen: make(chan struct{}, 1)}
	if g.options.Beacon > 0 {
		c.spawn(g.beat)
	}
	return g
}

// pool are the servers that may take copies. Those of a caller's selector may be others at each
// call.
func (g *gutter) pool() []*server {
	if len(g.options.Servers) == 0 {
		all, err := g.core.picker.each()
		if err != nil {
			return nil
		}
		return all
	}
	named := make([]*server, 0, len(g.options.Servers))
	for _, name := range g.options.Servers {
		named = append(named, g.core.server(addresses.NetworkOf(name), name))
	}
	return named
}

// takes reports whether a key may have copies.
func (g *gutter) takes(key string) bool {
	skip := g.core.options.NoReplay
	return len(key)+len(copyPrefix) <= protocol.MaxKeyLength && (skip == nil || !skip(key))
}

// holder is the server to read a copy from; nil if there is none.
func (g *gutter) holder(key string, owner *server) *server {
	if !g.takes(key) {
		return nil
	}
	pool := g.pool()
	down := 0
	for _, s := range pool {
		if s.isDown() {
			down++
		}
	}
	if tooManyDown(down, len(pool)) {
		return nil
	}
	for _, s := range holdersOf(key, owner, pool) {
		if s != nil && !s.isDown() {
			return s
		}
	}
	return nil
}

// enter keeps calls for others from taking all of a server; leave must follow if it is true.
func (g *gutter) enter(s *server) bool {
	most := g.core.options.MaxInFlight
	if s.guests.Add(1) <= int64(g.options.MaxShare*float64(most)) || most == 0 {
		return true
	}
	s.guests.Add(-1)
	g.full.Add(1)
	return false
}

// read looks for a copy; nil is none.
func (g *gutter) read(ctx context.Context, owner *server, key string, began int64) *Item {
	if g == nil {
		return nil
	}
	s := g.holder(key, owner)
	if s == nil || !g.enter(s) {
		g.misses.Add(1)
		return nil
	}
	defer s.guests.Add(-1)
	out := s.exchange(ctx, &protocol.Request{Op: protocol.OpGet, Own: true, Key: copyPrefix + key, Began: began})
	if out.err != nil {
		g.misses.Add(1)
		return nil
	}
	g.hits.Add(1)
	return asOriginal(out.item)
}

// asOriginal makes a copy the item that it stands for. Its CasID would be another server's.
func asOriginal(it *Item) *Item {
	it.Key, it.CasID = it.Key[len(copyPrefix):], 0
	return it
}

// copies are the requests that see to the copies of a key. They must be settled. Those of servers
// that are down are logged.
func (g *gutter) copies(owner *server, r *protocol.Request, at phase, began int64) []part {
	how := at.copying(r.Op)
	if g == nil || how == leaveCopies || !g.takes(r.Key) {
		return nil
	}
	holders := holdersOf(r.Key, owner, g.pool())
	var up [copyHolders]bool
	for i, s := range holders {
		up[i] = s != nil && !s.isDown()
	}
	parts := make([]part, 0, copyHolders)
	for i, todo := range how.deeds(up) {
		s := holders[i]
		if s == nil {
			continue
		}
		p := part{server: s, request: protocol.Request{Op: protocol.OpDelete, Own: true, Key: copyPrefix + r.Key, Began: began}}
		switch {
		case todo == deedLog:
			s.logMissed(&p.request, outcome{}) // what it has of the key is old when it is back
			continue
		case todo == deedStore && s == g.holder(r.Key, owner) && g.enter(s):
			copied := *r.Item
			copied.Key, copied.Expiration = p.request.Key, copyExpiration(r.Item.Expiration, g.lifeOfCopy(owner, at), time.Now())
			p.request.Op, p.request.Item = protocol.OpSet, &copied
		}
		parts = append(parts, p)
	}
	return parts
}

func (g *gutter) lifeOfCopy(owner *server, at phase) time.Duration {
	var downFor time.Duration
	if owner.window.known.Load() {
		downFor = everKnown
	} else if down := owner.downNow(); down != nil {
		downFor = time.Since(down.since)
	}
	return g.options.copyLife(at, downFor)
}

// mustBeGone has a key deleted later that a server has refused to change: what it has of it is old.
func (p *part) mustBeGone() {
	if out := &p.outcome; out.err != nil && out.replied && !errors.Is(out.err, ErrCacheMiss) {
		p.server.logMissed(&p.request, *out)
	}
}

// settle counts what became of the copies, and reports whether one was stored.
func (g *gutter) settle(copies []part) (stored bool) {
	for i := range copies {
		p := &copies[i]
		p.mustBeGone()
		if p.request.Op == protocol.OpDelete {
			g.deleted.Add(1)
			continue
		}
		p.server.guests.Add(-1)
		if p.outcome.err == nil {
			g.stored.Add(1)
			stored = true
		}
	}
	return stored
}
