package autorefresh

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
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
	source  BatchFunc[K, V]
	epoch   time.Time
	backoff backoff.Exponential
	breaker *breaker.Breaker // nil if there is none
	doubt   doubt[K]
	gate    *gate         // nil if there is no limiter
	second  *second[K, V] // nil if there is none
	metrics *metrics.Autorefresh
	log     *slog.Logger
	tracer  *tracing.Tracer           // nil if there is none
	events  *observe.Events[Event[K]] // nil if nobody is told

	lateness, served *observe.Histogram

	lastError atomic.Pointer[sourceError] // nil if no call has failed

	misses atomic.Uint64
	calls  atomic.Int64 // of the source, under way
	closed atomic.Bool  // set under mu

	complaints seldom // of callbacks that have panicked

	kick    chan struct{} // the pump is to look again
	chores  chan func()   // of the storage, for the pump
	room    sync.Cond     // workers wait for something to do; on mu
	tasks   sync.WaitGroup
	follows sync.WaitGroup // starts that wait for the end of the last run
	gone    chan struct{}  // closed when the tasks are done after Close
	once    sync.Once

	mu sync.Mutex
	// All below is guarded by mu, which is a leaf: nothing that can wait is called under it.
	run     context.Context // ends the background work; nil before the start
	halt    context.CancelFunc
	next    context.Context // the next run's, while the last has not ended
	wheel   wheel[K, V]     // what is due later
	ready   chain[K, V]     // what is due
	urgent  chain[K, V]     // what is due, and calls under way wait for, the newest first
	ages    wheel[K, V]     // entries by MaxStale
	finals  chain[K, V]     // terminal entries
	absents chain[K, V]     // negative entries
	wakeAt  int64           // when the pump looks by itself
	flying  int             // entries being refreshed
	running int             // calls of workers under way, but for those that wait for others
	lent    int             // calls of workers that wait for others
	extras  int             // workers that take what is urgent meanwhile
	limit   int             // of running
	spreads int             // entries at the head of ready that are to be spread
	notices []notice        // to be logged
	outage  outage
	workers map[*worker[K, V]]struct{}
	stuck   int // calls that overran, not returned yet
	watches map[*entry[K, V]]*watch
	loads   loads[K, V]
	census  census
	counts  counts
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

// oneByOne makes a BatchFunc, for batches of one, of a RefreshFunc.
func oneByOne[K comparable, V any](refresh RefreshFunc[K, V]) BatchFunc[K, V] {
	return func(ctx context.Context, items []Item[K, V], out []Result[V]) error {
		out[0].Value, out[0].Err = refresh(ctx, items[0].Key, items[0].Old)
		return nil
	}
}

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
func build[K comparable, V any](source BatchFunc[K, V], opts Options[K, V]) (*Cache[K, V], error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	if err := opts.checkCapacity(); err != nil {
		return nil, err
	}
	tick := max(int64(opts.MinPeriod)/slots, int64(minTick))
	c := &Cache[K, V]{
		opts: opts, source: source, epoch: time.Now(), slow: flagUnread | flagCold | flagStale | flagAbsent,
		backoff: backoff.Exponential{Base: opts.Period, Cap: opts.MaxBackoff, Factor: 2},
		metrics: metrics.NewAutorefresh(opts.Name), log: observe.Logger(opts.Logger, opts.Name),
		lateness: observe.NewHistogram(observe.Ages(), observe.Stripes{}), served: observe.NewHistogram(observe.Ages(), observe.Stripes{}),
		kick: make(chan struct{}, 1), chores: make(chan func()), gone: make(chan struct{}),
		wheel: newWheel[K, V](bySchedule, tick, slots), wakeAt: never, limit: opts.Workers,
		workers: make(map[*worker[K, V]]struct{}), watches: make(map[*entry[K, V]]*watch),
		loads: loads[K, V]{busy: make(map[K]*flight[V])}, gate: newGate(opts.Limiter),
		doubt: doubt[K]{literal: opts.Breaker.ConsecutiveFailures > 0, patience: 2 * int64(max(opts.Period, opts.MaxPeriod))},
	}
	c.room.L = &c.mu
	c.tracer = tracing.New(opts.Trace, trace.Autorefresh, opts.Name, c.log)
	if opts.WhenStale == StaleServed {
		c.slow &^= flagStale
	}
	if opts.HotFor == 0 {
		c.slow &^= flagUnread
	}
	if opts.MaxStale > 0 {
		c.ages = newWheel[K, V](byAge, max(int64(opts.MaxStale)/ageSlots, int64(minTick)), ageSlots)
	}
	c.events = observe.NewEvents(opts.OnEvent, func(v any) { c.complain(&panicError{"OnEvent", v}) })
	var err error
	if c.second, err = newSecond(&c.opts, c.epoch); err != nil {
		return nil, err
	}
	maximum := opts.MaxItems
	if opts.Overflow == Reject {
		maximum = 0
	}
	if c.storage, err = newStorage(maximum, c.removed, c.doChore); err != nil {
		return nil, err
	}
	if opts.NoBreaker {
		return c, nil
	}
	c.breaker, err = c.newBreaker()
	return c, err
}

