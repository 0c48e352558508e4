// Package gutter keeps the keys of servers that are down on others for a while, and carries out
// what package phases decides about such copies. It asks the owners of keys nothing.
package gutter

import (
	"context"
	"sync/atomic"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/fleet"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/picker"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Gutter is where copies are. It is safe for concurrent use; the methods of a nil one are those of
// a client without copies.
type Gutter struct {
	fleet   *fleet.Fleet
	owners  picker.Picker
	options Options
	fallen  chan struct{} // holds a token when a server has gone down; capacity 1

	hits, misses, stored, deleted, full atomic.Uint64
}

// New returns none if Expiration is 0.
func New(f *fleet.Fleet, owners picker.Picker, o Options) *Gutter {
	if o.Expiration == 0 {
		return nil
	}
	return &Gutter{fleet: f, owners: owners, options: o, fallen: make(chan struct{}, 1)}
}

// Start begins to tell other processes of servers that are down, and to hear it from them; nil is
// none. [Gutter.Fell] may be called from then on.
func (g *Gutter) Start() {
	if g != nil && g.options.Beacon > 0 {
		g.fleet.Spawn(g.beat)
	}
}

// pool are the servers that may take copies. Those of a caller's selector may be others at each
// call.
func (g *Gutter) pool() []*server.Server {
	if len(g.options.Servers) == 0 {
		all, err := g.owners.Each()
		if err != nil {
			return nil
		}
		return all
	}
	named := make([]*server.Server, 0, len(g.options.Servers))
	for _, name := range g.options.Servers {
		named = append(named, g.fleet.Named(name))
	}
	return named
}

// takes reports whether a key may have copies.
func (g *Gutter) takes(key string) bool {
	skip := g.options.NoReplay
	return len(key)+len(copyPrefix) <= protocol.MaxKeyLength && (skip == nil || !skip(key))
}

// holder is the server to read a copy from; nil if there is none.
func (g *Gutter) holder(key string, owner *server.Server) *server.Server {
	if !g.takes(key) {
		return nil
	}
	pool := g.pool()
	down := 0
	for _, s := range pool {
		if s.IsDown() {
			down++
		}
	}
	if tooManyDown(down, len(pool)) {
		return nil
	}
	for _, s := range HoldersOf(key, owner, pool) {
		if s != nil && !s.IsDown() {
			return s
		}
	}
	return nil
}

// enter keeps calls for others from taking all of a server; leave must follow if it is true.
func (g *Gutter) enter(s *server.Server) bool {
	most := g.options.MaxInFlight
	if s.Guests.Add(1) <= max(1, int64(g.options.MaxShare*float64(most))) || most == 0 {
		return true
	}
	s.Guests.Add(-1)
	g.full.Add(1)
	return false
}

// Read looks for a copy; nil is none.
func (g *Gutter) Read(ctx context.Context, owner *server.Server, key string, began int64) *gomemcache.Item {
	if g == nil {
		return nil
	}
	s := g.holder(key, owner)
	if s == nil || !g.enter(s) {
		g.misses.Add(1)
		return nil
	}
	defer s.Guests.Add(-1)
	out := s.Exchange(ctx, &protocol.Request{Op: protocol.OpGet, Own: true, Key: copyPrefix + key, Began: began})
	if out.Err != nil {
		g.misses.Add(1)
		return nil
	}
	g.hits.Add(1)
	return asOriginal(out.Item)
}

// asOriginal makes a copy the item that it stands for. Its CasID would be another server's.
func asOriginal(it *gomemcache.Item) *gomemcache.Item {
	it.Key, it.CasID = it.Key[len(copyPrefix):], 0
	return it
}

// Copies are the requests that see to the copies of a key. They must be settled. Those of servers
// that are down are logged.
func (g *Gutter) Copies(owner *server.Server, r *protocol.Request, at phases.Phase, began int64) []server.Part {
	how := at.Copying(r.Op)
	if g == nil || how == phases.LeaveCopies || !g.takes(r.Key) {
		return nil
	}
	holders := HoldersOf(r.Key, owner, g.pool())
	var up [phases.CopyHolders]bool
	for i, s := range holders {
		up[i] = s != nil && !s.IsDown()
	}
	parts := make([]server.Part, 0, phases.CopyHolders)
	for i, todo := range how.Deeds(up) {
		s := holders[i]
		if s == nil {
			continue
		}
		p := server.Part{Server: s, Request: protocol.Request{Op: protocol.OpDelete, Own: true, Key: copyPrefix + r.Key, Began: began}}
		switch {
		case todo == phases.DeedLog:
			s.LogMissed(&p.Request, server.Outcome{}) // its value of the key is old when it is back
			continue
		case todo == phases.DeedStore && s == g.holder(r.Key, owner) && g.enter(s):
			copied := *r.Item
			copied.Key, copied.Expiration = p.Request.Key, protocol.CopyExpiration(r.Item.Expiration, g.lifeOfCopy(owner, at), time.Now())
			p.Request.Op, p.Request.Item = protocol.OpSet, &copied
		}
		parts = append(parts, p)
	}
	return parts
}

func (g *Gutter) lifeOfCopy(owner *server.Server, at phases.Phase) time.Duration {
	var downFor time.Duration
	if owner.Window.Known.Load() {
		downFor = everKnown
	} else if down := owner.DownNow(); down != nil {
		downFor = time.Since(down.Since)
	}
	return g.options.copyLife(at, downFor)
}

// Settle counts what became of the copies, and reports whether one was stored.
func (g *Gutter) Settle(copies []server.Part) (stored bool) {
	for i := range copies {
		p := &copies[i]
		p.MustBeGone()
		if p.Request.Op == protocol.OpDelete {
			g.deleted.Add(1)
			continue
		}
		p.Server.Guests.Add(-1)
		if p.Outcome.Err == nil {
			g.stored.Add(1)
			stored = true
		}
	}
	return stored
}

// Keep sees to the copies of a key, and reports whether there is one of the value now.
func (g *Gutter) Keep(ctx context.Context, s *server.Server, r *protocol.Request, at phases.Phase, began int64) (stored bool) {
	parts := g.Copies(s, r, at, began)
	server.Launch(ctx, parts)
	return g.Settle(parts)
}

// Counts are what became of copies.
type Counts struct {
	Hits, Misses    uint64 // keys that copies were looked for
	Stored, Deleted uint64 // copies
	Full            uint64 // calls not made for want of room at their server
}

// Counts returns a snapshot.
func (g *Gutter) Counts() Counts {
	if g == nil {
		return Counts{}
	}
	return Counts{
		Hits: g.hits.Load(), Misses: g.misses.Load(), Stored: g.stored.Load(), Deleted: g.deleted.Load(), Full: g.full.Load(),
	}
}
