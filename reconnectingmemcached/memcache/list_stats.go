package memcache

import (
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// ListStats is what a client knows of its [Options.Source]. Counts begin with the client's first
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
	return core.lists.snapshot()
}

func (l *lists) snapshot() ListStats {
	if l == nil {
		return ListStats{}
	}
	l.mu.Lock()
	st := l.stats
	l.mu.Unlock()
	st.Servers = slices.Clone(st.Servers)
	l.handing.count(&st)
	return st
}

func (l *lists) collect(m *metrics.Memcached, out observe.Sender) {
	st, same := l.snapshot(), uint64(0)
	if l != nil {
		l.mu.Lock()
		same = l.same
		l.mu.Unlock()
	}
	out.Gauge(m.Servers, float64(len(st.Servers)))
	out.Count(m.Lists, st.Changes, "adopted")
	out.Count(m.Lists, same, "same")
	out.Count(m.Lists, st.Awaited, "awaited")
	out.Count(m.Lists, st.Failures, "failed")
	out.Count(m.HandOver, st.Copied, "copied")
	out.Count(m.HandOver, st.Missed, "missed")
	out.Count(m.HandOver, st.Skipped, "skipped")
	out.Count(m.HandOver, st.FormerDeletes, "deleted")
}
