package follow_test

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// No sentinel answered a question, and the leader's announcement was lost. Most of the others had
// published it, which confirmed nothing: the next failover was not followed, and writes until its
// promotion were lost.
func TestMostHavePublishedTheAnnouncement(t *testing.T) {
	p := up(t, follow.Config{})
	moveToB(p)
	p.is(follow.Provisional, serverB)
	p.pass(10 * time.Millisecond)
	p.push(seeds()[1], follow.Switched, serverB)
	p.push(seeds()[1], follow.Switched, serverB) // twice
	p.push(seeds()[2], follow.Promoted, serverB) // it led nothing
	p.is(follow.Provisional, serverB)
	p.push(seeds()[2], follow.Switched, serverB)
	p.is(follow.Up, serverB)
	p.push(seeds()[1], follow.Selected, serverC)
	p.is(follow.Fenced, serverB)
}

// What sentinels have published of a move says nothing of the next one to the same server.
func TestAnAnnouncementIsOfOneMove(t *testing.T) {
	p := undone(t)
	p.push(seeds()[1], follow.Switched, serverB)
	p.pass(1100 * time.Millisecond)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
	p.hear(report(serverA, 1), seeds()...)
	p.selectsB()
	p.promote(serverB)
	p.is(follow.Provisional, serverB)
	p.push(seeds()[2], follow.Switched, serverB)
	p.is(follow.Provisional, serverB)
}

// Sentinels had begun to tell names. The announcement of a server that was selected by its address
// was another one's.
func TestAnAnnouncementByName(t *testing.T) {
	for kind, phase := range map[follow.PushKind]follow.Phase{follow.Promoted: follow.Up, follow.Switched: follow.Up, follow.Selected: follow.Provisional} {
		p := up(t, follow.Config{})
		moveToB(p)
		names := report(serverA, 1)
		names.Addr, names.Midway = "redis-a.example:6379", true
		for i := range names.Replicas {
			names.Replicas[i].Addr = "redis-" + string("bc"[i]) + ".example:6379"
		}
		p.hear(names, seeds()[0])
		p.push(seeds()[0], kind, "redis-c.example:6379") // another one
		p.is(follow.Provisional, serverB)
		p.push(seeds()[0], kind, "redis-b.example:6379")
		p.is(phase, serverB)
	}
}

// Sentinels were telling names one after another, so that none but the leader had the address of
// the one that it promoted: its run id, which most had told before, was not known any more.
func TestARunIDIsRemembered(t *testing.T) {
	p := up(t, follow.Config{})
	names := func(primary string, epoch int64) *follow.Report {
		r := report(primary, epoch)
		r.Addr = "name of " + r.Addr
		for i := range r.Replicas {
			r.Replicas[i].Addr = "name of " + r.Replicas[i].Addr
		}
		return r
	}
	p.push(seeds()[0], follow.Selected, serverB)
	p.hear(names(serverA, 1), seeds()[1:]...)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
	p.hear(names(serverB, 2), seeds()[1])
	p.is(follow.Up, serverB)
}

// Most named B, which hung, and C was selected meanwhile. It was not asked again after it had said
// once that it is a replica: writes waited in vain.
func TestWhatMostNameHangs(t *testing.T) {
	p := up(t, follow.Config{})
	p.hear(report(serverB, 2), seeds()[:2]...)
	p.push(seeds()[1], follow.Selected, serverC)
	p.answer(serverC, false)
	p.is(follow.Fenced, serverA)
	p.done = nil
	p.pass(200 * time.Millisecond)
	link := p.links[serverC]
	if !slices.Contains(p.done, follow.Effect(follow.Ask{Link: link})) {
		t.Fatalf("C is not asked again while B hangs: %+v", p.done)
	}
	p.step(follow.Answered{Link: link, Primary: true})
	p.is(follow.Provisional, serverC)
}

