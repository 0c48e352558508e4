package memcache

import (
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

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
	return core.gutter.stats()
}

func (g *gutter) stats() GutterStats {
	if g == nil {
		return GutterStats{}
	}
	return GutterStats{
		Hits: g.hits.Load(), Misses: g.misses.Load(), Stored: g.stored.Load(), Deleted: g.deleted.Load(), Full: g.full.Load(),
	}
}

func (st GutterStats) collect(m *metrics.Memcached, out observe.Sender) {
	out.Count(m.Gutter, st.Hits, "hit")
	out.Count(m.Gutter, st.Misses, "miss")
	out.Count(m.Gutter, st.Stored, "stored")
	out.Count(m.Gutter, st.Deleted, "deleted")
	out.Count(m.Gutter, st.Full, "full")
}