// start begins the background work, which goes on until ctx ends or Close. While it goes on a second start does nothing; once it has
// ended it begins again, when all that it did has returned.
func (c *Cache[K, V]) start(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed.Load():
	case c.run == nil:
		c.begin(ctx)
	case c.next != nil && c.next.Err() != nil:
		c.next = ctx // whoever was to be next has left
	case c.run.Err() != nil && c.next == nil:
		c.next = ctx
		c.follows.Go(c.follow)
	}
}

// begin starts the goroutines. The caller holds mu.
func (c *Cache[K, V]) begin(ctx context.Context) {
	c.run, c.halt = context.WithCancel(ctx)
	c.tasks.Go(c.pump)
	for range c.opts.Workers {
		c.hire()
	}
}

// follow begins the background work once more when the last has ended.
func (c *Cache[K, V]) follow() {
	c.tasks.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx := c.next
	c.next = nil
	if !c.closed.Load() && ctx.Err() == nil {
		c.begin(ctx)
	}
}

// now is the cache's clock, in nanoseconds.
func (c *Cache[K, V]) now() int64 { return int64(time.Since(c.epoch)) }

// Get returns the value of a key from memory, false if there is none or it is too old, see MaxStale. It never waits and does not
// allocate. After Close it still returns what is there.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	if e, ok := c.storage.get(key); ok && e.flags.Load()&c.slow == 0 {
		return *e.value.Load(), true
	} else if ok && c.look(e) {
		return *e.value.Load(), true
	}
	c.misses.Add(1)
	var zero V
	return zero, false
}

// look takes notice of a read of an entry that has flags which matter to reads, and tells whether it may be served.
func (c *Cache[K, V]) look(e *entry[K, V]) bool {
	flags := e.flags.Load()
	if flags&flagUnread != 0 {
		e.clear(flagUnread)
	}
	if flags&flagCold != 0 {
		c.warm(e)
	}
	return flags&flagAbsent == 0 && flags&flagStale&c.slow == 0
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
	if !ok || e.has(flagAbsent) {
		return Entry[V]{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	flags := e.flags.Load()
	return Entry[V]{
		Value: *e.value.Load(), LoadedAt: c.epoch.Add(time.Duration(e.loadedAt.Load())),
		Terminal: flags&flagTerminal != 0, Stale: flags&flagStale != 0, Resting: flags&flagCold != 0,
	}, true
}

// GetOrCreate returns the value of a key, or stores v if there is none; created tells which. Of several callers with one key one
// creates, and all get its value. A value that is too old to be served is returned nevertheless: the item is there. The error is
// [ErrFull], [ErrBadKey] or [ErrClosed].
func (c *Cache[K, V]) GetOrCreate(key K, v V) (value V, created bool, err error) {
	if e, ok := c.storage.get(key); ok && !e.has(flagAbsent) && !c.closed.Load() {
		c.look(e)
		return *e.value.Load(), false, nil
	}
	if key != key { //nolint:staticcheck // NaN.
		var zero V
		return zero, false, ErrBadKey
	}
	now := c.now()
	e := c.newEntry(key, &v, now)
	e.set(flagNew)
	there, err := c.insert(e, func() int64 { return c.firstDue(e, now) }, nil)
	if err != nil {
		var zero V
		return zero, false, err
	}
	return *there.value.Load(), there == e, nil
}

func (c *Cache[K, V]) newEntry(key K, v *V, loadedAt int64) *entry[K, V] {
	e := &entry[K, V]{key: key, slots: [linkKinds]uint16{notSlotted, notSlotted}, readAt: loadedAt}
	e.every = uint32(int64(c.opts.Period) / c.wheel.tick)
	e.value.Store(v)
	e.loadedAt.Store(loadedAt)
	return e
}

// insert stores an entry, due when the function says, which is called under mu; unless the key has one already, or veto, called
// under mu, says no. It returns the key's entry, nil after a veto.
func (c *Cache[K, V]) insert(e *entry[K, V], due func() int64, veto func() bool) (*entry[K, V], error) {
	c.makeRoom(e)
	var err error
	there := c.storage.put(e.key, func(there *entry[K, V]) *entry[K, V] {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.closed.Load():
			err = ErrClosed
		case veto != nil && veto():
		case there != nil && (!there.has(flagAbsent) || e.has(flagAbsent)):
		case there == nil && c.isFullFor(e):
			err = ErrFull
		default:
			c.enter(e, due())
			return e
		}
		return nil
	})
	c.trim(e)
	return there, err
}

// isFullFor tells whether there is no room for an entry. Negative entries give theirs to others. The caller holds mu.
func (c *Cache[K, V]) isFullFor(e *entry[K, V]) bool {
	n := c.census.items
	if !e.has(flagAbsent) {
		n -= c.census.absent
	}
	return c.opts.Overflow == Reject && c.opts.MaxItems > 0 && n >= c.opts.MaxItems
}

// trim keeps the bound when an entry has come.
func (c *Cache[K, V]) trim(e *entry[K, V]) {
	if c.opts.MaxItems == 0 {
		return
	}
	for over := c.isOver(); over; over = c.isOver() {
		if c.opts.Overflow == Evict {
			c.storage.trim()
			return
		}
		c.makeRoom(e) // several have come at once, and one negative entry has made room for all of them
	}
}

// isOver tells whether there are more entries than there may be.
func (c *Cache[K, V]) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.census.items > c.opts.MaxItems && (c.opts.Overflow == Evict || c.absents.n > 0)
}

