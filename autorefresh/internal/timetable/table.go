package timetable

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
)

const (
	// Never is later than any time.
	Never = math.MaxInt64

	slots    = 1024 // of the wheel, which are one period
	ageSlots = 128
	minTick  = time.Millisecond
	// chunk is how many entries are spread at one go.
	chunk = 4096
	// pollOutage is how often the table is to be looked at while the source is down: whether a
	// trial may be made.
	pollOutage = 20 * time.Millisecond
)

// When a new entry is due for the first time.
const (
	FirstSpread      = iota // at a random moment of its period
	FirstImmediate          // now
	FirstAfterPeriod        // a period later
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

	wheel   wheel[K, V]  // what is due later
	agenda  agenda[K, V] // what the wheel is too coarse for
	noted   int          // how many entries wait in the agenda
	ready   chain[K, V]  // what is due
	urgent  chain[K, V]  // what is due, and calls under way wait for, the newest first
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
		wheel:   newWheel[K, V](bySchedule, max(int64(rules.MinPeriod)/slots, int64(minTick)), slots),
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

// Enter counts an entry and schedules it.
func (t *Table[K, V]) Enter(e *Entry[K, V], due, now int64) {
	t.census.Items++
	switch {
	case e.Has(Absent):
		t.census.Absent++
		t.absents.push(e, byAge)
	case e.Has(Terminal):
		t.census.Terminal++
		t.finals.push(e, byAge)
		e.Set(Unread)
		e.readAt = now
	default:
		e.Set(Unread)
		e.readAt = now
		t.watchAge(e)
	}
	t.schedule(e, due)
}

// Leave takes an entry out of the table, for good.
func (t *Table[K, V]) Leave(e *Entry[K, V]) {
	e.life |= dead
	t.groups.leave(e.group)
	t.unschedule(e)
	t.ends.Delete(e) // its flag stays: who has found it before must not take its value for one without end
	if e.slots[byAge] != notSlotted {
		t.ages.remove(e)
	}
	t.census.Items--
	switch flags := e.Flags.Load(); {
	case flags&Absent != 0:
		t.census.Absent--
		t.absents.remove(e, byAge)
	case flags&Terminal != 0:
		t.census.Terminal--
		t.finals.remove(e, byAge)
	default:
		if flags&Cold != 0 {
			t.census.Cold--
		}
		if flags&Stale != 0 {
			t.census.Stale--
		}
		t.recover(e)
	}
}

// schedule makes an entry due at a time.
func (t *Table[K, V]) schedule(e *Entry[K, V], due int64) {
	e.due = due
	at := t.lookAt(e)
	if at == Never {
		e.place = placeIdle
		return
	}
	if t.isNoted(e) {
		e.place = placeNoted
		t.note(e, due)
	} else {
		e.place = placeWaiting
		t.wheel.add(e, at)
		t.groups.note(e.group, int(e.slots[bySchedule]))
	}
	t.WakeBy(at)
}

// unschedule takes an entry out of where it waits.
func (t *Table[K, V]) unschedule(e *Entry[K, V]) {
	switch e.place {
	case placeWaiting:
		t.wheel.remove(e)
	case placeReady:
		t.ready.remove(e, bySchedule)
	case placeUrgent:
		t.urgent.remove(e, bySchedule)
	case placeNoted:
		t.noted--
	default:
		return
	}
	e.place = placeIdle
}

// makeReady puts an entry that is in no list among those that are due.
func (t *Table[K, V]) makeReady(e *Entry[K, V]) {
	e.place = placeReady
	t.ready.push(e, bySchedule)
}

// watchAge has an entry marked when its MaxStale passes.
func (t *Table[K, V]) watchAge(e *Entry[K, V]) {
	if t.rules.MaxStale > 0 {
		t.ages.add(e, t.staleAt(e))
		t.WakeBy(t.staleAt(e))
	}
}

func (t *Table[K, V]) staleAt(e *Entry[K, V]) int64 {
	return e.loadedAt.Load() + int64(t.rules.MaxStale)
}

// WakeBy has Turn called at a time at the latest.
func (t *Table[K, V]) WakeBy(at int64) {
	if at < t.wakeAt {
		t.wakeAt = at
		t.wake()
	}
}

// FirstDue is when a new entry is refreshed first.
func (t *Table[K, V]) FirstDue(e *Entry[K, V], now int64) int64 {
	switch t.rules.First {
	case FirstImmediate:
		return now
	case FirstAfterPeriod:
		return t.nextDue(e, now, rand.Float64())
	default:
		return t.spread(now, t.round())
	}
}

// FirstDueLoaded is when an entry is refreshed first that was loaded just now. What was loaded is
// as fresh as can be: with FirstSpread its turn comes in the second half of its period.
func (t *Table[K, V]) FirstDueLoaded(e *Entry[K, V], now int64) int64 {
	if t.rules.First != FirstSpread {
		return t.FirstDueAdopted(e, now)
	}
	half := int64(t.rules.Period) / 2
	due := t.inTime(e, t.spread(e.LoadedAt()+half, max(half-t.wheel.tick, 1)), rand.Float64())
	return max(due, now+t.grain(e))
}

// FirstDueAdopted is when an entry is refreshed first whose value somebody else has loaded.
func (t *Table[K, V]) FirstDueAdopted(e *Entry[K, V], now int64) int64 {
	return max(t.nextDue(e, e.LoadedAt(), rand.Float64()), now+t.grain(e))
}

// round is over how long many refreshes are spread that could begin at once. They come again after
// nine tenths of a period at the earliest: were the round longer, its end would meet the beginning
// of the next.
func (t *Table[K, V]) round() int64 { return int64(t.rules.Period) - int64(t.rules.Period)/10 }

// nextDue is when an entry is due again whose value was got at a time: luck, from 0 to 1, makes it
// up to 10 % early.
func (t *Table[K, V]) nextDue(e *Entry[K, V], loadedAt int64, luck float64) int64 {
	period := t.periodOf(e)
	return t.inTime(e, loadedAt+period-int64(luck*float64(period)/10), luck)
}

// spread returns a random time within a window. Of two it takes the one when less is due.
func (t *Table[K, V]) spread(now, window int64) int64 {
	return t.calmer(now+rand.Int64N(window)+1, now+rand.Int64N(window)+1)
}

func (t *Table[K, V]) calmer(a, b int64) int64 {
	if t.wheel.slots[t.wheel.slotOf(b)].n < t.wheel.slots[t.wheel.slotOf(a)].n {
		return b
	}
	return a
}
