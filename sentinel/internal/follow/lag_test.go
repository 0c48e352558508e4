package follow_test

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// A failover was announced by its leader alone when the next one began, and by the others only once
// that had been followed as well. The client went back to the server that it had just left: most
// named it, at an epoch later than any that most had named before. The late events had writes wait,
// as well.
func TestThoseWhoLagAFailoverBehindLeadNobodyBack(t *testing.T) {
	p := up(t, follow.Config{})
	leader, others := seeds()[0], seeds()[1:]
	p.push(leader, follow.Selected, serverB)
	p.answer(serverB, true)
	p.push(leader, follow.Promoted, serverB)
	p.hear(midway(serverA, 2), leader)
	p.push(leader, follow.Switched, serverB)
	p.hear(report(serverB, 2), leader)
	for range 2 {
		p.pass(time.Second)
		p.hear(report(serverA, 1), others...)
		p.hear(report(serverB, 2), leader)
	}
	p.push(leader, follow.Selected, serverC)
	p.answer(serverC, true)
	p.is(follow.Provisional, serverC)
	p.done = nil
	for _, addr := range others {
		p.push(addr, follow.Switched, serverB)
		p.hear(report(serverB, 2), addr)
	}
	p.push(leader, follow.Promoted, serverC)
	p.hear(midway(serverB, 3), leader)
	p.pass(50 * time.Millisecond)
	if p.is(follow.Up, serverC); count[follow.Fence](p) != 0 || count[follow.Dial](p) != 0 {
		t.Errorf("what is over is followed: %+v", p.done)
	}
	p.hear(report(serverC, 3), seeds()...)
	p.is(follow.Up, serverC)
	p.pass(time.Second)
	p.hear(report(serverC, 3), seeds()...)

	p.push(leader, follow.Selected, serverB) // and back, which is no late word
	p.answer(serverB, true)
	p.hear(report(serverB, 4), seeds()...)
	p.is(follow.Up, serverB)
}

// The same without selections: who only follows announcements went back as well.
func TestThoseWhoLagBehindAnAnnouncementLeadNobodyBack(t *testing.T) {
	for _, mode := range []follow.Mode{follow.Eager, follow.FenceOnly, follow.PushOnly} {
		p := up(t, follow.Config{Mode: mode})
		leader, others := seeds()[0], seeds()[1:]
		p.hear(report(serverB, 2), leader)
		p.answer(serverB, true)
		p.is(follow.Up, serverB)
		p.pass(time.Second)
		p.hear(report(serverA, 1), others...)
		p.hear(report(serverC, 3), leader)
		p.answer(serverC, true)
		p.is(follow.Up, serverC)
		p.done = nil
		p.hear(report(serverB, 2), others...)
		p.pass(50 * time.Millisecond)
		if p.is(follow.Up, serverC); count[follow.Dial](p) != 0 {
			t.Errorf("mode %d: those who lag are followed: %+v", mode, p.done)
		}
		p.hear(report(serverC, 3), others...)
		p.pass(time.Second)
		p.hear(report(serverC, 3), seeds()...)

		p.hear(report(serverB, 4), leader) // and back, which is no late word
		p.hear(report(serverB, 4), others[0])
		p.answer(serverB, true)
		p.is(follow.Up, serverB)
	}
}

