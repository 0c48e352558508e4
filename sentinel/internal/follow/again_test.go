package follow_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// undone has B serve, which is announced by nobody, and is a replica again after that.
func undone(t *testing.T) *play {
	p := up(t, follow.Config{})
	moveToB(p)
	p.is(follow.Provisional, serverB)
	for range 2 {
		p.pass(time.Second)
		p.step(follow.Unheard{Sentinel: seeds()[0], Asked: p.now}) // its leader is dead
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	return p
}

// selectsB has another sentinel select B, and say so.
func (p *play) selectsB() {
	p.push(seeds()[1], follow.Selected, serverB)
	leads := report(serverA, 1)
	leads.Midway = true
	p.hear(leads, seeds()[1])
}

// A failover was undone, and the next one, which led to the same server, began before the move was
// taken back. It was forgotten with that, and writes until the promotion were lost.
func TestTheNextFailoverLeadsToTheSameServer(t *testing.T) {
	p := undone(t)
	p.step(follow.Died{Term: p.links[serverB], Err: follow.ErrDemoted})
	p.pass(900 * time.Millisecond)
	p.selectsB()
	p.pass(150 * time.Millisecond)
	p.answer(serverA, true)
	p.is(follow.Fenced, serverA)
	p.pass(5 * time.Millisecond)
	p.promote(serverB)
	p.is(follow.Provisional, serverB)

	p = undone(t) // the same, and the primary was forced away meanwhile
	p.step(follow.Force{})
	p.pass(1100 * time.Millisecond)
	p.selectsB()
	p.step(follow.Reset{})
	p.answer(serverA, true)
	p.is(follow.Fenced, serverA)
}

// The selection that has led to a move is none of the next failover, once that is taken back.
func TestASelectionIsAsOldAsItsEvent(t *testing.T) {
	p := undone(t)
	p.step(follow.Force{})
	p.pass(900 * time.Millisecond)
	p.step(follow.Reset{})
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.pass(150 * time.Millisecond)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
}

// One that had gone wrong had led the client to B, and the others, which did not follow, began a
// failover to B. Its selection was forgotten as that of the failover that had led there.
func TestAFailoverToWhereOneHasLed(t *testing.T) {
	p := up(t, follow.Config{})
	invent := func() { p.hear(report(serverB, 100), seeds()[0]) }
	invent()
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	for range 6 {
		p.pass(time.Second)
		invent()
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.selectsB()
	p.pass(time.Second)
	p.answer(serverA, true)
	p.is(follow.Fenced, serverA)
}

// The run id of a primary that was just found was not known until a sentinel was heard again.
// Sentinels that began to tell names by then spoke of another server.
func TestAServerIsKnownByItsRunIDFromTheStart(t *testing.T) {
	p := up(t, follow.Config{})
	p.hear(report(serverB, 2), seeds()...)
	p.answer(serverB, true)
	p.stop(4 * time.Second) // reports of before are too old
	named := report(serverB, 4)
	named.Addr = "redis-b.example:6379"
	p.hear(named, seeds()...)
	p.is(follow.Up, serverB)
	if v := p.state.View(); p.links[named.Addr] != 0 || v.Epoch != 4 {
		t.Errorf("dialled %v, epoch %d", p.links, v.Epoch)
	}
}

// An operator gave the name to a replica for a moment, and it went on as a primary. Most sentinels
// had said so, one after another: to the client it was a replica, and one that had gone wrong led
// it there.
func TestAReplicaThatMostHaveCalledThePrimary(t *testing.T) {
	for said, phase := range map[string]follow.Phase{seeds()[1]: follow.Fenced, seeds()[0]: follow.Provisional} {
		p := up(t, follow.Config{})
		for _, addr := range []string{seeds()[0], said} {
			p.hear(report(serverC, 1), addr)
			p.pass(500 * time.Millisecond)
			p.hear(report(serverA, 1), addr)
		}
		p.push(seeds()[2], follow.Selected, serverC)
		p.answer(serverC, true)
		if v := p.state.View(); v.Phase != phase {
			t.Errorf("%s and %s have named it: it is %v at %s, want %v", seeds()[0], said, v.Phase, v.Last, phase)
		}
	}
}

// The first primary was found late, after a stop, and a failover had begun whose selection was not
// heard.
func TestAFailoverThatBeginsWhileTheFirstPrimaryIsLookedFor(t *testing.T) {
	p := newPlay(t, follow.Config{})
	p.hear(report(serverA, 1), seeds()...)
	p.stop(1700 * time.Millisecond)
	leads := report(serverA, 1)
	leads.Midway = true
	p.hear(leads, seeds()[0])
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.answer(serverA, true)
	p.is(follow.Fenced, serverA)
}

// A sentinel had lagged behind as a failover led back. Long after that, the first to announce the
// next one made a majority with it: the replica was none any more, and was followed only once most
// had announced it. While a fence was held for it writes were lost when that ended.
func TestWhoHasLaggedOnceTellsNothingOfTheNextFailover(t *testing.T) {
	for _, mode := range []follow.Mode{follow.Eager, follow.FenceOnly, follow.PushOnly} {
		p := up(t, follow.Config{Mode: mode})
		p.hear(report(serverB, 2), seeds()...)
		p.answer(serverB, true)
		p.hear(report(serverA, 3), seeds()[:2]...)
		p.answer(serverA, true)
		for range 20 {
			p.pass(time.Second)
			p.hear(report(serverA, 3), seeds()[:2]...)
			p.hear(report(serverB, 2), seeds()[2])
		}
		p.hear(report(serverA, 3), seeds()...)
		delete(p.links, serverB)
		if mode == follow.FenceOnly {
			p.push(seeds()[0], follow.Selected, serverB)
			p.promote(serverB)
			p.hear(report(serverB, 4), seeds()[0])
		} else {
			p.hear(report(serverB, 4), seeds()[0])
			p.answer(serverB, true)
		}
		p.is(follow.Up, serverB)
	}
}

// A sentinel had announced a replica in error, and was not heard again. A minute later that replica
// was selected by another: the move counted as announced at once.
func TestAnAnnouncementOfLongAgoConfirmsNothing(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[2], follow.Switched, serverB)
	for range 60 {
		p.pass(time.Second)
		p.hear(report(serverA, 1), seeds()[:2]...)
		p.step(follow.Unheard{Sentinel: seeds()[2], Asked: p.now})
	}
	p.step(follow.Died{Term: p.links[serverA], Err: follow.ErrDemoted})
	p.push(seeds()[0], follow.Selected, serverB)
	p.promote(serverB)
	p.is(follow.Provisional, serverB)
}

// Redis ends all connections of a replica that it promotes, and sentinels call it disconnected for
// a moment. It was taken for lost, its word was doubted, and writes waited for the announcement.
func TestAReplicaThatIsPromotedIsNotLost(t *testing.T) {
	for down, want := range map[bool]follow.Phase{false: follow.Provisional, true: follow.Fenced} {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverB)
		r := report(serverA, 1)
		r.Midway = true
		r.Replicas[0].Usable, r.Replicas[0].Lost, r.Replicas[0].Down = false, true, down
		p.hear(r, seeds()[0])
		r = &follow.Report{Addr: r.Addr, RunID: r.RunID, Epoch: r.Epoch, Replicas: r.Replicas}
		p.hear(r, seeds()[1])
		p.answer(serverB, true)
		if v := p.state.View(); v.Phase != want {
			t.Errorf("called down: %v, it is %v at %s, want %v", down, v.Phase, v.Last, want)
		}
	}
}

