package memcache

import (
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/lists"
)

// listOptions are the part of the options that is about lists that change.
func (o Options) listOptions() lists.Options {
	l := lists.Options{
		Interval: o.SourceInterval, HandOver: o.HandOver, Timeout: o.Timeout, Hash: o.Hash.kind(), Kept: o.Gutter.Servers,
		NoReplay: o.NoReplay, Flushes: o.Overflow == FlushServer, Secret: o.Credentials != nil, Certified: o.TLS != nil,
	}
	if o.Source != nil {
		l.Source = o.Source
	}
	return l
}

// ListStats describes a client's [Options.Source]. Counts begin with the client's first
// use.
type ListStats struct {
	// Servers are the present ones, as they were named; nil before the first list.
	Servers []string
	// Since is when they became so.
	Since time.Time
	// Err is why the last answer was of no use; nil if it was.
	Err error
	// Changes counts lists that were adopted, the first included. Awaited counts answers that
	// differ from the present list and are to be repeated first, Failures those of no use.
	Changes, Awaited, Failures uint64
	// Copied, Missed and Skipped count keys that a former owner was asked for: copied to their
	// owner, not there, and not asked for or not answered in time. FormerDeletes counts deletions
	// at former owners.
	Copied, Missed, Skipped, FormerDeletes uint64
}

// ListStats returns a snapshot; it is zero without a source.
func (c *Client) ListStats() ListStats {
	if c.shared == nil {
		return ListStats{}
	}
	core := c.shared.core.Load()
	if core == nil {
		return ListStats{}
	}
	return ListStats(core.lists.Stats())
}