// One that had gone wrong had a move to a promoted replica taken back, and selected the primary of
// before: what most announced of that replica then said nothing new, for fifteen seconds.
func TestAMoveThatOneTakesBackIsMadeAgain(t *testing.T) {
	p := up(t, follow.Config{})
	liar, others := seeds()[0], seeds()[1:]
	p.push(liar, follow.Selected, serverB)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
	p.hear(midway(serverA, 2), others[0]) // it leads that failover, and its selection was lost
	p.push(liar, follow.Selected, serverA)
	p.pass(time.Millisecond)
	p.hear(report(serverA, 2), liar)
	p.hear(report(serverB, 2), liar)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
	p.hear(report(serverB, 2), others...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// A replica that had been promoted was held, and made a replica again. Seconds later one sentinel
// announced it, which had gone wrong: it was followed unasked.
func TestAWordThatIsHeldForLongIsAskedForAnew(t *testing.T) {
	for _, still := range []bool{true, false} {
		p := up(t, follow.Config{Mode: follow.FenceOnly})
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, true)
		p.is(follow.Fenced, serverA)
		for range 5 {
			p.pass(time.Second)
			p.hear(report(serverA, 1), seeds()[1:]...)
		}
		p.is(follow.Up, serverA)
		p.done = nil
		p.hear(report(serverB, 2), seeds()[0])
		p.is(follow.Up, serverA)
		if n := count[follow.Ask](p); n != 1 {
			t.Fatalf("it is asked %d times", n)
		}
		p.step(follow.Answered{Link: p.links[serverB], Primary: still})
		if still {
			p.is(follow.Up, serverB)
		} else {
			p.is(follow.Up, serverA)
		}
	}
}

// What one has told in vain of the primary that is left keeps nobody from its replica, once that is
// announced at this epoch.
func TestAnEpochThatOneToldKeepsNobodyFromTheNext(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.PushOnly})
	liar, others := seeds()[0], seeds()[1:]
	p.hear(report(serverA, 9), liar)
	p.hear(report(serverB, 2), others...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	p.pass(4 * time.Second)
	p.hear(report(serverA, 9), liar)
	p.hear(report(serverA, 3), others...)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
}

// A failover had begun from a server that was given the name. When the client followed there too
// few sentinels were heard to know the replica, for a moment: its selection was forgotten, and
// writes did not wait.
func TestASelectionIsKeptWhileTooFewAreHeard(t *testing.T) {
	all := append(seeds(), "10.0.1.4:26379", "10.0.1.5:26379")
	wrong, leader := all[0], all[1]
	begin := func() *play {
		p := newPlay(t, follow.Config{Seeds: all})
		p.hear(report(serverA, 1), all...)
		p.answer(serverA, true)
		p.pass(time.Second)
		p.hear(report(serverA, 1), all...)
		p.pass(3100 * time.Millisecond) // nothing is heard any more
		p.hear(report(serverB, 1), leader, all[3])
		p.hear(report(serverA, 1), wrong)
		p.push(leader, follow.Selected, serverC)
		p.is(follow.Fenced, serverA)
		p.pass(10 * time.Millisecond)
		p.hear(midway(serverB, 1), leader)
		without := report(serverB, 2)
		without.Replicas = without.Replicas[:1]
		p.hear(without, wrong)
		p.pass(20 * time.Millisecond)
		p.answer(serverB, true)
		p.is(follow.Up, serverB)
		return p
	}
	p := begin()
	p.hear(report(serverB, 1), all[4])
	p.is(follow.Fenced, serverB)
	p.pass(5 * time.Millisecond)
	p.answer(serverC, true)
	p.is(follow.Fenced, serverB) // while most were not heard it may have become anything
	p.pass(20 * time.Millisecond)
	p.hear(report(serverC, 2), all[1:]...)
	p.answer(serverC, true)
	p.is(follow.Up, serverC)

	p = begin()
	p.hear(report(serverB, 1), leader) // it is over
	p.hear(report(serverB, 1), all[4])
	p.is(follow.Up, serverB)
}

// The connections to all sentinels were lost, and the first event that was heard again was a
// selection: nobody had told of its replica yet, and it was forgotten.
func TestASelectionThatIsHeardBeforeReports(t *testing.T) {
	p := up(t, follow.Config{})
	p.unheard(seeds()...)
	p.push(seeds()[0], follow.Selected, serverC)
	p.pass(5 * time.Millisecond)
	p.is(follow.Up, serverA)
	p.hear(midway(serverA, 1), seeds()[0])
	p.is(follow.Up, serverA)
	p.hear(report(serverA, 1), seeds()[1])
	p.is(follow.Fenced, serverA)
	p.answer(serverC, false)
	p.pass(time.Millisecond)
	p.hear(report(serverA, 1), seeds()[0])
	p.is(follow.Up, serverA)

	p = up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, evil) // of which nobody ever tells
	for range 10 {
		p.pass(100 * time.Millisecond)
		p.hear(report(serverA, 1), seeds()[1:]...)
		p.hear(withReplica(midway(serverA, 1), evil, 1), seeds()[0])
	}
	if p.is(follow.Up, serverA); p.links[evil] != 0 {
		t.Error("it is dialled")
	}
}

