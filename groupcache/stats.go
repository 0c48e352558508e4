package groupcache

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
)

// An AtomicInt is a counter that several goroutines may use at once. The zero value is 0. It is
// printed, and encoded as JSON, as its value.
type AtomicInt struct {
	own  int64
	also func() int64 // what is counted elsewhere; nil for nothing
	_    uint32       // keeps own at multiples of 8 bytes where words have 4
}

// Add adds n.
func (i *AtomicInt) Add(n int64) { atomic.AddInt64(&i.own, n) }

// Store sets the value.
func (i *AtomicInt) Store(n int64) { atomic.StoreInt64(&i.own, n-i.elsewhere()) }

// Get is the value.
func (i *AtomicInt) Get() int64 { return atomic.LoadInt64(&i.own) + i.elsewhere() }

func (i *AtomicInt) elsewhere() int64 {
	if i.also == nil {
		return 0
	}
	return i.also()
}

// String is the value in decimal.
func (i *AtomicInt) String() string { return strconv.FormatInt(i.Get(), 10) }

// Format implements fmt.Formatter. It has no pointer receiver, so that a Stats is printed as
// numbers.
func (i AtomicInt) Format(f fmt.State, verb rune) {
	if verb == 's' { // as String
		verb = 'd'
	}
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), i.Get())
}

// MarshalJSON implements json.Marshaler.
func (i AtomicInt) MarshalJSON() ([]byte, error) { return strconv.AppendInt(nil, i.Get(), 10), nil }

// raise sets the value to n if it is smaller.
func (i *AtomicInt) raise(n int64) {
	for old := atomic.LoadInt64(&i.own); n > old; old = atomic.LoadInt64(&i.own) {
		if atomic.CompareAndSwapInt64(&i.own, old, n) {
			return
		}
	}
}

// Stats count what a group does. They are live: read them with Get. Those of hits are summed up
// from what the caches count: they cost a hit nothing, and their Get some hundred nanoseconds.
type Stats struct {
	Gets      AtomicInt // asked for a key, also by peers
	CacheHits AtomicInt // answered by a cache
	// GetFromPeersLatencyLower is the slowest answer of a peer so far in milliseconds, whatever its
	// name (the original's) says.
	GetFromPeersLatencyLower AtomicInt
	PeerLoads                AtomicInt // values that came from peers
	PeerErrors               AtomicInt // peers that did not answer, or answered with an error
	Loads                    AtomicInt // Gets that no cache answered
	LoadsDeduped             AtomicInt // loads that did not join another
	LocalLoads               AtomicInt // values that came from the Getter
	LocalLoadErrs            AtomicInt // errors of the Getter
	ServerRequests           AtomicInt // Gets that came from peers
}

// CacheType says which of a group's caches is meant.
type CacheType int

const (
	// MainCache holds the keys that this process owns.
	MainCache CacheType = iota + 1
	// HotCache holds popular keys of other owners.
	HotCache
)

// CacheStats are one cache's statistics at one moment.
type CacheStats struct {
	Bytes     int64 // of keys and values
	Items     int64
	Gets      int64
	Hits      int64
	Evictions int64

	ActiveSingleFlightLoads     int64         // loads under way, of the group
	SingleFlightLoadOldestAge   time.Duration // how long the oldest of them has been under way
	ActiveSingleFlightRemoves   int64         // removals under way, of the group
	SingleFlightRemoveOldestAge time.Duration // how long the oldest of them has been under way
}

// counters are where the parts of a group count.
func (s *Stats) counters() group.Stats {
	return group.Stats{
		Gets: &s.Gets, CacheHits: &s.CacheHits, Loads: &s.Loads, LoadsDeduped: &s.LoadsDeduped, LocalLoads: &s.LocalLoads, LocalLoadErrs: &s.LocalLoadErrs,
		PeerLoads: &s.PeerLoads, PeerErrors: &s.PeerErrors, ServerRequests: &s.ServerRequests, Slowest: s.GetFromPeersLatencyLower.raise,
	}
}

// sumUp makes two of the Stats sums of what the caches count.
func (s *Stats) sumUp(caches *tiers.Tiers) { s.Gets.also, s.CacheHits.also = caches.Gets, caches.Hits }
