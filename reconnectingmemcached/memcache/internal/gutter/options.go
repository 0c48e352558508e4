package gutter

import (
	"math"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Options say how long copies live, and where.
type Options struct {
	// Expiration is how long a copy lives at most. Beacon is how often processes tell each other of
	// servers that are down; negative: they do not.
	Expiration, Beacon time.Duration
	// Servers take the copies; nil is the owners.
	Servers []string
	// MaxShare is the part of MaxInFlight that a server gives to calls for others; 0 calls is no
	// bound.
	MaxShare    float64
	MaxInFlight int
	// Timeout bounds a whole call.
	Timeout time.Duration
	// NoReplay is true for keys that have no copies; nil is none.
	NoReplay func(key string) bool
}

const (
	copyPrefix = "holdfast:g:"
	// beatsToBeHeard is after how many Beacons every process has heard of an outage: it is told at
	// once, and asked about each Beacon, by a call that may take as long.
	beatsToBeHeard = 2
	beatsUnheard   = 3 // how many Beacons a copy lives until then
	// graceOfCopies is how much longer than they live copies are taken care of.
	graceOfCopies = 2 * time.Second
	// graceOfBeacons is how much longer than copies beacons live, and are believed.
	graceOfBeacons = 5 * time.Second
)

// CareTime is how long after a re-admission there may be copies that live for so long: the Set of
// one may have begun just before, and takes a call's time.
func CareTime(expiration, timeout time.Duration) time.Duration {
	if expiration == 0 {
		return 0
	}
	return expiration + max(graceOfCopies, timeout+time.Second)
}

// longestFresh bounds freshTime: for so much longer than copies may live writes see to them after
// an outage.
const longestFresh = 30 * time.Second

// freshTime is how long a beacon for copies that live so long stands before it is set again, by the
// process that sees so first: all of a fleet would do so at each beat.
func freshTime(expiration time.Duration) time.Duration {
	return min((expiration+graceOfBeacons)/2, longestFresh).Truncate(time.Second)
}

// beaconLife is how long a beacon lives that a process has set. Another may have its server down
// until it would have been set again, and store copies until then.
func beaconLife(expiration time.Duration) time.Duration {
	return min(expiration+graceOfBeacons+freshTime(expiration), protocol.LongestRelative)
}

// sparesBeats reports whether there are enough beats for processes to leave setting a beacon to
// each other.
func (o *Options) sparesBeats() bool { return o.Beacon <= freshTime(o.Expiration)/2 }

// everKnown is how long a server counts as down whose outage the other processes know of from one
// shortly before.
const everKnown = time.Duration(math.MaxInt64)

// copyLife is how long a copy lives: three Beacons while some processes may not know yet that there
// are copies. The owner has been down for so long, if it is.
func (o *Options) copyLife(owner phases.Phase, downFor time.Duration) time.Duration {
	if o.Beacon < 0 || owner == phases.Down && downFor >= beatsToBeHeard*o.Beacon {
		return o.Expiration
	}
	return min(o.Expiration, max((beatsUnheard*o.Beacon).Truncate(time.Second), time.Second))
}

// HoldersOf chooses the servers that may have a copy of key: those of the highest scores
// (rendezvous hashing). All processes with the same servers choose the same, and those of a key do
// not change when another server goes down.
func HoldersOf(key string, owner *server.Server, among []*server.Server) (holders [phases.CopyHolders]*server.Server) {
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
