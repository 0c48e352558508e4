package autorefresh

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/trace"
)

// RefreshFunc gets the present value of a key from the source. Old is the value the cache has, the
// zero value if it has none, as when Load asks. It must honour its context, which ends after
// Options.Timeout, and be safe for concurrent use for different keys; it is never called for a key
// whose call has not returned. Its error says what to do:
//
//   - nil: the value is stored.
//   - [ErrUnchanged]: the old value is good for another period.
//   - [ErrTerminal], see [Terminal]: the value is stored and never refreshed again.
//   - [ErrNotFound]: the item is deleted.
//   - any other: a failure. The old value stays, and the next attempt comes later each time.
//
// Errors may be wrapped. A panic is a failure.
type RefreshFunc[K comparable, V any] func(ctx context.Context, key K, old V) (V, error)

// Item is one item of a batch.
type Item[K comparable, V any] struct {
	Key K
	// Old is the value the cache has; the zero value unless Known.
	Old V
	// Known tells that the cache has a value: false in a load.
	Known bool
}

// Result is what became of one item of a batch. Err means what the error of a [RefreshFunc] means.
type Result[V any] struct {
	Value V
	Err   error
}

// BatchFunc gets the present values of up to Options.BatchSize keys at once: it assigns to out[i]
// the [Result] of items[i]. An item without a result has failed with [ErrNoResult]. To assign a
// Value alone is enough, unless that is the zero value, which nobody could tell from none. An error
// says that the call as a whole failed: all items have. It must not keep the slices after it
// returns.
type BatchFunc[K comparable, V any] func(ctx context.Context, items []Item[K, V], out []Result[V]) error

// RateLimiter makes callers wait for their turn. *rate.Limiter is one.
type RateLimiter interface {
	// Wait returns nil when it is the caller's turn, or an error if the context ended before.
	Wait(ctx context.Context) error
}

// FirstRefresh says when an item is refreshed for the first time.
type FirstRefresh int

const (
	// FirstSpread is at a random moment of the first period, so that items made at the same time
	// drift apart; for loaded items, at one of its second half.
	FirstSpread FirstRefresh = iota
	// FirstImmediate is at the next tick, with whatever else is due.
	FirstImmediate
	// FirstAfterPeriod is one period after the item was made.
	FirstAfterPeriod
)

// StalePolicy says what becomes of a value older than MaxStale.
type StalePolicy int

const (
	// StaleFails makes Get miss and Load fail with [ErrStale].
	StaleFails StalePolicy = iota
	// StaleBlocks makes Get miss and Load wait for a refresh.
	StaleBlocks
	// StaleServed serves the value; Lookup and the metrics tell.
	StaleServed
)

// Overflow says what happens when MaxItems are there and another one comes.
type Overflow int

const (
	// Evict deletes a terminal item, or if there is none the one least worth keeping by recency and
	// frequency of reads.
	Evict Overflow = iota
	// Reject keeps the items there are: GetOrCreate fails with [ErrFull], and Load returns values
	// without keeping them.
	Reject
)