// Such a selection names an IP address, and the reports tell host names: its replica is one of
// those. Writes did not wait, as the selection counted as heard.
func TestASelectionByAnotherAddressBeforeReports(t *testing.T) {
	p := up(t, follow.Config{})
	p.unheard(seeds()...)
	p.push(seeds()[0], follow.Selected, "192.0.2.3:6379")
	p.pass(5 * time.Millisecond)
	p.hear(midway(serverA, 1), seeds()[0])
	p.hear(report(serverA, 1), seeds()[1])
	p.is(follow.Fenced, serverA)
	p.answer(serverB, false)
	p.pass(5 * time.Millisecond)
	p.hear(midway(serverA, 1), seeds()[0]) // and that the others are replicas, since they are heard again
	p.hear(report(serverA, 1), seeds()[1])
	p.answer(serverC, true)
	p.is(follow.Provisional, serverC)
	if p.links["192.0.2.3:6379"] != 0 {
		t.Error("what nobody tells is dialled")
	}
}

// A name was monitored anew at another server. A failover from there began just before the time was
// over for which most have to agree, and was aborted: they had to agree anew.
func TestAFailoverFromThereTakesNoClaimBack(t *testing.T) {
	p := up(t, follow.Config{})
	elsewhere := func() *follow.Report {
		r := report(serverB, 1)
		r.Replicas = r.Replicas[1:] // A is not of it
		return r
	}
	p.hear(elsewhere(), seeds()...)
	p.pass(time.Second)
	p.hear(elsewhere(), seeds()...)
	p.pass(900 * time.Millisecond)
	begun := elsewhere()
	begun.Midway, begun.Epoch = true, 2
	p.hear(begun, seeds()[:2]...)
	p.pass(110 * time.Millisecond)
	p.hear(elsewhere(), seeds()...)
	p.answer(serverB, true)
	if p.is(follow.Up, serverB); p.state.View().Epoch != 1 {
		t.Errorf("its epoch is %d", p.state.View().Epoch)
	}
}

// A sentinel that had gone wrong selected the same replica, and told an epoch that it had made up:
// the primary of before was not gone back to for fifteen seconds, whatever most announced.
func TestAnInventedEpochKeepsNobodyFromGoingBack(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.FenceOnly})
	liar, others := seeds()[0], seeds()[1:]
	p.push(liar, follow.Selected, serverB)
	p.push(others[0], follow.Selected, serverB)
	p.hear(midway(serverA, 1<<40), liar)
	p.answer(serverB, true)
	p.hear(report(serverB, 2), others...)
	p.is(follow.Up, serverB)
	p.pass(4 * time.Second)
	p.hear(report(serverB, 2), others...)
	p.push(others[0], follow.Selected, serverA)
	p.pass(5 * time.Millisecond)
	p.hear(midway(serverA, 1<<40), liar)
	p.hear(report(serverA, 3), others...)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
}

// A failover was undone: its leader died once it had seen the promotion, and told the others of
// that epoch when it was back. One that had gone wrong had given the primary of before the same
// epoch earlier, and nobody went back there for fifteen seconds, though the replica was one again.
func TestAnEpochThatOneToldKeepsNobodyFromAFailoverThatIsUndone(t *testing.T) {
	p := up(t, follow.Config{})
	leader, others := seeds()[0], seeds()[1:]
	p.hear(report(serverA, 2), others[1])
	p.push(leader, follow.Selected, serverB)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
	p.push(leader, follow.Promoted, serverB)
	p.is(follow.Up, serverB)
	p.hear(midway(serverA, 2), leader)
	p.step(follow.Unheard{Sentinel: leader, Asked: p.now})
	for range 2 {
		p.pass(time.Second)
		p.hear(report(serverA, 1), others...)
	}
	p.pass(time.Second)
	p.hear(report(serverA, 2), seeds()...)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
}

