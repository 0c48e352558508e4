package timetable_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

type (
	table = timetable.Table[int, int]
	entry = timetable.Entry[int, int]
)

// model is a cache whose calls return when the test says so: it knows what the table has to know.
type model struct {
	t      *rapid.T
	table  *table
	rules  timetable.Rules
	now    int64
	wakeAt int64
	woken  bool

	live    map[*entry]int64 // until when each that is not being called for has to be called for, but for what MaxBackoff allows
	flying  []*entry
	ends    map[*entry]bool // terminal
	failing map[*entry]bool
	keys    int
}

func newModel(t *rapid.T) *model {
	m := &model{
		t: t, wakeAt: timetable.Never, live: make(map[*entry]int64), ends: make(map[*entry]bool), failing: make(map[*entry]bool),
		rules: timetable.Rules{
			Period: time.Minute, MinPeriod: time.Minute, MaxBackoff: 4 * time.Minute, Timeout: time.Second, Workers: 4,
			First: rapid.IntRange(0, 2).Draw(t, "first"), BatchSize: rapid.SampledFrom([]int{1, 5}).Draw(t, "batch"),
			MaxStale: rapid.SampledFrom([]time.Duration{0, 3 * time.Minute}).Draw(t, "max stale"),
		},
	}
	m.table = timetable.New[int, int](m.rules, func() { m.woken = true })
	return m
}

// slack is by how much a table may be late: a tick of its wheel.
func (m *model) slack() int64 { return int64(m.rules.Period)/1024 + int64(time.Millisecond) }

func (m *model) turn() {
	for _, e := range m.table.Turn(m.now).Over {
		m.table.Leave(e)
		m.forget(e)
	}
	for m.table.SpreadSome(m.now) {
	}
	m.woken = false
	m.wakeAt = m.table.NextTurn(m.now, timetable.Never)
}

func (m *model) forget(e *entry) {
	delete(m.live, e)
	delete(m.ends, e)
	delete(m.failing, e)
}

// create is a new entry.
func (m *model) create() {
	e := m.table.NewEntry(m.keys, new(int), m.now)
	m.keys++
	e.Set(timetable.Unproven)
	m.table.Enter(e, m.table.FirstDue(e, m.now), m.now)
	m.live[e] = m.now + int64(m.rules.Period)
}

// pass lets time pass, with a turn whenever the table wants one. How is which calls fail.
func (m *model) pass(d time.Duration, how uint64) {
	for end := m.now + int64(d); m.now < end; {
		if m.woken {
			m.turn()
		}
		m.now = min(max(m.wakeAt, m.now+1), end)
		m.turn()
		if m.table.Source() == timetable.Up {
			m.takeAll(how)
		}
	}
	for e, by := range m.live {
		if m.now > by+m.slack() && m.table.Source() == timetable.Up {
			m.t.Fatalf("entry %d has not been called for, %v after it should have been", e.Key, time.Duration(m.now-by))
		}
	}
}

// takeAll takes all due entries, as idle workers would, and ends the calls at once.
func (m *model) takeAll(how uint64) {
	for m.table.Due() > 0 {
		m.take()
		m.land(how)
	}
}

func (m *model) take() {
	taken := m.table.Take(nil, timetable.Taking[int]{}, m.now)
	if len(taken) > m.rules.BatchSize {
		m.t.Fatalf("Take gave %d entries, want at most %d", len(taken), m.rules.BatchSize)
	}
	for _, e := range taken {
		by, there := m.live[e]
		switch {
		case !there || m.ends[e]:
			m.t.Fatalf("entry %d was taken, which is being called for, has left or is final", e.Key)
		case m.now > by+m.slack() && m.table.Source() == timetable.Up:
			m.t.Fatalf("entry %d was taken %v too late", e.Key, time.Duration(m.now-by))
		}
		delete(m.live, e)
		m.flying = append(m.flying, e)
	}
}

// land ends all calls: how is which of them fail, by a bit for each.
func (m *model) land(how uint64) {
	for i, e := range m.flying {
		m.table.Land(e)
		got := timetable.Value[int]{Value: new(int), LoadedAt: m.now, Change: timetable.Changed}
		if how>>(i%64)&1 == 0 {
			m.table.Renew(e, got, m.now)
			m.live[e] = m.now + int64(m.rules.Period)
			delete(m.failing, e)
			continue
		}
		up := m.table.Source() == timetable.Up
		got.Value = nil
		m.table.Fail(e, got, m.now)
		m.live[e] = m.now + int64(m.rules.MaxBackoff)
		if up {
			m.failing[e] = true
		}
	}
	m.flying = nil
}

// source goes down, or up: then all that is due is spread over a period, and all that backs off
// comes within one.
func (m *model) source(s timetable.Source) {
	before := m.table.Note(s, m.now)
	if before == timetable.Up || s != timetable.Up {
		return
	}
	for e, by := range m.live {
		if m.live[e] = max(by, m.now+int64(m.rules.Period)); m.failing[e] {
			m.live[e] = m.now + int64(m.rules.Period)
		}
	}
	m.turn()
}

func (m *model) some() *entry {
	keys := make([]*entry, m.keys)
	for e := range m.live {
		keys[e.Key] = e
	}
	for _, e := range keys {
		if e != nil && !m.ends[e] && rapid.Bool().Draw(m.t, "this one") {
			return e
		}
	}
	return nil
}

func (m *model) check() {
	n := m.table.Census()
	if want := len(m.live) + len(m.flying); n.Items != want || n.Terminal != len(m.ends) || n.Failing != len(m.failing) {
		m.t.Fatalf("census %+v, want %d items, %d terminal, %d failing", n, want, len(m.ends), len(m.failing))
	}
}

// A table is driven through a life that no test would think of: all that is refreshed is called for
// once in a period, never twice at once, and the census is right all the time.
func TestATimetableKeepsItsPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"create": func(*rapid.T) { m.create() },
			"pass": func(t *rapid.T) {
				m.pass(time.Duration(rapid.IntRange(1, 150).Draw(t, "seconds"))*time.Second, rapid.Uint64().Draw(t, "failures"))
			},
			"take": func(*rapid.T) { m.take(); m.land(rapid.Uint64().Draw(t, "failures")) },
			"down": func(*rapid.T) { m.source(timetable.Down) },
			"up":   func(*rapid.T) { m.source(timetable.Up) },
			"":     func(*rapid.T) { m.check() },
			"hurry": func(*rapid.T) {
				if e := m.some(); e != nil {
					m.table.Hurry(e, m.now)
					m.live[e] = m.now
					m.pass(time.Nanosecond, 0)
				}
			},
			"leave": func(*rapid.T) {
				if e := m.some(); e != nil {
					m.table.Leave(e)
					m.forget(e)
				}
			},
			"finish": func(*rapid.T) {
				if e := m.some(); e != nil && m.table.Source() == timetable.Up {
					m.table.Hurry(e, m.now)
					m.live[e] = timetable.Never - int64(time.Hour)
					for !slices.Contains(m.flying, e) {
						m.take()
					}
					m.flying = slices.DeleteFunc(m.flying, func(other *entry) bool { return other == e })
					m.table.Land(e)
					m.table.Finish(e, timetable.Value[int]{Value: new(int), LoadedAt: m.now}, time.Hour, m.now)
					m.live[e], m.ends[e] = timetable.Never-int64(time.Hour), true
					delete(m.failing, e)
					m.land(0)
				}
			},
		})
	})
}