// makeRoom deletes an entry of those that are worth least if the cache is full: a negative one or, if it evicts, a terminal one. Which
// entry a negative one evicts is for the storage to say.
func (c *Cache[K, V]) makeRoom(e *entry[K, V]) {
	if c.opts.MaxItems == 0 || c.opts.Overflow == Evict && e.has(flagAbsent) {
		return
	}
	c.mu.Lock()
	var victim *entry[K, V]
	if c.census.items >= c.opts.MaxItems {
		victim = c.absents.head
		if victim == nil && c.opts.Overflow == Evict {
			victim = c.finals.head
		}
	}
	c.mu.Unlock()
	if victim == nil {
		return
	}
	c.storage.drop(victim)
	if victim.has(flagAbsent) {
		return
	}
	c.mu.Lock()
	c.counts.evictions++
	c.mu.Unlock()
	c.emit(Event[K]{Kind: Evicted, Key: victim.key})
}

// Delete deletes an item and tells whether there was one. A refresh or a load of it under way does not bring it back. With a second
// level the value is deleted there too, for at most StoreTimeout, and no call of another process that began before brings it back; if that
// level is down it is told when it is back, see [Cache.DeleteContext].
func (c *Cache[K, V]) Delete(key K) bool {
	found := c.detach(key)
	c.second.forgetAnyway(key)
	return found
}

// DeleteContext is Delete with a context for the second level, and an error if that could not be told. Then the cache does not take the
// value from there, and tells it as soon as it can, before it reads from it again; other processes may take the old value until then.
func (c *Cache[K, V]) DeleteContext(ctx context.Context, key K) (bool, error) {
	return c.detach(key), c.second.forget(ctx, key)
}

// detach deletes an item from memory and tells whether there was one.
func (c *Cache[K, V]) detach(key K) bool {
	c.mu.Lock()
	c.loads.forget(key)
	c.mu.Unlock()
	e, ok := c.storage.delete(key)
	return ok && !e.has(flagAbsent)
}

// All are the items that Get would return, in no order, at about the time they are asked for. It does not count as reads.
func (c *Cache[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for e := range c.storage.all() {
			if e.flags.Load()&c.slow&^(flagUnread|flagCold) == 0 && !yield(e.key, *e.value.Load()) {
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
	c.closed.Store(true)
	if c.run == nil {
		c.run, c.halt = context.WithCancel(context.Background())
	}
	c.halt()
	c.room.Broadcast()
	c.mu.Unlock()
	c.events.Discard()
	if c.breaker != nil {
		_ = c.breaker.Close()
	}
	c.once.Do(func() {
		go func() {
			c.tasks.Wait()
			c.follows.Wait()
			c.events.Wait(nil)
			close(c.gone)
		}()
	})
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-c.gone:
		return nil
	case <-timer.C:
		return ErrStuck
	}
}

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
