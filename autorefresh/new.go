package autorefresh

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/trace"
)

// New makes a cache that refreshes items one by one. It fails, naming the field and the value, if
// the options make no sense. Its background work begins at once.
func New[K comparable, V any](refresh RefreshFunc[K, V], opts Options[K, V]) (*Cache[K, V], error) {
	if refresh == nil {
		return nil, errNoFunction
	}
	if opts.BatchSize > 1 {
		return nil, invalid("Options.BatchSize", opts.BatchSize, "use NewBatch, New refreshes items one by one")
	}
	if opts.GroupBy != nil {
		return nil, invalid("Options.GroupBy", "a function", "leave it out, or use NewBatch: New refreshes items one by one")
	}
	opts.BatchSize = 1
	return launch(oneByOne(refresh), opts)
}

// NewBatch makes a cache that refreshes many items with one call. It fails, naming the field and
// the value, if the options make no sense. Its background work begins at once.
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
		call: call, opts: opts, epoch: time.Now(), slow: opts.slowFlags(), meter: newMeter(opts.Name),
		life: life{kick: make(chan struct{}, 1), chores: make(chan func()), gone: make(chan struct{})},
		crew: crew[K, V]{workers: make(map[*worker[K, V]]struct{})}, waiters: waiters[K, V]{watches: make(map[*timetable.Entry[K, V]]*watch)},
	}
	c.life.room.L = &c.mu
	c.table = timetable.New[K, V](opts.rules(), c.life.wake)
	c.loads = loader.New[K, V](loader.Options{
		Lock: &c.mu, Cache: c, IsOver: c.life.isOverLocked, Spawn: func() { c.life.tasks.Go(c.runLoads) },
		Batch: opts.BatchSize, Places: opts.MaxLoads, Spare: opts.MaxStuck,
	})
	c.teller = newTeller(opts, c.now)
	c.tracer = tracing.New(opts.Trace, trace.Autorefresh, opts.Name, c.teller.log)
	second, err := opts.newLevel(c.now, c.isOfInterest)
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
	c.fetch = &fetch.Fetcher[K, V]{Level: second, Source: asked, Period: opts.Period, Now: c.now, Latest: c.table.Latest}
	if c.tracer != nil {
		c.fetch.Observe = c.trace
	}
	return c, nil
}

// start begins the background work, which goes on until ctx ends or Close. While it goes on a
// second start does nothing; once it has ended it begins again, when all that it did has returned.
func (c *Cache[K, V]) start(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life.startLocked(ctx, func() {
		c.life.tasks.Go(c.pump)
		for range c.opts.Workers {
			c.hireLocked(false)
		}
		c.followLocked()
	})
}

// slowFlags are the flags of an entry that a read has to look at.
func (o *Options[K, V]) slowFlags() uint32 {
	slow := timetable.Cold | timetable.Absent | timetable.Bounded
	if o.WhenStale != StaleServed {
		slow |= timetable.Stale
	}
	if o.HotFor > 0 || o.IdleFor > 0 {
		slow |= timetable.Unread
	}
	return slow
}

func (o *Options[K, V]) rules() timetable.Rules {
	return timetable.Rules{
		Period: o.Period, MinPeriod: o.MinPeriod, MaxPeriod: o.MaxPeriod, HotFor: o.HotFor, IdleFor: o.IdleFor, MaxStale: o.MaxStale, MaxBackoff: o.MaxBackoff,
		Timeout: o.Timeout, First: int(o.First), BatchSize: o.BatchSize, Workers: o.Workers, Grouped: o.GroupBy != nil,
	}
}

// newLevel makes the second level, nil if there is none.
func (o *Options[K, V]) newLevel(now func() int64, has func(K) bool) (*level.Level[K, V], error) {
	if isNil(o.Store) {
		return nil, nil //nolint:nilnil // none is what was asked for.
	}
	l := level.Options[K, V]{
		Store: o.Store, Codec: o.Codec, KeyString: o.KeyString, TTL: o.StoreTTL, Timeout: o.StoreTimeout,
		CallTime: source.Overrun(max(o.Timeout, o.LoadTimeout)), Skew: o.Period / 10, Logger: observe.Logger(o.Logger, o.Name), Now: now,
	}
	if m, ok := o.Store.(Marker); ok {
		l.Marker = marking{m}
	}
	if w, ok := o.Store.(Watcher); ok && o.Watch {
		l.Announcer, l.Has = w, has
	}
	return level.New(l)
}

func (o *Options[K, V]) sourceOptions() source.Options {
	s := source.Options{
		Name: o.Name, Shield: o.ShieldRate, Breaker: o.Breaker, NoBreaker: o.NoBreaker,
		Longest: max(o.Timeout, o.LoadTimeout), Patience: 2 * max(o.Period, o.MaxPeriod),
	}
	if o.Limiter != nil {
		s.Limiter = o.Limiter
	}
	return s
}

// bound says when the storage evicts.
func (o *Options[K, V]) bound() bound[K, V] {
	if o.Overflow == Reject {
		return bound[K, V]{}
	}
	return bound[K, V]{items: o.MaxItems, weight: o.MaxWeight, weigh: o.Weigh}
}
