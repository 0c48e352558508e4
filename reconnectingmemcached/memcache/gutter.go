package memcache

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/gutter"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
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
	// times Beacon by the time of a load at most. All processes must have the same. Default 0: 1 s;
	// negative: none, and Expiration is the bound.
	Beacon time.Duration

	// MaxShare is which part of Options.MaxInFlight a server gives to calls for others, if that is
	// set. Default 0: a half.
	MaxShare float64
}

const (
	defaultBeacon = time.Second
	defaultShare  = .5
	defaultLinger = 2 * time.Second
)

func (g Gutter) validate() error {
	switch {
	case g.Expiration < 0 || g.Expiration > protocol.LongestRelative:
		return fmt.Errorf("memcache: Options.Gutter.Expiration is %v: use 0 for no gutter, or at most 30 days", g.Expiration)
	case !(g.MaxShare >= 0 && g.MaxShare <= 1): // as is what is no number
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

// gutterOptions are the part of the options that is about copies.
func (o Options) gutterOptions() gutter.Options {
	g := o.Gutter
	return gutter.Options{
		Expiration: g.Expiration, Beacon: g.Beacon, Servers: g.Servers, MaxShare: g.MaxShare,
		MaxInFlight: o.MaxInFlight, Timeout: o.Timeout, NoReplay: o.NoReplay,
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
	return GutterStats(core.gutter.Counts())
}

func (st GutterStats) collect(m *metrics.Memcached, out observe.Sender) {
	out.Count(m.Gutter, st.Hits, "hit")
	out.Count(m.Gutter, st.Misses, "miss")
	out.Count(m.Gutter, st.Stored, "stored")
	out.Count(m.Gutter, st.Deleted, "deleted")
	out.Count(m.Gutter, st.Full, "full")
}
