package autorefresh

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/trace"
)

// Cache keeps values in memory and refreshes each of them once a period. It has no useful zero value: [New] or [NewBatch] makes one,
// and Close ends it. Most callers want Get, with GetOrCreate or Load to fill it. It is a prometheus.Collector, and safe for
// concurrent use.
type Cache[K comparable, V any] struct {
	// What reads need comes first and is never written to after the start.
	storage storage[K, V]
	slow    uint32 // flags that a read has to look at
	opts    Options[K, V]
	epoch   time.Time
	fetch   *fetcher[K, V]
	meter   *meter
	teller  *teller[K]
	life    life

	// mu is a leaf: nothing that can wait is called under it. It guards what methods whose name ends in Locked use.
	mu      sync.Mutex
	table   *timetable.Table[K, V] // what is due when
	crew    crew[K, V]             // refreshes it
	loads   loader[K, V]           // of what is not there
	waiters waiters[K, V]          // for what is there
}

// New makes a cache that refreshes items one by one. It fails, naming the field and the value, if the options make no sense. Its
// background work begins at once.
func New[K comparable, V any](refresh RefreshFunc[K, V], opts Options[K, V]) (*Cache[K, V], error) {
	if refresh == nil {
		return nil, errNoFunction
	}
	if opts.BatchSize > 1 {
		return nil, invalid("Options.BatchSize", opts.BatchSize, "use NewBatch, New refreshes items one by one")
	}
	opts.BatchSize = 1
	return launch(oneByOne(refresh), opts)
}

// NewBatch makes a cache that refreshes many items with one call. It fails, naming the field and the value, if the options make no
// sense. Its background work begins at once.
func NewBatch[K comparable, V any](refresh BatchFunc[K, V], opts Options[K, V]) (*Cache[K, V], error) {
	if refresh == nil {
		return nil, errNoFunction
	}
	return launch(refresh, opts)
}

var errNoFunction = errors.New("autorefresh: refresh function is nil: pass one that gets the value of a key")

// launch builds a cache and starts it.
//
//nolint:contextcheck // its life ends with Close, not with the call that makes it.
func launch[K comparable, V any](source BatchFunc[K, V], opts Options[K, V]) (*Cache[K, V], error) {
	c, err := build(source, opts)
	if err != nil {
		return nil, err
	}
	c.start(context.Background())
	return c, nil
}

// build makes a cache whose background work has not begun.
func build[K comparable, V any](call BatchFunc[K, V], opts Options[K, V]) (*Cache[K, V], error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	if err := opts.checkCapacity(); err != nil {
		return nil, err
	}
	c := &Cache[K, V]{
		opts: opts, epoch: time.Now(), slow: opts.slowFlags(), meter: newMeter(opts.Name),
		life: life{kick: make(chan struct{}, 1), chores: make(chan func()), gone: make(chan struct{})},
		crew: crew[K, V]{workers: make(map[*worker[K, V]]struct{})}, waiters: waiters[K, V]{watches: make(map[*timetable.Entry[K, V]]*watch)},
	}
	c.life.room.L = &c.mu
	c.table = timetable.New[K, V](opts.rules(), c.life.wake)
	c.loads = loader[K, V]{
		mu: &c.mu, cache: c, isOver: c.life.isOverLocked, spawn: func() { c.life.tasks.Go(c.runLoads) },
		batch: opts.BatchSize, most: opts.MaxLoads, spare: opts.MaxStuck, busy: make(map[K]*flight[K, V]), results: &c.meter.loads,
	}
	c.teller = newTeller(opts.Name, opts.Logger, opts.OnEvent, c.now)
	second, err := opts.newLevel(c.now)
	if err != nil {
		return nil, err
	}
	if c.storage, err = newStorage(opts.bound(), c.removed, c.life.chore); err != nil {
		return nil, err
	}
	o := opts.sourceOptions()
	o.Now, o.Complain = c.now, c.teller.complain
	o.At = func(at int64) time.Time { return c.epoch.Add(time.Duration(at)) }
	asked, err := source.New[K](o)
	if err != nil {
		return nil, err
	}
	c.fetch = &fetcher[K, V]{
		level: second, source: asked, call: call, tracer: tracing.New(opts.Trace, trace.Autorefresh, opts.Name, c.teller.log), now: c.now, period: opts.Period,
	}
	return c, nil
}

