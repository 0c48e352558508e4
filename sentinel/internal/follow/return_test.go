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
// The primary had returned by then, and what was written until the promotion was lost.
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