// Options are a cache's choices. Period must be set; all else has a default.
type Options[K comparable, V any] struct {
	// Name is the cache's name in metrics: the label "client". Default "autorefresh", then
	// "autorefresh-2" and so on.
	Name string

	// Period is how old a value may grow before it is refreshed: refreshes come 0 to 10 % early. It
	// must be set, and be positive.
	Period time.Duration
	// MaxPeriod, if longer than Period, makes periods adaptive: an item's period doubles up to
	// MaxPeriod each time it is unchanged, and falls back to MinPeriod when it has changed. Default
	// 0, off.
	MaxPeriod time.Duration
	// MinPeriod is the period of an item that has just changed, with MaxPeriod set. At most Period.
	// Default Period.
	MinPeriod time.Duration
	// First says when a new item is refreshed for the first time. Default FirstSpread.
	First FirstRefresh
	// HotFor is how long after its last read an item is refreshed; one not read for longer rests
	// until it is read again, and that read has it refreshed at once. Reads are looked at once a
	// period. Default 0: items are refreshed whether read or not.
	HotFor time.Duration

	// IdleFor is how long after its last read an item leaves the cache, be it final, so that its
	// memory is free; reads are looked at once a period, or once in IdleFor if that is shorter, so
	// that it may be there for that time longer. To wait for an item is to read it. The second
	// level keeps its value. With HotFor the item rests first. Default 0: items stay.
	IdleFor time.Duration

	// Workers is how many refreshes run at once, those not counted that wait for others. Default 8.
	Workers int
	// BatchSize is how many items a [BatchFunc] is given at most. A batch leaves when its first
	// item is due, filled with those due next; if that item is new, failed before or was ordered,
	// only with those due within a tenth of a period. Default 100; for New always 1.
	BatchSize int
	// GroupBy says which keys a [BatchFunc] may be given together: those of one group, such as a
	// shard or a tenant, never of two. Items of a group are due together, so that batches stay
	// full. It depends on the key alone, and must be safe for concurrent use. Each group that has
	// items takes some 200 bytes. New, whose calls are for one key, refuses it. Default nil: all.
	GroupBy func(key K) string
	// Timeout bounds one call of the refresh function, by its context. A call that overruns it by
	// an eighth is stuck, and a failure of the source. Default 30 s.
	Timeout time.Duration
	// MaxStuck is how many workers whose call is stuck are replaced; beyond that fewer workers are
	// left. As many stuck loads give their place among MaxLoads to others; beyond that only the
	// last place left is given away. Negative: none. Default 2.
	MaxStuck int
	// MaxBackoff bounds the wait of an item whose refreshes fail: a random part of Period, 2
	// Period, 4 Period … Default 16 Period, but not over 5 minutes unless Period is.
	MaxBackoff time.Duration
	// Limiter is waited for before each call of the refresh function, one turn a call: loads, and
	// refreshes that somebody has ordered, go before those that are due, which keep one turn in
	// eight. Default nil: none.
	Limiter RateLimiter
	// Breaker are the options of the breaker around the source. A call that failed, or all of whose
	// items did, is a failure, unless it may be the fault of its keys: keys that were asked for the
	// first time count once 20 of them have failed and no call has succeeded for a second, or if
	// ConsecutiveFailures is set; items that failed before, if no item is well. What comes too
	// late, or Classify calls hard, counts at once. Its TrialTimeout is by default what a call may
	// take, 9/8 of Timeout or LoadTimeout; at least 5 s.
	Breaker breaker.Options
	// NoBreaker lets calls go on whatever their results. Default false.
	NoBreaker bool

	// MaxStale is how long after it was got from the source a value is served while refreshes fail;
	// at least Period, or MaxPeriod. Default 0: as long as it takes.
	MaxStale time.Duration
	// WhenStale says what becomes of values older than MaxStale. Default StaleFails.
	WhenStale StalePolicy
	// TerminalTTL is how long a terminal item is kept. Default 0: until it is deleted.
	TerminalTTL time.Duration

	// MaxItems bounds the items, negative entries included. Default 0: unbounded.
	MaxItems int
	// Overflow says what happens to item MaxItems + 1. Default Evict.
	Overflow Overflow
	// MaxWeight bounds the sum of what Weigh says of the items, negative entries included, in its
	// unit: the items least worth keeping are evicted, with CauseEvicted, within moments. A value
	// that is heavier than MaxWeight alone is answered to its waiters, and its item is
	// not kept. Set MaxItems or this one; Overflow must be Evict. Default 0: unbounded.
	MaxWeight uint64
	// Weigh returns the weight of an item, such as the bytes it takes: of those an entry has some
	// 200 beside the key and the value. 0 counts as 1, and so does a panic, which is logged. It is
	// called for each new value, also one that a refresh brings, and for negative entries with the
	// zero value; by several goroutines, and not for reads. An item whose weight has changed counts
	// as read once. Default nil: items have no weight.
	Weigh func(key K, value V) uint32

	// MaxLoads is how many calls Load and LoadMulti make at once. Further ones wait, and the newest
	// is next: the callers of the oldest are about to give up. Default 16.
	MaxLoads int
	// LoadTimeout bounds the call of a load, by its context. It ends too when its last waiter has
	// left. If it is stuck, as for Timeout, Load answers [ErrStuck]. Negative: none. Default
	// Timeout.
	LoadTimeout time.Duration
	// NegativeTTL is how long Load remembers that the source does not have a key. GetOrCreate and
	// Delete end it. Default 0: not.
	NegativeTTL time.Duration

	// Store is the second level, which other processes share. Default nil: none.
	Store Store
	// Watch has this process follow what others change in the second level, within moments: the
	// Store, which must be a [Watcher], tells it. A value that another process sets, or gets from
	// the source, is adopted; what another deletes leaves, and what it invalidates is refreshed
	// within a period. After a time when it could not be told, all items are looked up there, over
	// half a second. All processes that share the Store should watch. Default false: an item
	// follows with its next refresh.
	Watch bool
	// StoreTTL is how long values stay in the second level. Default 10 Period or MaxStale,
	// whichever is longer; at least 1 s.
	StoreTTL time.Duration
	// StoreTimeout bounds one call of the second level, by its context. Default 1 s.
	StoreTimeout time.Duration
	// Codec encodes values for the second level. Default: []byte and string as they are, all else
	// as JSON. New fails for types of which JSON would lose something, such as fields that are not
	// exported, and interfaces.
	Codec Codec[V]
	// KeyString makes the second level's key of a key: two keys must not have the same. Default:
	// strings, numbers and booleans as they are, arrays and structs by their parts, so that no two
	// are alike. New fails for types that have pointers or interfaces in them.
	KeyString func(K) string
	// ShieldRate bounds the calls of the source, per second, while the second level is down and
	// this process can no longer share what others load. Default 0: Limiter and MaxLoads alone.
	ShieldRate float64

	// OnEvent is told what happens, in order, one at a time, on a goroutine of its own: it may call
	// the cache, except Close. What it is too slow for is dropped and counted. Default nil.
	OnEvent func(Event[K])
	// OnRemoval is told of each item that leaves the cache, with its last value, as OnEvent is told
	// of events: outside of all locks, and 1 024 removals at most wait for it. A new value of an
	// item that stays is no removal, and Close removes nothing. Default nil.
	OnRemoval func(Removal[K, V])
	// Logger is told changes of the state of the source and of the second level. Default nil:
	// silent.
	Logger *slog.Logger
	// Trace is told of each call of the refresh function, "load" or "refresh", with its wait for
	// the Limiter; and of each time that Load, LoadMulti or a value older than MaxStale waits,
	// "wait". What comes from memory it is not told. The context of the refresh function is that of
	// its span. Default nil: nobody is told, and it costs nothing.
	Trace trace.Tracer
}

