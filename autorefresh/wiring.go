package autorefresh

import (
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// What the parts of a cache need to know of its options.

// slowFlags are the flags of an entry that a read has to look at.
func (o *Options[K, V]) slowFlags() uint32 {
	slow := timetable.Cold | timetable.Absent
	if o.WhenStale != StaleServed {
		slow |= timetable.Stale
	}
	if o.HotFor > 0 {
		slow |= timetable.Unread
	}
	return slow
}

func (o *Options[K, V]) rules() timetable.Rules {
	return timetable.Rules{
		Period: o.Period, MinPeriod: o.MinPeriod, MaxPeriod: o.MaxPeriod, HotFor: o.HotFor, MaxStale: o.MaxStale, MaxBackoff: o.MaxBackoff,
		Timeout: o.Timeout, First: int(o.First), BatchSize: o.BatchSize, Workers: o.Workers,
	}
}

// newLevel makes the second level, nil if there is none.
func (o *Options[K, V]) newLevel(now func() int64) (*level.Level[K, V], error) {
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

// bound is how many entries the storage keeps, 0 if it does not evict.
func (o *Options[K, V]) bound() int {
	if o.Overflow == Reject {
		return 0
	}
	return o.MaxItems
}
