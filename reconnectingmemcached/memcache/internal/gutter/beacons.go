package gutter

import (
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// beaconPrefix is before the address of a server that is down, in the key that says so.
const beaconPrefix = "holdfast:gutter:"

// beat tells the other processes which servers' keys may have copies, and hears it from them: at
// each interval, and as soon as a server goes down.
func (g *Gutter) beat() {
	ticks := time.NewTicker(g.options.Beacon)
	defer ticks.Stop()
	for {
		select {
		case <-g.fleet.Ctx.Done():
			return
		case <-ticks.C:
		case <-g.fallen:
		}
		if pool := g.pool(); len(pool) > 0 {
			g.beatOnce(pool)
		}
	}
}

// Fell has the beacon of a server that went down set.
func (g *Gutter) Fell() {
	if g == nil {
		return
	}
	select {
	case g.fallen <- struct{}{}:
	default: // it is about to be
	}
}

func (g *Gutter) beatOnce(pool []*server.Server) {
	owners, err := g.owners.Each()
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
			beacon := &gomemcache.Item{Key: key, Value: []byte("1"), Expiration: protocol.Seconds(g.options.Expiration + graceOfBeacons)}
			parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpSet, Own: true, Key: key, Item: beacon}})
		}
		parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpGetMulti, Own: true, Keys: asked}})
	}
	server.Launch(g.fleet.Ctx, parts)
	now := g.fleet.Now()
	for i := range parts {
		for _, it := range parts[i].Outcome.Items {
			byKey[it.Key].Window.Hear(now, g.options.Expiration+graceOfBeacons)
		}
	}
}
