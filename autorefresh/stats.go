package autorefresh

import (
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/breaker"
)

// Stats is a snapshot of what a cache has and what it has done since it was made.
type Stats struct {
	// Items are those in the cache. Of them Terminal are final, Resting not refreshed until read,
	// Absent negative entries, and Failing back off; Stale are older than MaxStale.
	Items, Terminal, Resting, Absent, Failing, Stale int
	// Weight is the sum of what Weigh says of the items, 0 without it.
	Weight uint64
	// Due are items that are due and not being refreshed yet.
	Due int

	// Updated, Unchanged, Gone, Final and Failed count refreshes by what the refresh function said
	// of an item.
	Updated, Unchanged, Gone, Final, Failed uint64
	// Adopted counts refreshes taken from the second level, Leased those left to another process
	// for the moment, and Postponed those for which the source was not asked because it is failing.
	Adopted, Leased, Postponed uint64
	// Evicted are items deleted for want of room.
	Evicted uint64
	// Idle are items that left because nobody read them, see IdleFor.
	Idle uint64
	// Misses are calls of Get without a result, and those of Load for values too old to be served.
	Misses uint64

	// Loads counts keys that were loaded: of them LoadsAdopted came from the second level,
	// LoadsShielded were answered with an old value from there because the source failed,
	// LoadsNotFound were not there, and LoadsFailed failed or were given up.
	Loads, LoadsAdopted, LoadsShielded, LoadsNotFound, LoadsFailed uint64

	// Calls of the source are under way; Stuck of them have overrun Timeout, or LoadTimeout, and
	// Overruns ever did.
	Calls, Stuck int
	Overruns     uint64

	// StoreDown tells that a server of the second level is down, as the store says; of one that
	// does not say, that its calls fail.
	StoreDown bool
	// StoreHits and StoreMisses count keys looked for in the second level, StoreErrors its calls
	// that failed. StoreUndecodable counts values that could not be encoded for it, or were there
	// and could not be read, which are misses.
	StoreHits, StoreMisses, StoreErrors, StoreUndecodable uint64
	// StoreAhead counts values that were dated in the future, by more than a tenth of a period, and
	// are misses: a clock is wrong.
	StoreAhead uint64

	// Notices counts items that were looked up in the second level because another process may have
	// changed them, see Watch; of them NoticesAdopted got their value from there, NoticesDropped
	// left as they were deleted, and NoticesDoubted had the source asked. WatchGaps counts times
	// when changes may have been missed; the first is the start.
	Notices, NoticesAdopted, NoticesDropped, NoticesDoubted, WatchGaps uint64
	// WatchDown tells, with Watch, that this process does not hear of changes by others.
	WatchDown bool

	// EventsLost are events and removals that OnEvent or OnRemoval was too slow for.
	EventsLost uint64
	// Source is the state of the breaker around the source; closed without one.
	Source breaker.State
	// LastError is the error of the last call of the source that failed, with all of its items, and
	// LastErrorAt when that was; nil if none did. It stays when calls succeed again.
	LastError   error
	LastErrorAt time.Time
	// Lateness is how long after it was due a refresh began, on average.
	Lateness time.Duration
}

// Stats returns a snapshot.
func (c *Cache[K, V]) Stats() Stats {
	s := Stats{Misses: c.meter.misses.Load(), Calls: c.fetch.Source.Calls(), EventsLost: c.teller.lost(), Source: c.fetch.Source.State()}
	if last := c.fetch.Source.Last(); last != nil {
		s.LastError, s.LastErrorAt = last.Err, last.At
	}
	if l := c.fetch.Level; l != nil {
		n := l.Counts()
		s.StoreDown, s.StoreHits, s.StoreMisses, s.StoreAhead = l.IsDown(), n.Hits, n.Misses+n.Ahead, n.Ahead
		s.StoreErrors, s.StoreUndecodable = n.Errors, n.Undecodable
	}
	c.meter.addNotices(&s)
	s.WatchDown, s.Weight = c.meter.deaf.Load(), c.storage.weight()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.table.Census()
	s.Items, s.Terminal, s.Resting, s.Absent, s.Failing, s.Stale = n.Items, n.Terminal, n.Cold, n.Absent, n.Failing, n.Stale
	s.Due, s.Stuck = c.table.Due(), c.crew.stuck+c.loads.StuckLocked()
	c.meter.add(&s)
	addLoads(&s, c.loads.CountsLocked())
	return s
}

// addNotices fills in what became of changes by other processes.
func (m *meter) addNotices(s *Stats) {
	for v := range m.notices {
		s.Notices += m.notices[v].Load()
	}
	s.NoticesAdopted, s.NoticesDropped = m.notices[changes.Adopt].Load(), m.notices[changes.Drop].Load()
	s.NoticesDoubted = m.notices[changes.Refresh].Load() + m.notices[changes.Invalidate].Load()
	s.WatchGaps = m.gaps.Load()
}

// add fills in what has been counted under mu.
func (m *meter) add(s *Stats) {
	s.Overruns, s.Evicted, s.Idle, s.Lateness = m.stuck, m.evictions, m.idle, m.lateness.Read().Mean()
	r := &m.refreshes
	s.Updated, s.Unchanged, s.Gone, s.Final, s.Failed = r[fetch.Updated], r[fetch.Unchanged], r[fetch.Missing], r[fetch.Terminal], r[fetch.Failed]
	s.Adopted, s.Leased, s.Postponed = r[fetch.Adopted], r[fetch.Leased], r[fetch.Postponed]
}

func addLoads(s *Stats, l loader.Counts) {
	for _, k := range l {
		s.Loads += k
	}
	s.LoadsAdopted, s.LoadsShielded, s.LoadsNotFound = l[loader.Adopted], l[loader.Shielded], l[loader.NotFound]
	s.LoadsFailed = l[loader.Failed] + l[loader.Refused] + l[loader.Canceled]
}
