package follow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// returning has A lost, with reports of a while ago, and back.
func returning(t *testing.T, last map[string]*follow.Report) *play {
	t.Helper()
	p := up(t, follow.Config{})
	for addr, r := range last {
		p.hear(r, addr)
	}
	p.pass(50 * time.Millisecond)
	p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
	p.pass(20 * time.Millisecond)
	p.answer(serverA, true)
	p.is(follow.Returning, serverA)
	return p
}

func midway(addr string, epoch int64) *follow.Report {
	r := report(addr, epoch)
	r.Midway = true
	return r
}

// The sentinel that led a failover was the last to answer, and the push of its selection was lost.
// The primary had returned by then, and writes until the promotion were lost.
func TestThePrimaryDoesNotReturnBeforeTheLastHasAnswered(t *testing.T) {
	p := returning(t, nil)
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.is(follow.Returning, serverA)
	p.pass(5 * time.Millisecond)
	p.hear(midway(serverA, 2), seeds()[0])
	p.is(follow.Searching, serverA)

	p = returning(t, nil)
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.pass(5 * time.Millisecond)
	p.hear(report(serverA, 1), seeds()[0])
	p.is(follow.Up, serverA)

	p = returning(t, nil)
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.pass(90 * time.Millisecond)
	p.is(follow.Returning, serverA)
	p.pass(10 * time.Millisecond) // one that hangs keeps nobody away
	p.is(follow.Up, serverA)

	p = returning(t, nil)
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.step(follow.Unheard{Sentinel: seeds()[0], Asked: p.now})
	p.is(follow.Up, serverA)
}

// It had said before that it leads one, and that was not waited for either.
func TestThePrimaryDoesNotReturnBeforeALeaderHasAnswered(t *testing.T) {
	leads := map[string]*follow.Report{seeds()[0]: midway(serverA, 2)}
	p := returning(t, leads)
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.pass(900 * time.Millisecond)
	p.is(follow.Returning, serverA)
	p.hear(report(serverA, 1), seeds()[0]) // it is over
	p.is(follow.Up, serverA)

	p = returning(t, leads)
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.step(follow.Unheard{Sentinel: seeds()[0], Asked: p.now})
	p.is(follow.Up, serverA)

	p = returning(t, leads)
	for range 35 { // it says no more, and is believed for three seconds
		if p.state.Phase() != follow.Up {
			p.hear(report(serverA, 1), seeds()[1:]...)
		}
		p.pass(100 * time.Millisecond)
		if p.state.Phase() == follow.Searching {
			p.pass(400 * time.Millisecond)
			p.answer(serverA, true)
		}
	}
	p.is(follow.Up, serverA)
}

// One that had gone wrong selected a replica again and again. It kept a primary that had restarted
// away for as long as it did.
func TestSelectionsWithoutEndKeepNoPrimaryAway(t *testing.T) {
	for _, mode := range []follow.Mode{follow.Eager, follow.FenceOnly} {
		p := up(t, follow.Config{Mode: mode})
		p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
		p.push(seeds()[0], follow.Selected, serverB)
		lost := p.now
		for p.state.Phase() != follow.Fenced && p.now.Sub(lost) < 10*time.Second {
			p.pass(10 * time.Millisecond)
			done := p.done
			p.done = nil
			for _, e := range done {
				switch e := e.(type) {
				case follow.Dial:
					p.step(follow.Dialled{Link: e.Link})
				case follow.Ask:
					p.step(follow.Answered{Link: e.Link, Primary: e.Link == p.links[serverA]})
				}
			}
			p.hear(report(serverA, 1), seeds()[1:]...)
			p.push(seeds()[0], follow.Selected, serverB)
		}
		if took := p.now.Sub(lost); took < 2900*time.Millisecond || took > 3500*time.Millisecond {
			t.Errorf("it returns after %v", took)
		}
		p.is(follow.Fenced, serverA) // one of them may be true
	}
}

// A selection late in an outage has its time, though others came to nothing in the one before.
func TestALateSelectionKeepsThePrimaryAway(t *testing.T) {
	p := up(t, follow.Config{})
	for range 2 {
		p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
		for range 10 {
			p.pass(time.Second)
			p.hear(report(serverA, 1), seeds()...)
		}
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, false)
		for range 5 {
			p.pass(500 * time.Millisecond)
			p.hear(report(serverA, 1), seeds()[1:]...)
			p.answer(serverA, true)
			p.hear(report(serverA, 1), seeds()[1:]...)
			p.is(follow.Searching, serverA)
		}
		p.push(seeds()[0], follow.Aborted, serverB)
		p.pass(500 * time.Millisecond)
		p.answer(serverA, true)
		p.hear(report(serverA, 1), seeds()...)
		p.is(follow.Up, serverA)
	}
}
