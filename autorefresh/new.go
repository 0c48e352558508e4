package autorefresh

import (
	"context"
	"errors"
	"log/slog"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/follow"
	"github.com/holdfast-go/holdfast/autorefresh/internal/items"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/life"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/refresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
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
	c := &Cache[K, V]{opts: opts, slow: opts.slowFlags(), life: life.New(), metrics: metrics.NewAutorefresh(opts.Name)}
	log := observe.Logger(opts.Logger, opts.Name)
	c.tell = tell.New(opts.tellOptions(c.life.Now, log))
	c.tracer = newTracer(opts, log)
	c.table = timetable.New[K, V](opts.rules(), c.life.Wake)
	if err := c.addFetch(); err != nil {
		return nil, err
	}
	newCall := func(items int) *fetch.Job[K, V] { return newJob(call, c.life.Now, items) }
	c.addLoads(newCall)
	waiters := refresh.NewWaiters[K, V]()
	if err := c.addItems(waiters); err != nil {
		return nil, err
	}
	c.crew = refresh.NewCrew(refresh.Options[K, V]{
		Workers: opts.Workers, BatchSize: opts.BatchSize, MaxStuck: opts.MaxStuck, Timeout: opts.Timeout, TerminalTTL: opts.TerminalTTL,
		Weighed: opts.Weigh != nil, NewJob: newCall,
		Cache: c, Life: c.life, Table: c.table, Waiters: waiters, Loads: c.loads, Fetch: c.fetch, Storage: c.storage, Tell: c.tell,
	})
	c.orders = refresh.Orders[K, V]{Crew: c.crew}
	f := follow.Options[K, V]{Period: opts.Period, Life: c.life, Items: c.items, Loads: c.loads, Level: c.fetch.Level, Tell: c.tell}
	if w, ok := opts.Store.(Watcher); ok && opts.Watch {
		f.Watch = watching(w)
	}
	c.follower = follow.New(f)
	return c, nil
}

// addFetch adds the second level and the source.
func (c *Cache[K, V]) addFetch() error {
	second, err := c.opts.newLevel(c.life.Now, func(key K) bool { return c.follower.IsOfInterest(key) })
	if err != nil {
		return err
	}
	o := c.opts.sourceOptions()
	o.Now, o.At, o.Complain = c.life.Now, c.life.At, c.tell.Complain
	asked, err := source.New[K](o)
	if err != nil {
		return err
	}
	c.fetch = &fetch.Fetcher[K, V]{Level: second, Source: asked, Period: c.opts.Period, Now: c.life.Now, Latest: c.table.Latest}
	if c.tracer != nil {
		c.fetch.Observe = c.tracer.call
	}
	return nil
}

// addLoads adds the loads of absent keys.
func (c *Cache[K, V]) addLoads(newCall func(items int) *fetch.Job[K, V]) {
	run := &loader.Runner[K, V]{
		Fetch: c.fetch, Tell: c.tell, Keep: func(w *fetch.Want[K, V], unwanted func() bool) V { return c.items.Keep(w, unwanted) },
		LookAfter: c.table.LookAfter(), LeaseTime: c.opts.Timeout, MaxStale: c.opts.MaxStale,
	}
	c.loads = loader.New(loader.Options[K, V]{
		Life: c.life, Cache: c, Spawn: func() { c.life.Tasks.Go(run.Run) },
		NewJob: func() *fetch.Job[K, V] {
			j := newCall(0)
			j.Life, j.Rank, j.Standing, j.Twice = c.life.Run(), source.Awaited, source.Standing{Fresh: true}, true
			j.Timeout = max(c.opts.LoadTimeout, 0)
			return j
		},
		Has: func(key K) bool {
			_, there := c.storage.Peek(key)
			return there
		},
		Batch: c.opts.BatchSize, Places: c.opts.MaxLoads, Spare: c.opts.MaxStuck,
	})
	run.Loads = c.loads
}

// addItems adds the storage, and all that may change its entries.
func (c *Cache[K, V]) addItems(waiters *refresh.Waiters[K, V]) (err error) {
	c.items, err = items.New(items.Options[K, V]{
		MaxItems: c.opts.MaxItems, Rejects: c.opts.Overflow == Reject, MaxWeight: c.opts.MaxWeight, Weigh: c.opts.Weigh, GroupBy: c.opts.GroupBy,
		TerminalTTL: c.opts.TerminalTTL, NegativeTTL: c.opts.NegativeTTL,
		Life: c.life, Table: c.table, Waiters: waiters, Loads: c.loads, Level: c.fetch.Level, Tell: c.tell,
		CallFor: func(e *timetable.Entry[K, V]) *task.Task { return c.crew.CallOfLocked(e) },
	})
	if err != nil {
		c.fetch.Source.Close()
		return err
	}
	c.storage = c.items.Storage
	return nil
}

// start begins the background work, which goes on until ctx ends or Close. While it goes on a
// second start does nothing; once it has ended it begins again, when all that it did has returned.
func (c *Cache[K, V]) start(ctx context.Context) {
	c.life.Start(ctx, func() {
		c.life.Tasks.Go(refresh.Pump[K, V]{Crew: c.crew}.Run)
		c.crew.StartLocked()
		c.follower.StartLocked()
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

// tellOptions are the listeners, as the teller knows them.
func (o *Options[K, V]) tellOptions(now func() int64, log *slog.Logger) tell.Options[K, V] {
	t := tell.Options[K, V]{Logger: log, Now: now}
	if on := o.OnEvent; on != nil {
		t.OnEvent = func(ev tell.Event[K]) { on(Event[K]{Kind(ev.Kind), ev.Key, ev.Err, ev.At}) }
	}
	if on := o.OnRemoval; on != nil {
		t.OnRemoval = func(r tell.Removal[K, V]) { on(Removal[K, V]{r.Key, r.Value, Cause(r.Cause), r.At}) }
	}
	return t
}
