package follow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// asks has something happen again, up to so many times, until a server is dialled, which answers
// that it is the primary.
func (p *play) asks(addr string, times int, do func(i int)) {
	p.Helper()
	delete(p.links, addr)
	for i := 0; i < times && p.links[addr] == 0; i++ {
		do(i)
	}
	p.answer(addr, true)
}

// sameIDs has a report tell one run id for all servers.
func sameIDs(r *follow.Report) *follow.Report {
	r.RunID = "the same"
	for i := range r.Replicas {
		r.Replicas[i].RunID = r.RunID
	}
	return r
}

// Servers that were copied had one run id: the replica that was selected was taken for the primary.
func TestRunIDsMayRepeat(t *testing.T) {
	for _, mode := range []follow.Mode{follow.Eager, follow.FenceOnly, follow.PushOnly} {
		p := newPlay(t, follow.Config{Mode: mode})
		p.hear(sameIDs(report(serverA, 1)), seeds()...)
		p.answer(serverA, true)
		p.pass(time.Second)
		p.hear(sameIDs(report(serverA, 1)), seeds()...)
		p.push(seeds()[0], follow.Selected, serverB)
		if mode != follow.PushOnly {
			p.is(follow.Fenced, serverA)
			p.promote(serverB)
		}
		p.hear(sameIDs(report(serverB, 2)), seeds()...)
		if mode == follow.PushOnly {
			p.answer(serverB, true)
		}
		p.is(follow.Up, serverB)
	}
}

// One sentinel was made anew, and had the server as its first configuration that a failover led
// back to, which was undone. With one that lied that was most: nothing took the move back.
func TestOneMadeAnewAndOneThatLiesSettleNothing(t *testing.T) {
	for _, lie := range []int64{2, 9} {
		p := up(t, follow.Config{})
		p.hear(report(serverB, 2), seeds()...)
		p.answer(serverB, true)
		p.pass(time.Second)
		p.hear(report(serverB, 2), seeds()...)
		p.push(seeds()[1], follow.Selected, serverA)
		p.promote(serverA)
		p.is(follow.Provisional, serverA)
		anew := func(r *follow.Report) {
			p.step(follow.Heard{Sentinel: seeds()[2], ID: "new id", Asked: p.now, Report: r})
		}
		p.unheard(seeds()[1]) // its leader is dead
		anew(report(serverA, 0))
		p.asks(serverB, 8, func(int) {
			p.hear(report(serverA, lie), seeds()[0])
			p.pass(time.Second)
			anew(report(serverB, 2)) // it has heard of it
			p.hear(report(serverB, 2), seeds()[1])
		})
		p.is(follow.Up, serverB)
	}
}

// One sentinel was given by two addresses, and what it published counted as the word of two.
func TestASentinelAtTwoAddressesPublishesOnce(t *testing.T) {
	all := append(seeds(), "sentinel-2.example:26379")
	p := newPlay(t, follow.Config{Seeds: all})
	for range 2 {
		for i, addr := range all {
			p.step(follow.Heard{Sentinel: addr, ID: "id of " + all[[]int{0, 1, 2, 1}[i]], Asked: p.now, Report: report(serverA, 1)})
		}
		if p.state.View().Phase != follow.Up {
			p.answer(serverA, true)
		}
		p.pass(10 * time.Millisecond)
	}
	moveToB(p)
	p.push(all[1], follow.Switched, serverB)
	p.push(all[3], follow.Switched, serverB)
	p.is(follow.Provisional, serverB)
	p.push(all[2], follow.Switched, serverB)
	p.is(follow.Up, serverB)
}

// What a sentinel has published it may take back.
func TestWhatIsPublishedOfAnotherCountsNoMore(t *testing.T) {
	p := up(t, follow.Config{})
	moveToB(p)
	p.pass(10 * time.Millisecond)
	p.push(seeds()[1], follow.Switched, serverB)
	p.push(seeds()[1], follow.Switched, serverC)
	p.push(seeds()[2], follow.Switched, serverB)
	p.is(follow.Provisional, serverB)
}

