package timetable

import (
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
)

// Rules are the choices of a cache that a table obeys.
type Rules struct {
	Period, MinPeriod, MaxPeriod time.Duration // MaxPeriod is 0 if periods are not adaptive
	HotFor                       time.Duration // 0 if entries do not rest
	IdleFor                      time.Duration // 0 if entries stay that nobody reads
	MaxStale                     time.Duration // 0 if entries do not grow stale
	MaxBackoff                   time.Duration
	Timeout                      time.Duration // of a call
	First                        int
	BatchSize                    int
	Grouped                      bool // a call is for entries of one group, see Join
	Workers                      int  // calls at once
}

// Table is the timetable of a cache.
type Table[K comparable, V any] struct {
	rules   Rules
	backoff backoff.Exponential
	wake    func()
	wakeAt  int64 // when Turn is to be called at the latest

	wheel   wheel[K, V]  // due later
	agenda  agenda[K, V] // what the wheel is too coarse for
	noted   int          // how many entries wait in the agenda
	ready   chain[K, V]  // due now
	urgent  chain[K, V]  // due, and calls under way wait for them, the newest first
	ages    wheel[K, V]  // entries by MaxStale
	finals  chain[K, V]  // terminal entries
	absents chain[K, V]  // negative entries
	groups  groups       // of entries
	ends    sync.Map     // *Entry[K, V] → int64: when values end, of those that do
	outage  outage
	census  Census
}

// Census counts the entries by state.
type Census struct {
	Items, Terminal, Cold, Absent, Failing, Stale int
}

// New makes a table. Wake is called when Turn has to be called earlier than NextTurn has said.
func New[K comparable, V any](rules Rules, wake func()) *Table[K, V] {
	t := &Table[K, V]{
		rules: rules, wake: wake, wakeAt: Never, outage: outage{limit: rules.Workers},
		backoff: backoff.Exponential{Base: rules.Period, Cap: rules.MaxBackoff, Factor: 2},
		wheel:   newWheel[K, V](bySchedule, max(int64(rules.MinPeriod)/wheelSlots, int64(minTick)), wheelSlots),
	}
	if rules.Grouped {
		t.wheel.again = func(e *Entry[K, V]) { t.groups.note(e.group, int(e.slots[bySchedule])) }
	}
	if rules.MaxStale > 0 {
		t.ages = newWheel[K, V](byAge, max(int64(rules.MaxStale)/ageSlots, int64(minTick)), ageSlots)
	}
	return t
}

// NewEntry makes an entry that is not in the table yet.
func (t *Table[K, V]) NewEntry(key K, v *V, loadedAt int64) *Entry[K, V] {
	e := &Entry[K, V]{Key: key, slots: [linkKinds]uint16{notSlotted, notSlotted}, readAt: loadedAt}
	e.Value.Store(v)
	e.loadedAt.Store(loadedAt)
	return e
}

// Census returns how many entries there are of each state.
func (t *Table[K, V]) Census() Census { return t.census }

// Due is how many entries are due and not being refreshed.
func (t *Table[K, V]) Due() int { return t.ready.n + t.urgent.n }

// Urgent is how many of them calls under way wait for.
func (t *Table[K, V]) Urgent() int { return t.urgent.n }

// Absent is an entry of those that are negative, nil if there is none; Final one of those that are
// terminal.
func (t *Table[K, V]) Absent() *Entry[K, V] { return t.absents.head }

// Final is the terminal entry that has been there for longest, nil if there is none.
func (t *Table[K, V]) Final() *Entry[K, V] { return t.finals.head }

// Source is the state of a source.
type Source uint8

// States of a source.
const (
	Up    Source = iota
	Trial        // it is down, and one call may try it
	Down
)

// outage is the time from when the source goes down until it is up again, and what remains of it:
// as many calls at once as are allowed, and what has to be spread.
type outage struct {
	source Source
	since  int64
	limit  int // calls at once
	spread int // entries at the head of ready that are to be spread
}

func (o *outage) active() bool { return o.source != Up }

// Source is the state that the table was last told.
func (t *Table[K, V]) Source() Source { return t.outage.source }

// Since is when the source went down.
func (t *Table[K, V]) Since() int64 { return t.outage.since }

// pollOutage is how often the table is to be looked at while the source is down: whether a trial
// may be made.
const pollOutage = 20 * time.Millisecond
