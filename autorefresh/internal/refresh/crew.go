// Package refresh refreshes the entries of a cache: workers pull the entries that are due and get
// new values for them, a pump turns the timetable, and callers order refreshes and wait for them.
// Methods whose name ends in Locked are called under the cache's lock, all others without it.
package refresh

import (
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/life"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/storage"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Options are a crew's choices, and the parts of the cache that it works with.
type Options[K comparable, V any] struct {
	Workers, BatchSize, MaxStuck int
	Timeout, TerminalTTL         time.Duration
	Weighed                      bool // values have a weight
	NewJob                       func(entries int) *fetch.Job[K, V]

	Cache   any // whose calls they are
	Life    *life.Life
	Table   *timetable.Table[K, V]
	Waiters *Waiters[K, V]
	Loads   *loader.Loader[K, V]
	Fetch   *fetch.Fetcher[K, V]
	Storage storage.Storage[K, V]
	Tell    *tell.Teller[K, V]
}

// Crew are the workers, which pull entries that are due and refresh them.
type Crew[K comparable, V any] struct {
	Options[K, V]

	Lateness *observe.Histogram // of refreshes
	Served   *observe.Histogram // how old values grew until they were refreshed

	turns  turns[K, V] // guarded by the cache's lock
	counts Counts      // guarded by the cache's lock
}

// Counts are the numbers that a crew keeps.
type Counts struct {
	Outcomes [fetch.Outcomes]uint64 // of entries
	Overruns uint64                 // calls that have overrun their timeout
}

// NewCrew makes a crew that has not begun to work.
func NewCrew[K comparable, V any](o Options[K, V]) *Crew[K, V] {
	return &Crew[K, V]{
		Options: o, turns: turns[K, V]{workers: make(map[*worker[K, V]]struct{})},
		Lateness: observe.NewHistogram(observe.Ages(), observe.Stripes{}), Served: observe.NewHistogram(observe.Ages(), observe.Stripes{}),
	}
}

// CountsLocked returns a snapshot.
func (c *Crew[K, V]) CountsLocked() Counts { return c.counts }

// StuckLocked is how many calls have overrun and not returned.
func (c *Crew[K, V]) StuckLocked() int { return c.turns.stuck }

// CallOfLocked returns the call that an entry is being refreshed by, nil if there is none.
func (c *Crew[K, V]) CallOfLocked(e *timetable.Entry[K, V]) *task.Task {
	return c.turns.callOfLocked(e)
}
