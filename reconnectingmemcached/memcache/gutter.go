package memcache

import (
	"fmt"
	"math"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Gutter keeps the keys of a server that is down on two of the others for a while, so that the
// database is asked for each key once in a while instead of each time. The zero value is off; most
// callers want Expiration alone.
//
// Set stores a copy under another name there and returns nil. Get, GetAndTouch and GetMulti read
// copies; their CasID is 0. What changes or deletes a key deletes its copies. Add, Increment,
// Decrement and Touch are never sent to another server: a lock or a counter must not exist twice.
// Keys for which [Options.NoReplay] is true, and those of more than 239 bytes, have no copies.
type Gutter struct {
	// Expiration is how long a copy lives at most, in whole seconds. It bounds how old a copy is,
	// on top of the time that a load takes, where other clients write the same keys without a
	// gutter, or with other servers. Default 0: no gutter. Take 10 s, and 5 min once all that write
	// have it.
	Expiration time.Duration

	// Servers take the copies. All processes must name the same. Default: the servers of the
	// client.
	Servers []string

	// Beacon is how often the processes tell each other, by a key on each server, whose copies
	// there may be. Those that write see to the copies then, so that a copy is older than three
	// times Beacon by the time of a load at most. Default 0: 1 s; negative: none, and Expiration is
	// the bound.
	Beacon time.Duration

	// MaxShare is which part of Options.MaxInFlight a server gives to calls for others, if that is
	// set. Default 0: a half.
	MaxShare float64
}

const (
	copyPrefix    = "holdfast:g:"
	defaultBeacon = time.Second
	defaultShare  = .5
	defaultLinger = 2 * time.Second
	// beatsToBeHeard is after how many Beacons every process has heard of an outage: it is told at
	// once, and asked about each Beacon, by a call that may take as long.
	beatsToBeHeard = 2
	beatsUnheard   = 3 // how many Beacons a copy lives until then
	// graceOfCopies is how much longer than they live copies are taken care of.
	graceOfCopies = 2 * time.Second
	// graceOfBeacons is how much longer than copies beacons live, and are believed.
	graceOfBeacons = 5 * time.Second
)

func (g Gutter) validate() error {
	switch {
	case g.Expiration < 0 || g.Expiration > protocol.LongestRelative:
		return fmt.Errorf("memcache: Options.Gutter.Expiration is %v: use 0 for no gutter, or at most 30 days", g.Expiration)
	case g.MaxShare < 0 || g.MaxShare > 1:
		return fmt.Errorf("memcache: Options.Gutter.MaxShare is %v: use a part between 0 and 1; 0 is the default", g.MaxShare)
	}
	for _, address := range g.Servers {
		if err := addresses.Validate(address); err != nil {
			return fmt.Errorf("memcache: Options.Gutter.Servers: %w", err)
		}
	}
	return nil
}

func (g Gutter) withDefaults() Gutter {
	g.Expiration = (g.Expiration + time.Second - 1).Truncate(time.Second)
	if g.Beacon == 0 {
		g.Beacon = defaultBeacon
	}
	if g.MaxShare == 0 {
		g.MaxShare = defaultShare
	}
	return g
}

// everKnown is how long a server counts as down whose outage the other processes know of from one
// shortly before.
const everKnown = time.Duration(math.MaxInt64)

// copyLife is how long a copy lives: three Beacons while some processes may not know yet that there
// are copies. The owner has been down for so long, if it is.
func (g Gutter) copyLife(owner phases.Phase, downFor time.Duration) time.Duration {
	if g.Beacon < 0 || owner == phases.Down && downFor >= beatsToBeHeard*g.Beacon {
		return g.Expiration
	}
	return min(g.Expiration, max((beatsUnheard*g.Beacon).Truncate(time.Second), time.Second))
}

// holdersOf chooses the servers that may have a copy of key: those of the highest scores
// (rendezvous hashing). All processes with the same servers choose the same, and those of a key do
// not change when another server goes down.
func holdersOf(key string, owner *server.Server, among []*server.Server) (holders [phases.CopyHolders]*server.Server) {
	sum := placement.Sum(key)
	var best [phases.CopyHolders]uint64
	for _, s := range among {
		if s == owner {
			continue
		}
		score := placement.Score(sum, s.Seed)
		switch {
		case holders[0] == nil || score > best[0]:
			holders[1], best[1] = holders[0], best[0]
			holders[0], best[0] = s, score
		case holders[1] == nil || score > best[1]:
			holders[1], best[1] = s, score
		}
	}
	return holders
}

// tooManyDown is true when more than half of all servers are down: the others are not to bear their
// load, too.
func tooManyDown(down, all int) bool { return down > (all+1)/2 }
