package sentinel_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/sentinel"
)

// A scenario is what sentinel/internal/follow/sim plays with the machine alone, played with a whole
// client: a seed makes a script of faults, and what must never be is looked for from outside.

// deed is one thing that goes wrong, or that an operator does.
type deed int

const (
	switchOver   deed = iota // on command
	thereAndBack             // the same, and once more
	die                      // the primary, which comes back empty
	stall                    // the primary
	cutServer                // the client from the primary
	loseFlow                 // the client's connections to the primary end
	swallow                  // they carry nothing any more
	sentinelDies
	sentinelHangs
	cutSentinel  // the client from a sentinel
	loseEvents   // the subscription to a sentinel ends, with what it was about to bring
	lateEvents   // what a sentinel says comes late
	allSentinels // the client is cut off from all of them
	monitorAnew  // SENTINEL REMOVE and MONITOR
	force        // an operator takes the primary away, and gives it back
	deeds
)

func (d deed) String() string {
	return []string{
		"a failover", "a failover there and back", "the primary dies", "the primary stalls", "the client is cut off from the primary",
		"its connections to the primary end", "its connections to the primary carry nothing", "a sentinel dies", "a sentinel hangs",
		"the client is cut off from a sentinel", "the subscription to a sentinel ends", "a sentinel is heard late", "the client is cut off from all sentinels",
		"the name is monitored anew", "the primary is forced down",
	}[d]
}

// silences reports whether a sentinel is not heard for a while.
func (d deed) silences() bool {
	return slices.Contains([]deed{sentinelDies, sentinelHangs, cutSentinel, lateEvents, allSentinels}, d)
}

// healAt is when faults end.
const healAt = 8 * time.Second

// fault is a deed at a time, of a sentinel and for a while if it has them.
type fault struct {
	at       time.Duration
	deed     deed
	sentinel int
	lasts    time.Duration
}

func (a fault) String() string {
	return fmt.Sprintf("%6.3f s: %v (sentinel %d, %v)", a.at.Seconds(), a.deed, a.sentinel, a.lasts)
}

// script is what a seed makes.
type script struct {
	seed     uint64
	mode     sentinel.Mode
	protocol int
	replicas int
	calm     bool // nothing happens but failovers on command, which lose no write
	rogue    bool // one more sentinel tells lies
	acts     []fault
}

func newScript(seed uint64) script {
	rng := rand.New(rand.NewPCG(seed, 2))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rng.Int64N(int64(most-least)+1))
	}
	s := script{
		seed: seed, mode: sentinel.Mode(rng.IntN(3)), protocol: 2 + rng.IntN(2), replicas: 1 + rng.IntN(2), calm: rng.IntN(3) == 0, rogue: rng.IntN(3) == 0,
	}
	if s.calm {
		s.mode, s.rogue = sentinel.Mode(rng.IntN(2)), false
		s.acts = []fault{{at: between(time.Second, 4*time.Second), deed: switchOver}}
		if rng.IntN(2) == 0 {
			s.acts[0].deed, s.acts[0].lasts = thereAndBack, between(1500*time.Millisecond, 4*time.Second)
		}
		if rng.IntN(2) == 0 { // in time before it
			s.acts = append([]fault{{at: between(0, 500*time.Millisecond), deed: loseEvents}}, s.acts...)
			s.acts[1].at += time.Second
		}
		return s
	}
	for range 1 + rng.IntN(5) {
		f := fault{at: between(0, healAt-time.Second), deed: deed(rng.IntN(int(deeds))), sentinel: rng.IntN(3), lasts: between(50*time.Millisecond, 3*time.Second)}
		if s.rogue && f.deed.silences() {
			f.deed = switchOver // else the rogue might be most of those that are heard
		}
		s.acts = append(s.acts, f)
	}
	slices.SortStableFunc(s.acts, func(a, b fault) int { return int(a.at - b.at) })
	return s
}

func (s script) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "scenario %d: %v, RESP%d, %d replicas, calm %v, rogue %v\n", s.seed, s.mode, s.protocol, s.replicas, s.calm, s.rogue)
	for _, a := range s.acts {
		fmt.Fprintln(&text, a)
	}
	return text.String()
}