// A move was taken back while a single sentinel was heard, which named the primary before. As that
// was not heard any more either, the server returned, and counted as announced: writes went there
// for as long as it said that it is the primary, though all named the other.
func TestAMoveThatTooFewHaveTakenBackIsProvisionalStill(t *testing.T) {
	for named, addr := range map[*follow.Report]string{report(serverA, 1): serverA, report(serverB, 2): serverB} {
		p := up(t, follow.Config{})
		moveToB(p)
		for range 3 {
			p.pass(time.Second)
			p.unheard(seeds()[0], seeds()[2])
			p.hear(report(serverA, 1), seeds()[1])
		}
		p.pass(50 * time.Millisecond)
		p.is(follow.Searching, serverB)
		p.unheard(seeds()[1])
		p.answer(serverB, true)
		p.pass(500 * time.Millisecond)
		p.is(follow.Provisional, serverB)
		p.hear(named, seeds()[1:]...)
		p.pass(time.Second)
		p.answer(addr, true)
		p.is(follow.Up, addr)
	}
}

// ledAway has one sentinel announce C, and another, which has gone wrong, B, where the client is
// then.
func ledAway(t *testing.T) (p *play, announced, invented *follow.Report) {
	p, announced, invented = up(t, follow.Config{}), report(serverC, 2), report(serverB, 6)
	p.hear(announced, seeds()[2])
	p.answer(serverC, true)
	p.hear(invented, seeds()[0])
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	return p, announced, invented
}

// One that had gone wrong led the client away from a server that only one sentinel had announced by
// then. As it had been left at that epoch, it was not gone back to when most had named it for long.
func TestWhatOneHasLedAwayFromIsFollowedAgain(t *testing.T) {
	p, announced, invented := ledAway(t)
	p.links = make(map[string]follow.Link)
	for range 8 {
		p.pass(time.Second)
		p.hear(invented, seeds()[0])
		p.hear(announced, seeds()[1:]...)
	}
	p.answer(serverC, true)
	p.is(follow.Up, serverC)
}

// The client began during a failover, and one that had gone wrong told an earlier epoch than the
// others: with that the server that was left had a later one, and was gone back to.
func TestAnEarlierEpochAtTheStartLeadsNobodyBack(t *testing.T) {
	p := newPlay(t, follow.Config{})
	leads := report(serverA, 2)
	leads.Midway = true
	p.hear(report(serverA, 1), seeds()[0])
	p.push(seeds()[1], follow.Selected, serverC)
	p.hear(report(serverA, 2), seeds()[2])
	p.hear(leads, seeds()[1])
	p.answer(serverA, true)
	p.is(follow.Fenced, serverA)
	p.promote(serverC)
	p.push(seeds()[1], follow.Promoted, serverC)
	p.is(follow.Up, serverC)
	link := p.links[serverA]
	p.hear(report(serverA, 3), seeds()[0])
	p.pass(time.Second)
	if p.links[serverA] != link {
		t.Error("A is asked again, whose word means nothing: it has not heard yet that it is left")
	}
}

// That server was lost, and those who had not heard of its failover yet were most with one that had
// gone wrong: they must not lead the client back to the one before it.
func TestThoseWhoLagBehindClaimNothingOnceItIsLost(t *testing.T) {
	p := up(t, follow.Config{})
	p.hear(report(serverC, 2), seeds()[2])
	p.answer(serverC, true)
	p.step(follow.Died{Term: p.links[serverC], Err: follow.ErrHung})
	p.links = make(map[string]follow.Link)
	for range 4 {
		p.hear(report(serverA, 3), seeds()[0])
		p.hear(report(serverA, 1), seeds()[1])
		p.hear(report(serverC, 2), seeds()[2])
		p.pass(time.Second)
	}
	if link := p.links[serverA]; link != 0 || count[follow.Reborn](p) != 0 {
		t.Errorf("A is asked, or epochs are said to begin anew: %+v", p.done)
	}
}