const (
	defaultWorkers    = 8
	defaultBatchSize  = 100
	defaultTimeout    = 30 * time.Second
	defaultMaxStuck   = 2
	defaultMaxLoads   = 16
	defaultStoreTime  = time.Second
	maxDefaultBackoff = 5 * time.Minute
	// maxGrowth bounds MaxPeriod, in Periods: an item's own period is kept in 32 bits of ticks.
	maxGrowth = 1 << 20
	// Longer durations would overflow when added up.
	maxPeriod   = 90 * 24 * time.Hour
	maxDuration = 10 * 365 * 24 * time.Hour
)

func (o Options[K, V]) withDefaults() Options[K, V] {
	orDefault(&o.MinPeriod, o.Period)
	orDefault(&o.Workers, defaultWorkers)
	orDefault(&o.BatchSize, defaultBatchSize)
	orDefault(&o.Timeout, defaultTimeout)
	orDefault(&o.LoadTimeout, o.Timeout)
	orDefault(&o.MaxStuck, defaultMaxStuck)
	orDefault(&o.MaxBackoff, max(o.Period, min(16*o.Period, maxDefaultBackoff)))
	orDefault(&o.MaxLoads, defaultMaxLoads)
	orDefault(&o.StoreTimeout, defaultStoreTime)
	orDefault(&o.StoreTTL, max(10*o.Period, o.MaxStale, time.Second))
	o.MaxStuck = max(o.MaxStuck, 0)
	if o.MaxPeriod <= o.Period {
		o.MaxPeriod, o.MinPeriod = 0, o.Period
	}
	o.Name = observe.Name(o.Name, "autorefresh")
	return o
}

func orDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// check tells the first thing that is wrong with options, before defaults.
func (o Options[K, V]) check() error {
	if o.Period <= 0 {
		return invalid("Options.Period", o.Period, "set a positive duration")
	}
	if o.Period > maxPeriod {
		return invalid("Options.Period", o.Period, fmt.Sprintf("set at most %v", maxPeriod))
	}
	if err := o.checkDurations(); err != nil {
		return err
	}
	if err := o.checkNumbers(); err != nil {
		return err
	}
	if err := o.checkWatch(); err != nil {
		return err
	}
	switch {
	case o.First < FirstSpread || o.First > FirstAfterPeriod:
		return invalid("Options.First", int(o.First), "use FirstSpread, FirstImmediate or FirstAfterPeriod")
	case o.WhenStale < StaleFails || o.WhenStale > StaleServed:
		return invalid("Options.WhenStale", int(o.WhenStale), "use StaleFails, StaleBlocks or StaleServed")
	case o.Overflow != Evict && o.Overflow != Reject:
		return invalid("Options.Overflow", int(o.Overflow), "use Evict or Reject")
	case o.MaxWeight > 0 && o.Weigh == nil:
		return invalid("Options.MaxWeight", o.MaxWeight, "set Options.Weigh, too: it says what an item weighs")
	case o.MaxWeight == 0 && o.Weigh != nil:
		return invalid("Options.MaxWeight", o.MaxWeight, "set what all items together may weigh, or leave out Options.Weigh")
	case o.MaxWeight > 0 && o.MaxItems > 0:
		return invalid("Options.MaxItems", o.MaxItems, "set it or Options.MaxWeight, not both")
	case o.MaxWeight > 0 && o.Overflow == Reject:
		return invalid("Options.Overflow", "Reject", "use Evict with Options.MaxWeight: a refresh may make an item heavier")
	case isNil(o.Limiter) && o.Limiter != nil:
		return invalid("Options.Limiter", "a nil pointer", "leave it out, or set one that works")
	}
	return nil
}

func (o Options[K, V]) checkDurations() error {
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"MinPeriod", o.MinPeriod},
		{"MaxPeriod", o.MaxPeriod},
		{"HotFor", o.HotFor},
		{"IdleFor", o.IdleFor},
		{"Timeout", o.Timeout},
		{"MaxBackoff", o.MaxBackoff},
		{"MaxStale", o.MaxStale},
		{"TerminalTTL", o.TerminalTTL},
		{"NegativeTTL", o.NegativeTTL},
		{"StoreTTL", o.StoreTTL},
		{"StoreTimeout", o.StoreTimeout},
	} {
		if d.value < 0 {
			return invalid("Options."+d.field, d.value, "set a positive duration, or 0 for the default")
		}
		if d.value > maxDuration {
			return invalid("Options."+d.field, d.value, fmt.Sprintf("set at most %v", maxDuration))
		}
	}
	switch {
	case o.LoadTimeout > maxDuration:
		return invalid("Options.LoadTimeout", o.LoadTimeout, fmt.Sprintf("set at most %v", maxDuration))
	case o.MinPeriod > o.Period:
		return invalid("Options.MinPeriod", o.MinPeriod, fmt.Sprintf("set at most Period, %v", o.Period))
	case o.MaxPeriod > 0 && o.MaxPeriod < o.Period:
		return invalid("Options.MaxPeriod", o.MaxPeriod, fmt.Sprintf("set at least Period, %v", o.Period))
	case o.MaxPeriod/maxGrowth > o.Period:
		return invalid("Options.MaxPeriod", o.MaxPeriod, fmt.Sprintf("set at most %d times Period, %v", maxGrowth, o.Period))
	case o.MaxStale > 0 && o.MaxStale < max(o.Period, o.MaxPeriod):
		return invalid("Options.MaxStale", o.MaxStale, fmt.Sprintf("set at least the longest period, %v", max(o.Period, o.MaxPeriod)))
	}
	return nil
}

func (o Options[K, V]) checkNumbers() error {
	for _, n := range []struct {
		field string
		value int
	}{
		{"Workers", o.Workers},
		{"BatchSize", o.BatchSize},
		{"MaxItems", o.MaxItems},
		{"MaxLoads", o.MaxLoads},
	} {
		if n.value < 0 {
			return invalid("Options."+n.field, n.value, "set a positive number, or 0 for the default")
		}
	}
	if o.ShieldRate < 0 || math.IsNaN(o.ShieldRate) || math.IsInf(o.ShieldRate, 1) {
		return invalid("Options.ShieldRate", o.ShieldRate, "set calls per second, or 0 for no bound")
	}
	return nil
}

// checkCapacity reports whether a batch, of the size that has been settled on, fits into the cache.
func (o Options[K, V]) checkCapacity() error {
	if o.MaxItems > 0 && o.MaxItems < o.BatchSize {
		return invalid("Options.MaxItems", o.MaxItems, fmt.Sprintf("set at least BatchSize, %d", o.BatchSize))
	}
	return nil
}

// checkWatch tells the fault of Options.Watch, if it has one.
func (o Options[K, V]) checkWatch() error {
	if !o.Watch {
		return nil
	}
	if _, ok := o.Store.(Watcher); !ok || isNil(o.Store) {
		return invalid("Options.Watch", true, fmt.Sprintf("set Options.Store to one that is a Watcher, which a %T is not", o.Store))
	}
	return nil
}

// isNil reports whether an interface holds nothing, be it a typed nothing.
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