// A sentinel that was heard anew had selected a replica that most did not list yet. Others were
// asked in its place, it was forgotten, and so writes went on at the primary of before.
func TestASelectionOfAReplicaThatFewListIsNotForgottenForOthers(t *testing.T) {
	without := func(r *follow.Report) *follow.Report {
		r.Replicas = slices.DeleteFunc(r.Replicas, func(x follow.Replica) bool { return x.Addr == serverC })
		return r
	}
	p := up(t, follow.Config{})
	p.unheard(seeds()...)
	p.push(seeds()[0], follow.Selected, serverC)
	p.pass(5 * time.Millisecond)
	p.hear(midway(serverA, 1), seeds()[0])
	p.hear(without(report(serverA, 1)), seeds()[1:]...)
	p.pass(20 * time.Millisecond)
	p.hear(midway(serverA, 1), seeds()[0])
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.is(follow.Fenced, serverA)
	if link := p.links[serverB]; link != 0 {
		p.answer(serverB, false)
	}
	p.pass(5 * time.Millisecond)
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.answer(serverC, true)
	p.is(follow.Provisional, serverC)
}

// The same, just before it would have been let go, at a server that is far away: that it was asked
// anew had it given up, and the announcement counted as refuted.
func TestAWordThatIsAskedForAnewIsWaitedFor(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.FenceOnly})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	for range 6 {
		p.pass(time.Second)
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.pass(900 * time.Millisecond)
	p.done = nil
	p.hear(report(serverB, 2), seeds()[0])
	p.pass(300 * time.Millisecond)
	if n := count[follow.Ask](p); n != 1 || count[follow.Mismatch](p) != 0 {
		t.Fatalf("it is asked %d times: %+v", n, p.done)
	}
	p.step(follow.Answered{Link: p.links[serverB], Primary: true})
	p.is(follow.Up, serverB)
}

// A failover led back before all had heard of the one between, and was undone by the death of its
// leader. Those who lagged behind named the server as the primary of before, and that counted as
// the announcement of the move: writes went on there until it was demoted.
func TestThoseWhoLagBehindAnnounceNoMoveBack(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.hear(report(serverB, 2), seeds()[0])
	p.is(follow.Up, serverB)
	p.undoneBack(report(serverA, 1))
}

// So did the sentinel that led the failover between: it had not heard of its end.
func TestWhoLeadsTheFailoverBetweenAnnouncesNoMoveBack(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[1], follow.Selected, serverB)
	p.hear(midway(serverA, 1), seeds()[1])
	p.answer(serverB, true)
	p.hear(midway(serverA, 2), seeds()[1])
	p.is(follow.Provisional, serverB)
	p.hear(report(serverB, 2), seeds()[0])
	p.is(follow.Up, serverB)
	p.undoneBack(midway(serverA, 2))
}

// undoneBack has a failover from B, of which another sentinel has not heard yet, lead back to A,
// and its leader die.
func (p *play) undoneBack(other *follow.Report) {
	p.Helper()
	p.push(seeds()[0], follow.Selected, serverA)
	p.hear(midway(serverB, 2), seeds()[0])
	p.promote(serverA)
	p.hear(other, seeds()[1])
	p.is(follow.Provisional, serverA)
	p.step(follow.Unheard{Sentinel: seeds()[0], Asked: p.now})
	for range 4 {
		p.pass(time.Second)
		p.hear(report(serverB, 2), seeds()[1:]...)
	}
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// An epoch that one has invented keeps nothing that most announce from being announced.
func TestAnInventedEpochKeepsNoMoveProvisional(t *testing.T) {
	p := up(t, follow.Config{})
	wrong, others := seeds()[0], seeds()[1:]
	p.hear(report(serverB, 9), wrong)
	p.answer(serverB, true) // an operator gives it the name
	p.hear(report(serverB, 1), others...)
	p.is(follow.Up, serverB)
	p.push(others[0], follow.Selected, serverC)
	p.promote(serverC)
	p.is(follow.Provisional, serverC)
	p.hear(report(serverC, 2), others...)
	p.is(follow.Up, serverC)
}