// Epochs had begun anew. One sentinel published the announcement and was not heard again, another
// told it at the epoch of before: together they are most.
func TestWhatIsPublishedAndWhatIsToldAddUp(t *testing.T) {
	p := up(t, follow.Config{})
	moveToB(p)
	p.pass(10 * time.Millisecond)
	p.push(seeds()[1], follow.Switched, serverB)
	p.unheard(seeds()[1])
	p.hear(report(serverB, 1), seeds()[2])
	p.is(follow.Up, serverB)
}

// A server that had returned after a move that a few had taken back went down again whenever one
// sentinel alone was heard, which named another.
func TestOneThatIsHeardAloneKeepsNobodyDown(t *testing.T) {
	p := up(t, follow.Config{})
	moveToB(p)
	alone := func() {
		p.pass(time.Second)
		p.unheard(seeds()[0], seeds()[2])
		p.hear(report(serverA, 1), seeds()[1])
	}
	for range 3 {
		alone()
	}
	p.pass(50 * time.Millisecond)
	p.unheard(seeds()[1])
	p.answer(serverB, true)
	p.pass(500 * time.Millisecond)
	for range 30 {
		alone()
		p.is(follow.Provisional, serverB)
	}
	p.hear(report(serverA, 1), seeds()...)
	p.pass(time.Second)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
}

// When its time was over, two of three were heard, and one of them named the new one at the epoch
// of before: it counted as announced, and nothing took the move back once most denied it.
func TestATieSettlesNoMove(t *testing.T) {
	for _, order := range [][]int{{1, 2}, {2, 1}} {
		p := up(t, follow.Config{})
		wrong, other := seeds()[order[0]], seeds()[order[1]]
		moveToB(p)
		for range 4 {
			p.pass(990 * time.Millisecond)
			p.unheard(seeds()[0])
			p.hear(report(serverB, 1), wrong)
			p.hear(report(serverA, 1), other)
		}
		p.pass(100 * time.Millisecond)
		p.asks(serverA, 3, func(int) {
			p.pass(time.Second)
			p.hear(report(serverB, 1), wrong)
			p.hear(report(serverA, 1), seeds()[0], other)
		})
		p.is(follow.Up, serverA)
	}
}

// A failover was undone and its move taken back, but the primary did not answer. The next one led
// to the same server, which counted as one that returns: that move could not be taken back.
func TestTheSecondMoveToAServerIsProvisional(t *testing.T) {
	p := undone(t)
	p.step(follow.Died{Term: p.links[serverB], Err: follow.ErrDemoted})
	p.pass(1100 * time.Millisecond)
	for range 2 {
		p.hear(report(serverA, 1), seeds()[1:]...)
		p.pass(250 * time.Millisecond)
	}
	p.selectsB()
	p.promote(serverB)
	p.is(follow.Provisional, serverB)
}

// Most named B, which refused connections, and C was selected meanwhile: it was not asked again
// before B was given up.
func TestWhatMostNameRefuses(t *testing.T) {
	p := up(t, follow.Config{})
	p.hear(report(serverB, 2), seeds()[:2]...)
	p.push(seeds()[1], follow.Selected, serverC)
	p.answer(serverC, false)
	p.pass(5 * time.Millisecond)
	p.done = nil
	p.step(follow.Failed{Link: p.links[serverB], Err: errors.New("connection refused")})
	p.pass(50 * time.Millisecond)
	if n := count[follow.Ask](p); n != 1 {
		t.Fatalf("C is asked %d times while B refuses: %+v", n, p.done)
	}
	p.step(follow.Answered{Link: p.links[serverC], Primary: true})
	p.is(follow.Provisional, serverC)
}

// A selection came while too few listed its replica, and another server, or the same one, was asked
// as it had been announced before: nothing was done about it once most listed the replica.
func TestAKeptSelectionWaitsForNobody(t *testing.T) {
	for _, asked := range []string{serverB, serverC} {
		p := up(t, follow.Config{})
		p.hear(report(asked, 2), seeds()[0]) // it does not answer
		p.pass(500 * time.Millisecond)
		p.unheard(seeds()[1:]...)
		p.push(seeds()[1], follow.Selected, serverB)
		p.is(follow.Up, serverA)
		leads := report(serverA, 3)
		leads.Midway = true
		p.hear(report(serverA, 3), seeds()[0], seeds()[2])
		p.hear(leads, seeds()[1])
		p.is(follow.Fenced, serverA)
	}
}

