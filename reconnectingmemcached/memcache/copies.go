package memcache

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
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
		c.Spawn(g.beat)
	}
	return g
}

// pool are the servers that may take copies. Those of a caller's selector may be others at each
// call.
func (g *gutter) pool() []*server.Server {
	if len(g.options.Servers) == 0 {
		all, err := g.core.picker.each()
		if err != nil {
			return nil
		}
		return all
	}
	named := make([]*server.Server, 0, len(g.options.Servers))
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
func (g *gutter) holder(key string, owner *server.Server) *server.Server {
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
	for _, s := range holdersOf(key, owner, pool) {
		if s != nil && !s.IsDown() {
			return s
		}
	}
	return nil
}

// enter keeps calls for others from taking all of a server; leave must follow if it is true.
func (g *gutter) enter(s *server.Server) bool {
	most := g.core.options.MaxInFlight
	if s.Guests.Add(1) <= int64(g.options.MaxShare*float64(most)) || most == 0 {
		return true
	}
	s.Guests.Add(-1)
	g.full.Add(1)
	return false
}

// read looks for a copy; nil is none.
func (g *gutter) read(ctx context.Context, owner *server.Server, key string, began int64) *Item {
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
func asOriginal(it *Item) *Item {
	it.Key, it.CasID = it.Key[len(copyPrefix):], 0
	return it
}

// copies are the requests that see to the copies of a key. They must be settled. Those of servers
// that are down are logged.
func (g *gutter) copies(owner *server.Server, r *protocol.Request, at phases.Phase, began int64) []server.Part {
	how := at.Copying(r.Op)
	if g == nil || how == phases.LeaveCopies || !g.takes(r.Key) {
		return nil
	}
	holders := holdersOf(r.Key, owner, g.pool())
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

func (g *gutter) lifeOfCopy(owner *server.Server, at phases.Phase) time.Duration {
	var downFor time.Duration
	if owner.Window.Known.Load() {
		downFor = everKnown
	} else if down := owner.DownNow(); down != nil {
		downFor = time.Since(down.Since)
	}
	return g.options.copyLife(at, downFor)
}

// settle counts what became of the copies, and reports whether one was stored.
func (g *gutter) settle(copies []server.Part) (stored bool) {
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

// beaconPrefix is before the address of a server that is down, in the key that says so.
const beaconPrefix = "holdfast:gutter:"

// beat tells the other processes which servers' keys may have copies, and hears it from them: at
// each interval, and as soon as a server goes down.
func (g *gutter) beat() {
	ticks := time.NewTicker(g.options.Beacon)
	defer ticks.Stop()
	for {
		select {
		case <-g.core.Ctx.Done():
			return
		case <-ticks.C:
		case <-g.fallen:
		}
		if pool := g.pool(); len(pool) > 0 {
			g.beatOnce(pool)
		}
	}
}

// fell has the beacon of a server that went down set.
func (g *gutter) fell() {
	select {
	case g.fallen <- struct{}{}:
	default: // it is about to be
	}
}

func (g *gutter) beatOnce(pool []*server.Server) {
	owners, err := g.core.picker.each()
	if err != nil {
		return // the selector has no servers at present
	}
	asked := make([]string, 0, len(owners))
	byKey := make(map[string]*server.Server, len(owners))
	var down []string
	for _, o := range owners {
		key := beaconPrefix + o.Address
		if !protocol.LegalKey(key) {
			continue
		}
		asked, byKey[key] = append(asked, key), o
		if o.IsDown() {
			down = append(down, key)
		}
	}
	parts := make([]server.Part, 0, len(pool)*(len(down)+1))
	for _, s := range pool {
		if s.IsDown() {
			continue
		}
		for _, key := range down {
			beacon := &Item{Key: key, Value: []byte("1"), Expiration: protocol.Seconds(g.options.Expiration + graceOfBeacons)}
			parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpSet, Own: true, Key: key, Item: beacon}})
		}
		parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpGetMulti, Own: true, Keys: asked}})
	}
	server.Launch(g.core.Ctx, parts)
	now := g.core.Now()
	for i := range parts {
		for _, it := range parts[i].Outcome.Items {
			byKey[it.Key].Window.Hear(now, g.options.Expiration+graceOfBeacons)
		}
	}
}

// GutterStats counts what became of copies since the client's first use; see [Gutter].
type GutterStats struct {
	// Hits and Misses count keys that copies were looked for.
	Hits, Misses uint64
	// Stored and Deleted count copies, Deleted also those that were not there.
	Stored, Deleted uint64
	// Full counts calls that were not made because their server had Gutter.MaxShare under way for
	// others.
	Full uint64
}

// GutterStats returns a snapshot; it is zero without a gutter.
func (c *Client) GutterStats() GutterStats {
	if c.shared == nil {
		return GutterStats{}
	}
	core := c.shared.core.Load()
	if core == nil {
		return GutterStats{}
	}
	return core.gutter.counts()
}

func (g *gutter) counts() GutterStats {
	if g == nil {
		return GutterStats{}
	}
	return GutterStats{
		Hits: g.hits.Load(), Misses: g.misses.Load(), Stored: g.stored.Load(), Deleted: g.deleted.Load(), Full: g.full.Load(),
	}
}

func (st GutterStats) collect(m *metrics.Memcached, out observe.Sender) {
	out.Count(m.Gutter, st.Hits, "hit")
	out.Count(m.Gutter, st.Misses, "miss")
	out.Count(m.Gutter, st.Stored, "stored")
	out.Count(m.Gutter, st.Deleted, "deleted")
	out.Count(m.Gutter, st.Full, "full")
}
