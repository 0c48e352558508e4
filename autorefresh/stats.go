package autorefresh

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

// Stats is a snapshot of what a cache has and what it has done since it was made.
type Stats struct {
	// Items are those in the cache. Of them Terminal are final, Resting not refreshed until read, Absent negative entries, and
	// Failing back off; Stale are older than MaxStale.
	Items, Terminal, Resting, Absent, Failing, Stale int
	// Due are items that are due and not being refreshed yet.
	Due int

	// Updated, Unchanged, Gone, Final and Failed count refreshes by what the refresh function said of an item.
	Updated, Unchanged, Gone, Final, Failed uint64
	// Adopted counts refreshes taken from the second level, Leased those left to another process for the moment, and Postponed those
	// for which the source was not asked because it is failing.
	Adopted, Leased, Postponed uint64
	// Evicted are items deleted for want of room.
	Evicted uint64
	// Misses are calls of Get without a result, and those of Load for values too old to be served.
	Misses uint64

	// Loads counts keys that were loaded: of them LoadsAdopted came from the second level, LoadsShielded were answered with an old value
	// from there because the source failed, LoadsNotFound were not there, and LoadsFailed failed or were given up.
	Loads, LoadsAdopted, LoadsShielded, LoadsNotFound, LoadsFailed uint64

	// Calls of the source are under way; Stuck of them have overrun Timeout, or LoadTimeout, and Overruns ever did.
	Calls, Stuck int
	Overruns     uint64

	// StoreDown tells that a server of the second level is down, as the store says; of one that does not say, that its calls fail.
	StoreDown bool
	// StoreHits and StoreMisses count keys looked for in the second level, StoreErrors its calls that failed. StoreUndecodable counts
	// values that could not be encoded for it, or were there and could not be read, which are misses.
	StoreHits, StoreMisses, StoreErrors, StoreUndecodable uint64
	// StoreAhead counts values that were dated in the future, by more than a tenth of a period, and are misses: a clock is wrong.
	StoreAhead uint64

	// EventsLost are events that OnEvent was too slow for.
	EventsLost uint64
	// Source is the state of the breaker around the source; closed without one.
	Source breaker.State
	// LastError is the error of the last call of the source that failed, with all of its items, and LastErrorAt when that was; nil if none
	// did. It stays when calls succeed again.
	LastError   error
	LastErrorAt time.Time
	// Lateness is how long after it was due a refresh began, on average.
	Lateness time.Duration
}

// census counts the entries by state.
type census struct {
	items, terminal, cold, absent, failing, stale int
}

// counts are what has been counted; guarded by the cache's mu.
type counts struct {
	refreshes [outcomes]uint64
	loads     [loadResults]uint64
	evictions uint64
	stuck     uint64
}

// loadResult is what became of the load of one key.
type loadResult uint8

const (
	loadOK loadResult = iota
	loadAdopted
	loadShielded
	loadNotFound
	loadFailed
	loadRefused
	loadCanceled
	loadResults
)

func (l loadResult) String() string {
	return [loadResults]string{"ok", "adopted", "shielded", "not_found", "failed", "refused", "canceled"}[l]
}

func loadResultOf[V any](r *result[V]) loadResult {
	switch {
	case r.shielded:
		return loadShielded
	case r.outcome == adopted:
		return loadAdopted
	case r.outcome == missing:
		return loadNotFound
	case r.outcome != failed:
		return loadOK
	case errors.Is(r.err, ErrUnavailable):
		return loadRefused
	case errors.Is(r.err, context.Canceled):
		return loadCanceled
	}
	return loadFailed
}

// Stats returns a snapshot.
func (c *Cache[K, V]) Stats() Stats {
	s := Stats{Misses: c.misses.Load(), Calls: int(c.calls.Load()), EventsLost: c.events.Lost()}
	if c.breaker != nil {
		s.Source = c.breaker.State()
	}
	if last := c.lastError.Load(); last != nil {
		s.LastError, s.LastErrorAt = last.err, last.at
	}
	if c.second != nil {
		s.StoreDown = c.second.health.isDown()
		s.StoreHits, s.StoreAhead = c.second.hits.Load(), c.second.ahead.Load()
		s.StoreMisses = c.second.missed.Load() + s.StoreAhead
		s.StoreErrors, s.StoreUndecodable = c.second.errors.Load(), c.second.undecodable.Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &c.census
	s.Items, s.Terminal, s.Resting, s.Absent, s.Failing, s.Stale = n.items, n.terminal, n.cold, n.absent, n.failing, n.stale
	s.Due, s.Stuck, s.Overruns, s.Evicted = c.ready.n+c.urgent.n, c.stuck+c.loads.stuck, c.counts.stuck, c.counts.evictions
	r := &c.counts.refreshes
	s.Updated, s.Unchanged, s.Gone, s.Final, s.Failed = r[updated], r[unchanged], r[missing], r[terminal], r[failed]
	s.Adopted, s.Leased, s.Postponed = r[adopted], r[leased], r[postponed]
	l := &c.counts.loads
	for _, k := range l {
		s.Loads += k
	}
	s.LoadsAdopted, s.LoadsShielded, s.LoadsNotFound = l[loadAdopted], l[loadShielded], l[loadNotFound]
	s.LoadsFailed = l[loadFailed] + l[loadRefused] + l[loadCanceled]
	s.Lateness = c.lateness.Read().Mean()
	return s
}