// The process was stopped, and any replica might have been promoted and left meanwhile. What most
// had said before answered for one that was selected.
func TestReportsOfBeforeAStopAnswerForNobody(t *testing.T) {
	for d, want := range map[time.Duration]follow.Phase{0: follow.Up, 2900 * time.Millisecond: follow.Fenced} {
		p := up(t, follow.Config{})
		p.hear(report(serverC, 1), seeds()[:2]...)
		p.stop(d)
		p.push(seeds()[2], follow.Selected, serverC)
		p.answer(serverC, true)
		if v := p.state.View(); v.Phase != want {
			t.Errorf("stopped for %v: it is %v at %s, want %v", d, v.Phase, v.Last, want)
		}
	}
}

// A promotion was published before the replica had answered, and confirmed nothing: no writes
// waited at the selection of the next failover.
func TestAPromotionThatIsPublishedBeforeTheAnswer(t *testing.T) {
	p := up(t, follow.Config{})
	p.pass(time.Millisecond)
	p.push(seeds()[0], follow.Selected, serverB)
	p.push(seeds()[0], follow.Promoted, serverB)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	p.push(seeds()[1], follow.Selected, serverC)
	p.is(follow.Fenced, serverB)
}

// A sentinel was found within a second of the first decision. Until it was heard no selection was
// followed, and that was forgotten if writes waited already.
func TestASentinelThatIsFoundLaterHoldsNothingUp(t *testing.T) {
	p := newPlay(t, follow.Config{})
	p.hear(report(serverA, 1), seeds()...)
	p.answer(serverA, true)
	more := report(serverA, 1)
	more.Peers = []follow.Peer{{ID: "new", Addr: "10.0.1.4:26379"}}
	p.hear(more, seeds()...)
	p.push(seeds()[0], follow.Selected, serverB)
	p.is(follow.Fenced, serverA)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
}

