package follow_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// monkey has anything happen, in any order, that the shell may post, and
// checks that the effects fit each other.
type monkey struct {
	*testing.T
	rng     *rand.Rand
	state   *follow.State
	now     time.Time
	asked   map[follow.Link]bool // links that are there, and whether an answer is owed
	dialled map[follow.Link]bool
	watched map[string]bool
	term    follow.Link
	serving follow.Link // or kept
	refused bool
	fenced  bool
	held    bool
	story   []string
}

func (m *monkey) servers() string {
	return []string{serverA, serverB, serverC, "[::1]:6379", "[0:0::1]:6379", "redis-a.example:6379", ""}[m.rng.IntN(7)]
}

func (m *monkey) id() string {
	return []string{"", "x", "y", "id of " + serverA, "id of " + serverB}[m.rng.IntN(5)]
}

func (m *monkey) sentinel() string {
	return append(seeds(), "10.0.1.4:26379", "10.0.1.5:26379", "nobody")[m.rng.IntN(6)]
}

func (m *monkey) epoch() int64 {
	return []int64{0, 1, 2, 3, -1, 1 << 62, -1 << 62}[m.rng.IntN(7)]
}

func (m *monkey) report() *follow.Report {
	if m.rng.IntN(10) == 0 {
		return nil
	}
	r := &follow.Report{Addr: m.servers(), RunID: m.id(), Epoch: m.epoch(), Midway: m.rng.IntN(3) == 0, DownAfter: time.Duration(m.rng.Int64N(1e10) - 1e9)}
	for range m.rng.IntN(6) {
		r.Replicas = append(r.Replicas, follow.Replica{Addr: m.servers(), RunID: m.id(), Usable: m.rng.IntN(2) == 0})
		r.Peers = append(r.Peers, follow.Peer{ID: m.sentinel(), Addr: m.sentinel()})
	}
	return r
}

// link is one that there is, or was.
func (m *monkey) link(of map[follow.Link]bool) follow.Link {
	for l := range 100 + follow.Link(m.rng.IntN(4)) { // maps have no order that can be repeated
		if back := m.term + 50 - l; of[back] && m.rng.IntN(2) == 0 {
			return back
		}
	}
	return 0
}

//nolint:gocyclo // a list
func (m *monkey) event() follow.Event {
	before := m.now.Add(-time.Duration(m.rng.Int64N(2e9)))
	switch m.rng.IntN(16) {
	case 0, 1, 2, 3:
		return follow.Heard{Sentinel: m.sentinel(), ID: m.sentinel(), Asked: before.Add(1e9), Report: m.report(), Err: errors.New("unknown")}
	case 4:
		return follow.Unheard{Sentinel: m.sentinel(), Asked: before}
	case 5, 6:
		return follow.Pushed{Sentinel: m.sentinel(), Kind: follow.PushKind(m.rng.IntN(5)), Addr: m.servers()}
	case 7:
		if l := m.link(m.dialled); l != 0 {
			delete(m.dialled, l)
			m.asked[l] = false
			return follow.Dialled{Link: l}
		}
	case 8, 9:
		if l := m.link(m.asked); l != 0 {
			m.asked[l] = false
			return follow.Answered{Link: l, Primary: m.rng.IntN(2) == 0}
		}
	case 10:
		if l := m.link(m.dialled); l != 0 {
			delete(m.dialled, l)
			return follow.Failed{Link: l, Err: errors.New("refused"), Permanent: m.rng.IntN(4) == 0}
		}
		if m.serving != 0 && !m.held && m.rng.IntN(3) == 0 {
			l := m.serving
			if m.refused {
				m.serving = 0
			}
			return follow.Ended{Link: l, At: m.now, Err: errors.New("EOF")}
		}
	case 11:
		return follow.Beat{Term: m.term, Connected: before, Asked: m.now.Add(time.Duration(m.rng.IntN(100)) * time.Millisecond)}
	case 12:
		return follow.Silent{Term: m.term, For: time.Duration(m.rng.Int64N(4e9))}
	case 13:
		return follow.Died{Term: m.term, Err: errors.New("died")}
	case 14:
		return follow.Alarm{Term: m.term}
	case 15:
		switch m.rng.IntN(8) {
		case 0:
			return follow.Force{}
		case 1, 2:
			return follow.Reset{}
		}
	}
	return follow.Tick{}
}

