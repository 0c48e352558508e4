package groupcache

import (
	"strconv"
	"sync/atomic"
	"time"
)

// An AtomicInt is a counter that several goroutines may use at once.
type AtomicInt int64

// Add adds n.
func (i *AtomicInt) Add(n int64) { atomic.AddInt64((*int64)(i), n) }

// Store sets the value.
func (i *AtomicInt) Store(n int64) { atomic.StoreInt64((*int64)(i), n) }

// Get is the value.
func (i *AtomicInt) Get() int64 { return atomic.LoadInt64((*int64)(i)) }

// String is the value in decimal.
func (i *AtomicInt) String() string { return strconv.FormatInt(i.Get(), 10) }

// raise sets the value to n if it is smaller.
func (i *AtomicInt) raise(n int64) {
	for old := i.Get(); n > old; old = i.Get() {
		if atomic.CompareAndSwapInt64((*int64)(i), old, n) {
			return
		}
	}
}

// Stats count what a group does. They are live: read them with Get.
type Stats struct {
	Gets      AtomicInt // asked for a key, also by peers
	CacheHits AtomicInt // answered by a cache
	// GetFromPeersLatencyLower is the slowest answer of a peer so far in milliseconds, whatever its name (the original's) says.
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
