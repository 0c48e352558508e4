package follow_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// A process was stopped right after it had heard its first sentinel, one that had gone wrong. When
// it went on its polls of the others had run out of time, and that sentinel was all who voted.
func TestAStopAtTheStartSilencesNobody(t *testing.T) {
	p := newPlay(t, follow.Config{})
	asked := p.now
	p.hear(withReplica(report(evil, 9), serverA, 9), seeds()[0])
	p.stop(2600 * time.Millisecond)
	for _, addr := range seeds()[1:] {
		p.step(follow.Unheard{Sentinel: addr, Asked: asked})
	}
	p.pass(100 * time.Millisecond)
	if p.links[evil] != 0 {
		t.Error("a server is dialled that one sentinel has invented")
	}
	for _, addr := range seeds()[1:] {
		if !slices.Contains(p.done, follow.Effect(follow.Poll{Sentinel: addr})) {
			t.Errorf("%s is not asked again", addr)
		}
	}
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
}

// After a stop of more than a minute nobody had a vote but who was heard first.
func TestALongStopTakesNobodysVote(t *testing.T) {
	p := up(t, follow.Config{})
	p.stop(5 * time.Minute)
	p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
	p.hear(withReplica(report(evil, 9), serverA, 9), seeds()[0])
	p.pass(200 * time.Millisecond)
	if p.links[evil] != 0 {
		t.Error("a server is dialled that one sentinel has invented")
	}
	p.hear(report(serverB, 2), seeds()[1:]...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// A process was stopped while it waited for the announcement of its move. It took the move back
// before it had read that it was announced.
func TestAStopTakesNoMoveBack(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
	p.stop(4 * time.Second)
	p.step(follow.Tick{})
	p.is(follow.Provisional, serverB)
	p.hear(report(serverB, 2), seeds()...)
	p.is(follow.Up, serverB)
	if n := count[follow.Reverted](p); n != 0 {
		t.Error("the move was taken back")
	}
}

// A replica was selected before a long stop, and belonged to somebody else after it: it was asked
// all the same.
func TestAfterALongStopASelectionIsOver(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, false)
	p.is(follow.Fenced, serverA)
	p.stop(4 * time.Second)
	p.done = nil
	p.step(follow.Tick{})
	p.is(follow.Fenced, serverA)
	p.pass(600 * time.Millisecond)
	p.is(follow.Up, serverA)
	if n := count[follow.Ask](p) + count[follow.Dial](p); n != 0 {
		t.Errorf("%d questions to servers", n)
	}
	p.hear(report(serverA, 1), seeds()...)
	p.push(seeds()[0], follow.Selected, serverB)
	p.is(follow.Fenced, serverA)
}

// What always runs late gives up in the end all the same.
func TestWhoIsAlwaysLateGivesUp(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	for range 8 {
		p.stop(1300 * time.Millisecond)
		p.step(follow.Tick{})
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	if n := count[follow.Reverted](p); n == 0 {
		t.Error("a move that nobody announces is kept for 10 s")
	}
}

// The leader of a failover published that the replica was promoted, and died. The others knew
// nothing of it and named the primary of before: commands stayed at the replica until it was
// demoted.
func TestAPromotionThatNobodyKnowsOfIsLeft(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.push(seeds()[0], follow.Promoted, serverB)
	p.is(follow.Up, serverB)
	p.unheard(seeds()[0])
	for range 9 {
		p.pass(time.Second)
		p.hear(report(serverA, 1), seeds()[1:]...)
		p.answer(serverA, true)
	}
	p.is(follow.Up, serverA)
}

// The same where that replica was lost for a moment, and came back while nobody was heard: its
// return counted as if it had been announced.
func TestAPromotionThatNobodyKnowsOfIsLeftAfterAReturn(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.push(seeds()[0], follow.Promoted, serverB)
	p.is(follow.Up, serverB)
	p.unheard(seeds()...)
	p.step(follow.Died{Term: p.links[serverB], Err: errors.New("EOF")})
	p.pass(20 * time.Millisecond)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	for range 9 {
		p.pass(time.Second)
		p.hear(report(serverA, 1), seeds()[1:]...)
		if link := p.links[serverA]; link != 0 && p.state.View().Last != serverA {
			p.answer(serverA, true)
		}
	}
	p.is(follow.Up, serverA)
}

// While its leader still waits for the other replicas to follow the others name the primary of
// before, for minutes: the move stands.
func TestAPromotionWhoseLeaderIsHeardStands(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.push(seeds()[0], follow.Promoted, serverB)
	leads := report(serverA, 2)
	leads.Midway = true
	for range 60 {
		p.pass(time.Second)
		p.hear(leads, seeds()[0])
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.is(follow.Up, serverB)
	if n := count[follow.Dial](p); n != 1 { // that of B
		t.Errorf("%d servers are dialled", n)
	}
}

// A failover went on while the process was stopped. As it went on, writes passed to the primary of
// before until the sentinels were heard.
func TestAFenceOutlivesAStop(t *testing.T) {
	for _, d := range []time.Duration{time.Second, 4 * time.Second, 10 * time.Minute} {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, false)
		p.stop(d)
		p.done = nil
		p.step(follow.Tick{})
		p.pass(50 * time.Millisecond)
		p.hear(report(serverB, 2), seeds()...)
		p.answer(serverB, true)
		p.is(follow.Up, serverB)
		if n := count[follow.Lift](p); n != 0 {
			t.Errorf("after a stop of %v writes pass to a server that was left", d)
		}
	}
}

// The process was busy for a moment after the primary had died, and took the selected replica,
// which had no link to a primary any more, for one that is none: it waited for the announcement.
func TestABusyMomentDoubtsNoReplica(t *testing.T) {
	p := up(t, follow.Config{})
	p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
	unlinked := report(serverA, 1)
	for i := range unlinked.Replicas {
		unlinked.Replicas[i].Usable = false
	}
	p.hear(unlinked, seeds()...)
	p.push(seeds()[0], follow.Selected, serverB)
	p.step(follow.Dialled{Link: p.links[serverB]})
	p.stop(400 * time.Millisecond)
	p.step(follow.Answered{Link: p.links[serverB], Primary: true})
	p.is(follow.Provisional, serverB)
}

// A stop was noticed by a Tick that came late, and before the first decision none was waited for.
func TestAShortStopAtTheStartIsNoticed(t *testing.T) {
	p := newPlay(t, follow.Config{})
	asked := p.now
	p.pass(time.Millisecond)
	p.stop(400 * time.Millisecond)
	p.hear(withReplica(report(evil, 9), serverA, 9), seeds()[0])
	for _, addr := range seeds()[1:] {
		p.step(follow.Unheard{Sentinel: addr, Asked: asked})
	}
	if p.links[evil] != 0 {
		t.Error("a server is dialled that one sentinel has invented")
	}
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
}

// After a long stop what a fence had taken before did not count, and the next one was raised; after
// a short one the stop counted, and none was for a true failover.
func TestAFenceTakesItsTimeButForAStop(t *testing.T) {
	for _, c := range []struct {
		before, stop time.Duration
		want         follow.Phase
	}{
		{900 * time.Millisecond, 4 * time.Second, follow.Up},
		{900 * time.Millisecond, 2 * time.Second, follow.Up},
		{100 * time.Millisecond, 4 * time.Second, follow.Fenced},
		{100 * time.Millisecond, 2 * time.Second, follow.Fenced},
	} {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverB)
		p.pass(c.before)
		p.is(follow.Fenced, serverA)
		p.stop(c.stop)
		p.step(follow.Tick{})
		p.hear(report(serverA, 1), seeds()[1:]...)
		p.pass(500 * time.Millisecond)
		p.is(follow.Up, serverA)
		p.push(seeds()[1], follow.Selected, serverC)
		if got := p.state.Phase(); got != c.want {
			t.Errorf("after a fence of %v, a stop of %v, and 500 ms: it is %v, want %v", c.before, c.stop, got, c.want)
		}
	}
}