//nolint:gocyclo // a list
func (m *monkey) run(effects []follow.Effect) {
	must := func(ok bool, what string) {
		if !ok {
			m.Fatalf("%s: %v", what, m.story[max(len(m.story)-60, 0):])
		}
	}
	for _, e := range effects {
		m.story = append(m.story, fmt.Sprintf("\n  %T%+v", e, e))
		switch e := e.(type) {
		case follow.Watch:
			must(!m.watched[e.Sentinel], "watched twice")
			m.watched[e.Sentinel] = true
		case follow.Unwatch:
			must(m.watched[e.Sentinel], "not watched")
			delete(m.watched, e.Sentinel)
		case follow.Poll:
			must(e.Sentinel == "" || m.watched[e.Sentinel], "asked, and not watched")
		case follow.Dial:
			must(e.Addr != "", "no address")
			m.dialled[e.Link] = true
		case follow.Ask:
			owed, ok := m.asked[e.Link]
			must(ok && !owed, "asked, and it is not there or owes an answer")
			m.asked[e.Link] = true
		case follow.End:
			delete(m.asked, e.Link)
			delete(m.dialled, e.Link)
		case follow.Swap:
			_, ok := m.asked[e.Link]
			must(ok, "a link that is not there becomes the primary's")
			delete(m.asked, e.Link)
			m.serving, m.term, m.refused, m.fenced, m.held = e.Link, e.Link, false, false, false
		case follow.Down:
			must(!m.refused, "refused twice")
			m.refused, m.fenced, m.held = true, false, false
			if !e.Keep {
				m.serving = 0
			}
		case follow.Cut:
			must(m.refused, "cut, and nothing is kept")
			m.serving = 0
		case follow.Resume:
			must(m.refused && m.serving != 0, "resumed, and nothing is kept")
			m.refused = false
		case follow.Hold:
			must(!m.refused && !m.held, "held twice, or while refused")
			m.held = true
		case follow.Rejoin:
			_, ok := m.asked[e.Link]
			must(ok && m.held, "rejoined, and not held")
			delete(m.asked, e.Link)
			m.serving, m.held = e.Link, false
		case follow.Fence:
			must(!m.refused && !m.fenced, "a fence too many")
			m.fenced = true
		case follow.Lift:
			must(m.fenced, "lifted, and no fence")
			m.fenced = false
		}
	}
	must(m.state.Phase().Serves() != m.refused, "the phase is another")
	must((m.state.Phase() == follow.Fenced) == m.fenced, "the phase has another fence")
}

// Whatever comes, in whatever order, with whatever addresses, ids and epochs, and with clocks that
// are set back: no panic, no transition that is not in the table, and effects that fit each other.
// At last all is well, and the primary is found.
func TestAnyOrderOfEvents(t *testing.T) {
	rounds := 1_000
	if testing.Short() {
		rounds = 100
	}
	for seed := range rounds {
		m := &monkey{T: t, rng: rand.New(rand.NewPCG(uint64(seed), 7)), now: time.Unix(1e9, 0), asked: make(map[follow.Link]bool), dialled: make(map[follow.Link]bool), watched: make(map[string]bool), refused: true}
		state, effects := follow.NewState(m.now, follow.Config{Mode: follow.Mode(seed % 3), Seeds: seeds(), RepairTimeout: 300 * time.Millisecond, ResetTimeout: 2 * time.Second})
		m.state = state
		m.run(effects)
		step := func(e follow.Event) {
			m.story = append(m.story, fmt.Sprintf("\n%v %T%+v", m.state.Phase(), e, e))
			m.run(m.state.Step(m.now, e))
		}
		latest := m.now
		for range 300 {
			m.now = m.now.Add(time.Duration(m.rng.ExpFloat64() * 2e7))
			switch m.rng.IntN(300) {
			case 0:
				m.now = m.now.Add(-time.Hour)
			case 1:
				m.now = m.now.Add(2 * time.Minute)
			}
			step(m.event())
			if m.now.After(latest) {
				latest = m.now
			}
		}
		m.now = latest
		step(follow.Reset{})
		for range 5_000 { // 100 s
			m.now = m.now.Add(20 * time.Millisecond)
			for _, addr := range seeds() {
				step(follow.Heard{Sentinel: addr, ID: "id of " + addr, Asked: m.now, Report: report(serverB, 7)})
			}
			step(follow.Tick{})
			for l := range m.dialled {
				delete(m.dialled, l)
				m.asked[l] = false
				step(follow.Dialled{Link: l})
			}
			for l, owed := range m.asked {
				if owed {
					m.asked[l] = false
					step(follow.Answered{Link: l, Primary: true})
				}
			}
			if m.state.Phase() == follow.Up && m.state.View().Addr == serverB {
				break
			}
			if m.state.Phase().Serves() && m.state.View().Addr != serverB {
				step(follow.Died{Term: m.term, Err: follow.ErrDemoted})
			}
		}
		if v := m.state.View(); v.Phase != follow.Up || v.Addr != serverB {
			t.Fatalf("seed %d: in the end it is %+v: %v", seed, v, m.story[len(m.story)-40:])
		}
	}
}

// A selection was heard after the replica had been announced and followed. When the sentinels moved
// on a moment later it was taken for the failover after that: writes waited for nothing.
func TestALateSelectionIsNoNextFailover(t *testing.T) {
	p := up(t, follow.Config{})
	p.hear(report(serverB, 2), seeds()...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	p.push(seeds()[0], follow.Selected, serverB)
	p.pass(time.Second)
	p.hear(report(serverC, 3), seeds()...)
	p.answer(serverC, true)
	p.is(follow.Up, serverC)
}