// The client had not heard of a failover from B, and of the next one only that B was selected, by
// another sentinel than before: that was taken for a late event of the first.
func TestASelectionOfThePresentPrimaryByAnother(t *testing.T) {
	p := up(t, follow.Config{})
	moveToB(p)
	p.pass(time.Second)
	p.push(seeds()[1], follow.Selected, serverB)
	leads := report(serverC, 4)
	leads.Midway = true
	p.hear(leads, seeds()[1])
	p.step(follow.Died{Term: p.links[serverB], Err: follow.ErrDemoted})
	p.hear(report(serverC, 3), seeds()[0])
	p.hear(leads, seeds()[1])
	p.answer(serverC, true)
	p.is(follow.Fenced, serverC)
}

// One that had led the client away had it fence now and then: each time the others' claim began
// again.
func TestAFenceEndsNoClaim(t *testing.T) {
	p, announced, invented := ledAway(t)
	p.asks(serverC, 9, func(i int) {
		p.pass(time.Second)
		if i%4 == 3 {
			p.push(seeds()[0], follow.Selected, serverA)
			p.hear(invented, seeds()[0])
			p.push(seeds()[0], follow.Aborted, serverA)
		}
		p.hear(invented, seeds()[0])
		p.hear(announced, seeds()[1:]...)
	})
	p.is(follow.Up, serverC)
}

// Most sentinels had been away. What they were asked just before one of them was heard alone once
// more did not count: no server was a replica when the next failover began.
func TestWhatIsAskedWhileMostAreAwayCounts(t *testing.T) {
	p := up(t, follow.Config{})
	p.unheard(seeds()[1:]...)
	p.pass(time.Second)
	p.hear(report(serverA, 1), seeds()[0])
	asked := p.now
	p.pass(time.Millisecond)
	p.hear(report(serverA, 1), seeds()[0])
	for _, addr := range seeds()[1:] {
		p.step(follow.Heard{Sentinel: addr, ID: "id of " + addr, Asked: asked, Report: report(serverA, 1)})
	}
	p.push(seeds()[1], follow.Selected, serverC)
	p.answer(serverC, true)
	p.is(follow.Provisional, serverC)
}

// One sentinel had a replica down that was restarted, as a primary, and another told its new run
// id: neither was most, and it was followed as one that had gone wrong selected it.
func TestAReplicaThatIsDownToOneAndRestartedToAnother(t *testing.T) {
	p := up(t, follow.Config{})
	down, anew := report(serverA, 1), report(serverA, 1)
	for i := range down.Replicas {
		if down.Replicas[i].Addr == serverB {
			down.Replicas[i].Usable, down.Replicas[i].Down = false, true
			anew.Replicas[i].Usable, anew.Replicas[i].RunID = false, "a new id"
		}
	}
	p.hear(down, seeds()[0])
	p.hear(anew, seeds()[1])
	p.push(seeds()[2], follow.Selected, serverB)
	p.answer(serverB, true)
	p.is(follow.Fenced, serverA)
}

// The leader had answered that it leads a failover just before it published that this is aborted.
// The answer came after the client was back: writes waited a second for nothing.
func TestAnAnswerFromBeforeAnAbortBeginsNothing(t *testing.T) {
	p := newPlay(t, follow.Config{})
	p.hear(report(serverA, 1), seeds()...)
	p.answer(serverA, true)
	moveToB(p)
	p.is(follow.Provisional, serverB)
	asked := p.now
	p.pass(5 * time.Millisecond)
	p.push(seeds()[0], follow.Aborted, serverB)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
	leads := report(serverA, 1)
	leads.Midway = true
	p.step(follow.Heard{Sentinel: seeds()[0], ID: "id of " + seeds()[0], Asked: asked, Report: leads})
	p.is(follow.Up, serverA)
}
