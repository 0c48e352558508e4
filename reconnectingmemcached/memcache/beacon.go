package memcache

import (
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

// beaconPrefix is before the address of a server that is down, in the key that says so.
const beaconPrefix = "holdfast:gutter:"

// beat tells the other processes which servers' keys may have copies, and hears it from them: at
// each interval, and as soon as a server goes down.
func (g *gutter) beat() {
	ticks := time.NewTicker(g.options.Beacon)
	defer ticks.Stop()
	for {
		select {
		case <-g.core.ctx.Done():
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

func (g *gutter) beatOnce(pool []*server) {
	owners, err := g.core.picker.each()
	if err != nil {
		return // the selector has no servers at present
	}
	asked := make([]string, 0, len(owners))
	byKey := make(map[string]*server, len(owners))
	var down []string
	for _, o := range owners {
		key := beaconPrefix + o.address
		if !protocol.LegalKey(key) {
			continue
		}
		asked, byKey[key] = append(asked, key), o
		if o.isDown() {
			down = append(down, key)
		}
	}
	parts := make([]part, 0, len(pool)*(len(down)+1))
	for _, s := range pool {
		if s.isDown() {
			continue
		}
		for _, key := range down {
			beacon := &Item{Key: key, Value: []byte("1"), Expiration: seconds(g.options.Expiration + graceOfBeacons)}
			parts = append(parts, part{server: s, request: protocol.Request{Op: protocol.OpSet, Own: true, Key: key, Item: beacon}})
		}
		parts = append(parts, part{server: s, request: protocol.Request{Op: protocol.OpGetMulti, Own: true, Keys: asked}})
	}
	launch(g.core.ctx, parts)
	now := g.core.now()
	for i := range parts {
		for _, it := range parts[i].outcome.items {
			byKey[it.Key].window.hear(now, g.options.Expiration+graceOfBeacons)
		}
	}
}
