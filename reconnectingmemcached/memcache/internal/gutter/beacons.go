package gutter

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

const (
	// beaconPrefix is before the address of a server that is down, in the key that says so.
	beaconPrefix = "holdfast:gutter:"
	// freshPrefix is that of a key which is there while nobody needs to set the beacon again.
	freshPrefix = "holdfast:gutter-fresh:"
)

// keyOf is a key for an address. One that does not fit is known by its digest.
func keyOf(prefix, address string) string {
	if key := prefix + address; protocol.LegalKey(key) {
		return key
	}
	sum := sha256.Sum256([]byte(address))
	return prefix + "sha256:" + hex.EncodeToString(sum[:16])
}

// beat tells the other processes which servers' keys may have copies, and hears it from them: at
// each interval, and as soon as a server goes down. The processes of a fleet must not do so at the
// same moments, so an interval is up to a tenth shorter.
func (g *Gutter) beat() {
	for {
		pause := g.options.Beacon - time.Duration(rand.Int64N(int64(g.options.Beacon)/10+1)) //nolint:gosec // chance, not secrecy.
		next := time.NewTimer(pause)
		select {
		case <-g.fleet.Ctx.Done():
		case <-next.C:
		case <-g.fallen:
		}
		next.Stop()
		if g.fleet.Ctx.Err() != nil {
			return
		}
		observe.Aside(struct{}{}, func() struct{} { // a selector of the caller's may end its goroutine
			g.beatOnce()
			return struct{}{}
		})
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

// beacon is a server's whose keys may have copies.
type beacon struct {
	owner      *server.Server
	key, fresh string
	isDown     bool // for this process
}

func (g *Gutter) beatOnce() {
	pool := g.pool()
	owners, err := g.owners.Each()
	if err != nil || len(pool) == 0 {
		return // the selector has no servers at present
	}
	beacons := make([]beacon, 0, len(owners))
	for _, o := range owners {
		beacons = append(beacons, beacon{o, keyOf(beaconPrefix, o.Address), keyOf(freshPrefix, o.Address), o.IsDown()})
	}
	var beating sync.WaitGroup
	for _, s := range pool {
		if !s.IsDown() {
			beating.Go(func() { g.exchange(s, beacons) })
		}
	}
	beating.Wait()
}

// exchange hears from one server which others are down for any process, and tells it of those that
// are down for this one, unless another process has lately.
func (g *Gutter) exchange(s *server.Server, beacons []beacon) {
	var asks []server.Part
	for _, b := range beacons {
		asks = server.AddKey(asks, s, b.key, len(beacons))
		if b.isDown {
			asks = server.AddKey(asks, s, b.fresh, len(beacons))
		}
	}
	for i := range asks {
		asks[i].Request.Own = true
	}
	server.Launch(g.fleet.Ctx, asks)
	now := g.fleet.Now()
	found := make(map[string]time.Duration) // for how long the copies live that a key stands for
	for i := range asks {
		for _, it := range asks[i].Outcome.Items {
			found[it.Key] = standsFor(it.Value)
		}
	}
	var tells []server.Part
	for _, b := range beacons {
		stands, told := found[b.key]
		if told {
			b.owner.Window.Hear(now, g.options.Expiration+graceOfBeacons)
		}
		if b.isDown && min(stands, found[b.fresh]) < g.options.Expiration {
			tells = g.tell(tells, s, b, max(stands, g.options.Expiration))
		}
	}
	server.Launch(g.fleet.Ctx, tells)
}

// standsFor reads the value of a beacon: the Expiration of its process, in seconds. One that stands
// for shorter lives than this process gives its copies is none to rely on.
func standsFor(value []byte) time.Duration {
	n, ok := protocol.ParseUint(value, uint64(protocol.LongestRelative/time.Second))
	if !ok {
		return 0
	}
	return time.Duration(n) * time.Second //nolint:gosec // bounded.
}

// tell adds the requests that set a beacon at a server, for copies that live so long.
func (g *Gutter) tell(parts []server.Part, s *server.Server, b beacon, expiration time.Duration) []server.Part {
	value := strconv.AppendInt(nil, int64(expiration/time.Second), 10)
	set := func(key string, life time.Duration) {
		it := &gomemcache.Item{Key: key, Value: value, Expiration: protocol.Seconds(life)}
		parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpSet, Own: true, Key: key, Item: it}})
	}
	set(b.key, beaconLife(expiration))
	if g.options.sparesBeats() {
		set(b.fresh, freshTime(expiration))
	}
	return parts
}
