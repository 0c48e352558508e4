package groupcache

import (
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

// CacheStats are the statistics of one of the group's caches; those of an unknown cache are zero.
func (g *Group) CacheStats(which CacheType) CacheStats {
	var s store.Stats
	switch which {
	case MainCache:
		s = g.shared.Tiers.Main.Stats()
	case HotCache:
		s = g.shared.Tiers.Hot.Stats()
	default:
		return CacheStats{}
	}
	out := CacheStats{Bytes: s.Bytes, Items: s.Items, Gets: s.Gets, Hits: s.Hits, Evictions: s.Evictions}
	loads, since := g.parts.Loader.Active()
	fetches, sinceFetch := g.parts.Fetcher.Active()
	out.ActiveSingleFlightLoads = loads + fetches
	out.SingleFlightLoadOldestAge = max(age(since), age(sinceFetch))
	removes, sinceRemove := g.parts.Writer.Ages.Active()
	out.ActiveSingleFlightRemoves, out.SingleFlightRemoveOldestAge = removes, age(sinceRemove)
	return out
}

func age(since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return time.Since(since)
}
