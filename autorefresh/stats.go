package autorefresh

import (
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/follow"
	"github.com/holdfast-go/holdfast/autorefresh/internal/items"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/breaker"
)

// Stats is a snapshot of a cache's items and of its work since it was made.
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
	s := Stats{Misses: c.misses.Load(), Calls: c.fetch.Source.Calls(), EventsLost: c.tell.Lost(), Source: c.fetch.Source.State(), Weight: c.storage.Weight()}
	if last := c.fetch.Source.Last(); last != nil {
		s.LastError, s.LastErrorAt = last.Err, last.At
	}
	if l := c.fetch.Level; l != nil {
		n := l.Counts()
		s.StoreDown, s.StoreHits, s.StoreMisses, s.StoreAhead = l.IsDown(), n.Hits, n.Misses+n.Ahead, n.Ahead
		s.StoreErrors, s.StoreUndecodable = n.Errors, n.Undecodable
	}
	s.addNotices(c.follower.Counts())
	s.Lateness = c.crew.Lateness.Read().Mean()
	now := c.countNow()
	n := now.census
	s.Items, s.Terminal, s.Resting, s.Absent, s.Failing, s.Stale = n.Items, n.Terminal, n.Cold, n.Absent, n.Failing, n.Stale
	s.Due, s.Stuck, s.Overruns, s.Evicted, s.Idle = now.due, now.stuck, now.overruns, now.left.Evicted, now.left.Idle
	s.addRefreshes(&now.refreshes)
	s.addLoads(now.loads)
	return s
}

// counted are the numbers that are kept under the cache's lock.
type counted struct {
	census     timetable.Census
	refreshes  [fetch.Outcomes]uint64
	loads      loader.Counts
	left       items.Counts
	due, stuck int
	overruns   uint64
}

func (c *Cache[K, V]) countNow() counted {
	c.life.Lock()
	defer c.life.Unlock()
	refreshes := c.crew.CountsLocked()
	return counted{
		census: c.table.Census(), refreshes: refreshes.Outcomes, loads: c.loads.CountsLocked(), left: c.items.CountsLocked(), due: c.table.Due(),
		stuck: c.crew.StuckLocked() + c.loads.StuckLocked(), overruns: refreshes.Overruns + c.loads.OverrunsLocked(),
	}
}

// addNotices fills in what became of changes by other processes.
func (s *Stats) addNotices(n follow.Counts) {
	for _, k := range n.Notices {
		s.Notices += k
	}
	s.NoticesAdopted, s.NoticesDropped = n.Notices[changes.Adopt], n.Notices[changes.Drop]
	s.NoticesDoubted = n.Notices[changes.Refresh] + n.Notices[changes.Invalidate]
	s.WatchGaps, s.WatchDown = n.Gaps, n.Deaf
}

// addRefreshes fills in what became of refreshes.
func (s *Stats) addRefreshes(r *[fetch.Outcomes]uint64) {
	s.Updated, s.Unchanged, s.Gone, s.Final, s.Failed = r[fetch.Updated], r[fetch.Unchanged], r[fetch.Missing], r[fetch.Terminal], r[fetch.Failed]
	s.Adopted, s.Leased, s.Postponed = r[fetch.Adopted], r[fetch.Leased], r[fetch.Postponed]
}

// addLoads fills in what became of loads.
func (s *Stats) addLoads(l loader.Counts) {
	for _, k := range l {
		s.Loads += k
	}
	s.LoadsAdopted, s.LoadsShielded, s.LoadsNotFound = l[loader.Adopted], l[loader.Shielded], l[loader.NotFound]
	s.LoadsFailed = l[loader.Failed] + l[loader.Refused] + l[loader.Canceled]
}
