package autorefresh

import (
	"iter"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/follow"
	"github.com/holdfast-go/holdfast/autorefresh/internal/items"
	"github.com/holdfast-go/holdfast/autorefresh/internal/life"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/refresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/storage"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/metrics"
)

// Cache keeps values in memory and refreshes each of them once a period. It has no useful zero
// value: [New] or [NewBatch] makes one, and Close ends it. Most callers want Get, with GetOrCreate
// or Load to fill it. It is a prometheus.Collector, and safe for concurrent use.
type Cache[K comparable, V any] struct {
	// What reads need comes first and is never written to after the start.
	storage storage.Storage[K, V]
	slow    uint32 // flags that a read has to look at

	opts     Options[K, V]
	life     *life.Life // the lock and the clock of all that follows
	table    *timetable.Table[K, V]
	items    *items.Items[K, V]
	loads    *loader.Loader[K, V] // of absent keys
	crew     *refresh.Crew[K, V]  // refreshes the entries
	orders   refresh.Orders[K, V] // by callers that wait for that
	fetch    *fetch.Fetcher[K, V]
	follower *follow.Follower[K, V]
	tell     *tell.Teller[K, V]
	tracer   *tracer[K, V] // nil if there is none
	metrics  *metrics.Autorefresh
	misses   atomic.Uint64 // last, for the same reason: it is written to by reads
}

// Get returns the value of a key from memory, false if there is none or it is too old, see
// MaxStale. It never waits and does not allocate. After Close it still returns the values in
// memory.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	if e, ok := c.storage.Get(key); ok && e.Flags.Load()&c.slow == 0 {
		return *e.Value.Load(), true
	} else if ok && c.look(e) {
		return *e.Value.Load(), true
	}
	c.misses.Add(1)
	var zero V
	return zero, false
}

// look takes notice of a read of an entry that has flags which matter to reads, and reports whether
// it may be served.
func (c *Cache[K, V]) look(e *timetable.Entry[K, V]) bool {
	flags := e.Flags.Load()
	if flags&timetable.Unread != 0 {
		e.Clear(timetable.Unread)
	}
	if flags&timetable.Cold != 0 {
		c.orders.Warm(e)
	}
	return flags&timetable.Absent == 0 && flags&timetable.Stale&c.slow == 0 && !c.items.IsPast(e)
}

// Entry is a value with its age and state.
type Entry[V any] struct {
	Value V
	// LoadedAt is when the call of the source began that gave the value or confirmed it; for
	// GetOrCreate, when it was created.
	LoadedAt time.Time
	// Terminal tells that the value is final.
	Terminal bool
	// GoodUntil is when it ends, the zero time if it does not, see the function of that name.
	GoodUntil time.Time
	// Stale tells that it is older than MaxStale or has ended, Resting that it is not refreshed
	// until read, see HotFor.
	Stale, Resting bool
}

// Lookup is Get with the age and state of the value. It returns values that are too old to be
// served, too, and does not count as a read for HotFor.
func (c *Cache[K, V]) Lookup(key K) (Entry[V], bool) {
	e, ok := c.storage.Peek(key)
	if !ok || e.Has(timetable.Absent) {
		return Entry[V]{}, false
	}
	c.life.Lock()
	defer c.life.Unlock()
	flags := e.Flags.Load()
	found := Entry[V]{
		Value: *e.Value.Load(), LoadedAt: c.life.At(e.LoadedAt()),
		Terminal: flags&timetable.Terminal != 0, Stale: flags&timetable.Stale != 0 || c.items.IsPast(e), Resting: flags&timetable.Cold != 0,
	}
	if end, bounded := c.table.End(e); bounded {
		found.GoodUntil = c.life.At(end)
	}
	return found, true
}

// All are the items that Get would return, in no order, at about the time they are asked for. It
// does not count as reads.
func (c *Cache[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for e := range c.storage.All() {
			if e.Flags.Load()&c.slow&^(timetable.Unread|timetable.Cold|timetable.Bounded) == 0 && !c.items.IsPast(e) && !yield(e.Key, *e.Value.Load()) {
				return
			}
		}
	}
}

// Close ends the background work: it cancels the calls under way, wakes all waiters, and waits for
// its goroutines, but for a refresh function that ignores its context no longer than a second; then
// it returns [ErrStuck]. No call of the refresh function begins after Close has returned. It may be
// called more than once.
func (c *Cache[K, V]) Close() error {
	c.life.Halt()
	c.tell.Discard()
	c.fetch.Source.Close()
	return c.life.Wait(c.tell.Drain)
}

// Breaker returns the breaker around the source, for operators: its state and statistics, ForceOpen
// to keep the source from being asked, ForceClosed, Reset. It is nil with NoBreaker. The cache
// closes it.
func (c *Cache[K, V]) Breaker() *breaker.Breaker { return c.fetch.Source.Breaker() }