// The sentinel that leads a failover is not heard, and the others call the promoted replica
// disconnected: its selection tells that a failover has begun.
func TestAReplicaThatIsSelectedIsNotLost(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	r := report(serverA, 1)
	r.Replicas[0].Usable, r.Replicas[0].Lost = false, true
	p.pass(10 * time.Millisecond)
	p.hear(r, seeds()[1:]...)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
}

// A sentinel died as it had selected C, and the next one promoted B. As that was published before B
// had answered, the selection of C counted as of the next failover, and writes waited for it.
func TestAPromotionThatIsPublishedKeepsItsPlace(t *testing.T) {
	for _, published := range []string{"before the answer", "after it"} {
		p := up(t, follow.Config{})
		p.push(seeds()[1], follow.Selected, serverC)
		p.step(follow.Unheard{Sentinel: seeds()[1], Asked: p.now})
		p.pass(200 * time.Millisecond)
		p.push(seeds()[0], follow.Selected, serverB)
		if published == "before the answer" {
			p.push(seeds()[0], follow.Promoted, serverB)
		}
		p.answer(serverC, false)
		p.pass(5 * time.Millisecond)
		p.answer(serverB, true)
		p.push(seeds()[0], follow.Promoted, serverB)
		if v := p.state.View(); v.Phase != follow.Up || v.Last != serverB {
			t.Errorf("published %s: it is %v at %s, want up at %s", published, v.Phase, v.Last, serverB)
		}
	}
}

// A sentinel that had gone wrong said all the time that it leads a failover, and so a replica that
// the others had lost was taken for one that is being promoted. It came back as a primary.
func TestAReplicaThatIsLostForLongIsLost(t *testing.T) {
	for lost, want := range map[time.Duration]follow.Phase{time.Second: follow.Provisional, 2 * time.Second: follow.Fenced} {
		p := up(t, follow.Config{Mode: follow.Eager, Allow: []string{serverA, serverC}})
		leads, misses := report(serverA, 1), report(serverA, 1)
		leads.Midway = true
		misses.Replicas[1].Usable, misses.Replicas[1].Lost = false, true
		for range lost/time.Second + 1 {
			p.hear(leads, seeds()[0])
			p.hear(misses, seeds()[1:]...)
			p.pass(time.Second)
		}
		p.push(seeds()[0], follow.Selected, serverC)
		p.answer(serverC, true)
		if v := p.state.View(); v.Phase != want {
			t.Errorf("lost for %v: it is %v at %s, want %v", lost, v.Phase, v.Last, want)
		}
	}
}