// start begins the background work, which goes on until ctx ends or Close. While it goes on a second start does nothing; once it has
// ended it begins again, when all that it did has returned.
func (c *Cache[K, V]) start(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life.startLocked(ctx, func() {
		c.life.tasks.Go(c.pump)
		for range c.opts.Workers {
			c.hireLocked(false)
		}
	})
}

// now is the cache's clock, in nanoseconds.
func (c *Cache[K, V]) now() int64 { return int64(time.Since(c.epoch)) }

// Get returns the value of a key from memory, false if there is none or it is too old, see MaxStale. It never waits and does not
// allocate. After Close it still returns what is there.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	if e, ok := c.storage.get(key); ok && e.Flags.Load()&c.slow == 0 {
		return *e.Value.Load(), true
	} else if ok && c.look(e) {
		return *e.Value.Load(), true
	}
	c.meter.misses.Add(1)
	var zero V
	return zero, false
}

// look takes notice of a read of an entry that has flags which matter to reads, and tells whether it may be served.
func (c *Cache[K, V]) look(e *timetable.Entry[K, V]) bool {
	flags := e.Flags.Load()
	if flags&timetable.Unread != 0 {
		e.Clear(timetable.Unread)
	}
	if flags&timetable.Cold != 0 {
		c.warm(e)
	}
	return flags&timetable.Absent == 0 && flags&timetable.Stale&c.slow == 0
}

// warm has an entry refreshed that rested until now.
func (c *Cache[K, V]) warm(e *timetable.Entry[K, V]) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !e.IsDead() && e.Has(timetable.Cold) {
		c.table.Hurry(e, now)
		c.life.room.Signal()
	}
}

// Entry is a value with what is known of it.
type Entry[V any] struct {
	Value V
	// LoadedAt is when the call of the source began that gave the value or confirmed it; for GetOrCreate, when it was created.
	LoadedAt time.Time
	// Terminal tells that the value is final.
	Terminal bool
	// Stale tells that it is older than MaxStale, Resting that it is not refreshed until read, see HotFor.
	Stale, Resting bool
}

// Lookup is Get with what is known of the value. It returns values that are too old to be served, too, and does not count as a read
// for HotFor.
func (c *Cache[K, V]) Lookup(key K) (Entry[V], bool) {
	e, ok := c.storage.peek(key)
	if !ok || e.Has(timetable.Absent) {
		return Entry[V]{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	flags := e.Flags.Load()
	return Entry[V]{
		Value: *e.Value.Load(), LoadedAt: c.epoch.Add(time.Duration(e.LoadedAt())),
		Terminal: flags&timetable.Terminal != 0, Stale: flags&timetable.Stale != 0, Resting: flags&timetable.Cold != 0,
	}, true
}

// All are the items that Get would return, in no order, at about the time they are asked for. It does not count as reads.
func (c *Cache[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for e := range c.storage.all() {
			if e.Flags.Load()&c.slow&^(timetable.Unread|timetable.Cold) == 0 && !yield(e.Key, *e.Value.Load()) {
				return
			}
		}
	}
}

// Close ends the background work: it cancels the calls under way, wakes all who wait, and waits for its goroutines, but for a
// refresh function that ignores its context no longer than a second; then it returns [ErrStuck]. No call of the refresh function
// begins after Close has returned. It may be called more than once.
func (c *Cache[K, V]) Close() error {
	c.mu.Lock()
	c.life.haltLocked()
	c.mu.Unlock()
	c.teller.events.Discard()
	c.fetch.source.Close()
	return c.life.wait(func() { c.teller.events.Wait(nil) })
}

// Breaker returns the breaker around the source, for operators: its state and statistics, ForceOpen to keep the source from being asked,
// ForceClosed, Reset. It is nil with NoBreaker. The cache closes it.
func (c *Cache[K, V]) Breaker() *breaker.Breaker { return c.fetch.source.Breaker() }

// isNil tells whether an interface holds nothing, be it a typed nothing.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan, reflect.Interface:
		return r.IsNil()
	default:
		return false
	}
}
