package follow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// A failover had begun before the primary was found, or while it was lost. It served without a
// fence, and writes until the promotion were lost. That one that had gone wrong selected
// that primary hid it, too.
func TestAFailoverThatBeginsBeforeThePrimaryIsFound(t *testing.T) {
	leader, wrong, others := seeds()[1], seeds()[0], []string{seeds()[2], "10.0.1.4:26379", "10.0.1.5:26379"}
	for _, hides := range []bool{false, true} {
		p := newPlay(t, follow.Config{Seeds: append([]string{leader, wrong}, others...)})
		p.hear(report(serverA, 1), append(others, leader, wrong)...)
		p.push(leader, follow.Selected, serverB)
		if hides {
			p.push(wrong, follow.Selected, serverA)
		}
		p.hear(report(serverC, 2), wrong)
		p.answer(serverB, false) // C is asked next, and A meanwhile
		p.pass(20 * time.Millisecond)
		p.answer(serverA, true)
		p.hear(report(serverA, 1), others...)
		for _, addr := range []string{leader, wrong} {
			p.step(follow.Unheard{Sentinel: addr, Asked: p.now})
		}
		p.is(follow.Fenced, serverA)
	}
}

// Fences had used up their time, and a sentinel that had gone wrong selected again: the selection
// of another one was forgotten, and its replica not asked when it was promoted.
func TestASelectionForWhichNothingWaitsIsRemembered(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverC)
	for range 20 {
		p.answer(serverC, false)
		p.pass(50 * time.Millisecond)
	}
	p.is(follow.Up, serverA)
	p.push(seeds()[1], follow.Selected, serverB)
	p.push(seeds()[0], follow.Selected, serverC)
	p.answer(serverC, false)
	p.pass(5 * time.Millisecond)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
}

// The name was given to another server, and a failover from there had begun before the client had
// followed: it served without a fence, and writes until the promotion were lost.
func TestAFailoverThatBeginsBeforeThePrimaryIsFollowed(t *testing.T) {
	begin := func() *play {
		p := up(t, follow.Config{})
		elsewhere := report(serverB, 1)
		elsewhere.Replicas = elsewhere.Replicas[1:] // A is not of it
		for range 2 {
			p.hear(elsewhere, seeds()...)
			p.pass(time.Second - 20*time.Millisecond)
		}
		p.push(seeds()[0], follow.Selected, serverC)
		p.is(follow.Fenced, serverA)
		p.pass(20 * time.Millisecond)
		p.hear(elsewhere, seeds()[1:]...)
		return p
	}
	p := begin()
	p.pass(20 * time.Millisecond)
	p.answer(serverB, true)
	p.is(follow.Fenced, serverB)
	p.pass(5 * time.Millisecond)
	p.answer(serverC, true)
	p.is(follow.Provisional, serverC)

	p = begin()
	p.pass(20 * time.Millisecond)
	over := report(serverB, 1)
	over.Replicas = over.Replicas[1:]
	p.hear(over, seeds()[0]) // its leader says so
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// A replica was selected, and announced before it had answered. The next failover had begun: its
// selection was followed only once a sentinel was heard again, and writes were lost meanwhile.
func TestWhatWasAnnouncedBeforeItAnsweredIsNotProvisional(t *testing.T) {
	p := up(t, follow.Config{})
	for i, addr := range []string{serverB, serverA} { // B was left a moment ago, and replicates again
		p.hear(report(addr, int64(2+i)), seeds()...)
		p.answer(addr, true)
	}
	p.pass(10 * time.Millisecond)
	p.hear(report(serverA, 3), seeds()...)
	p.push(seeds()[0], follow.Selected, serverB)
	p.hear(report(serverB, 4), seeds()[0])
	p.push(seeds()[1], follow.Selected, serverC)
	p.answer(serverB, true)
	p.is(follow.Fenced, serverB)
}

// The failover after the present one was led by the same sentinel, and its selection took the place
// of the one before: it was forgotten with it, and what was written until the second promotion was
// lost.
func TestTheSameSentinelLeadsTheNextFailover(t *testing.T) {
	for _, mode := range []follow.Mode{follow.Eager, follow.FenceOnly} {
		p := up(t, follow.Config{Mode: mode})
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, true)
		p.pass(200 * time.Millisecond)
		p.push(seeds()[0], follow.Selected, serverC)
		p.hear(report(serverB, 2), seeds()[1])
		p.is(follow.Fenced, serverB)
		p.pass(5 * time.Millisecond)
		p.answer(serverC, true)
		p.hear(report(serverC, 3), seeds()...)
		p.is(follow.Up, serverC)
	}
}

// What was selected before the server that was moved to, by others, is of no next failover.
func TestAnEarlierSelectionIsNoNextFailover(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[1], follow.Selected, serverC)
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverC, false)
	p.pass(5 * time.Millisecond)
	p.answer(serverB, true)
	p.hear(report(serverB, 2), seeds()...)
	p.is(follow.Up, serverB)
}

// An abort of the next failover does not take the present one back.
func TestAnAbortOfTheNextFailoverIsNotOfThisOne(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.push(seeds()[1], follow.Selected, serverC)
	p.push(seeds()[1], follow.Aborted, serverC)
	p.is(follow.Provisional, serverB)
	p.hear(report(serverB, 2), seeds()...)
	p.is(follow.Up, serverB)

	p = up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.push(seeds()[1], follow.Selected, serverA) // from B, which will not be the primary
	p.push(seeds()[0], follow.Aborted, serverB)
	p.is(follow.Up, serverA)
}

// A replica was selected in error, and by another sentinel just before the first selection had run
// out of time: it was given up with it, and not found when it was promoted.
func TestASelectionHasItsOwnTime(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	for range 59 {
		p.hear(report(serverA, 1), seeds()[1:]...)
		p.answer(serverB, false)
		p.pass(50 * time.Millisecond)
	}
	p.push(seeds()[1], follow.Selected, serverB)
	p.pass(60 * time.Millisecond)
	if n := count[follow.Mismatch](p); n != 1 {
		t.Errorf("the first is given up %d times", n)
	}
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
}

// A replica that was promoted was lost, and not announced. The next failover had begun just before
// that move was taken back, and was forgotten with it: the primary of before served without a
// fence.
func TestAFailoverThatBeginsBeforeAMoveIsTakenBack(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.step(follow.Died{Term: p.links[serverB], Err: errors.New("EOF")})
	for range 29 {
		p.pass(100 * time.Millisecond)
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.push(seeds()[1], follow.Selected, serverC)
	p.pass(100 * time.Millisecond)
	p.answer(serverA, true)
	p.is(follow.Fenced, serverA)
	p.pass(5 * time.Millisecond)
	p.answer(serverC, true)
	p.is(follow.Provisional, serverC)
}

// The sentinels had begun to tell names when they announced the replica that had been moved to by
// its address: it was not known by that name, and stayed provisional. The next failover had no
// fence.
func TestAMoveIsAnnouncedByAnotherAddress(t *testing.T) {
	named := func(r *follow.Report) *follow.Report {
		name := func(addr string) string { return "redis-" + addr }
		r.Addr = name(r.Addr)
		for i := range r.Replicas {
			r.Replicas[i].Addr = name(r.Replicas[i].Addr)
		}
		return r
	}
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.pass(time.Second)
	p.hear(named(report(serverA, 1)), seeds()[1])
	p.is(follow.Provisional, serverB)
	p.hear(named(report(serverB, 2)), seeds()[0])
	p.is(follow.Up, serverB)
	p.push(seeds()[0], follow.Selected, "redis-"+serverC)
	p.is(follow.Fenced, serverB)
	p.answer("redis-"+serverC, true)
	p.pass(time.Millisecond)
	p.hear(named(report(serverC, 3)), seeds()...)
	p.is(follow.Up, "redis-"+serverC)
}

// An operator gave a server the name, at the same epoch, and one sentinel that had gone wrong
// selected it. It was provisional, and the failover from there, whose leader named it, found no
// fence.
func TestAFailoverFromAServerThatIsProvisional(t *testing.T) {
	begin := func(report *follow.Report) *play {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, true)
		p.is(follow.Provisional, serverB)
		p.push(seeds()[1], follow.Selected, serverC)
		p.pass(2 * time.Millisecond)
		p.hear(report, seeds()[1])
		return p
	}
	p := begin(midway(serverB, 1))
	p.is(follow.Fenced, serverB)
	p.answer(serverC, true)
	p.is(follow.Provisional, serverC)

	p = begin(midway(serverA, 1)) // it leads a failover of the primary of before
	p.is(follow.Provisional, serverB)

	p = begin(midway(serverB, 1)) // it lies, and the others do not follow
	for range 80 {
		p.pass(100 * time.Millisecond)
		p.hear(midway(serverB, 1), seeds()[1])
		p.hear(report(serverA, 1), seeds()[0], seeds()[2])
	}
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
}

// The selection of the next failover was heard, and then, late, the announcement of the one that
// leads to the server it is from: it was taken for an earlier one, as its sentinel had not answered
// yet, and the move was provisional. Writes until the promotion were lost.
func TestAnAnnouncementIsLaterThanTheNextSelection(t *testing.T) {
	p := up(t, follow.Config{})
	p.pass(2 * time.Millisecond)
	p.push(seeds()[1], follow.Selected, serverC)
	p.push(seeds()[0], follow.Switched, serverB)
	p.answer(serverC, false)
	p.pass(5 * time.Millisecond)
	p.answer(serverB, true)
	p.is(follow.Fenced, serverB)
	p.pass(5 * time.Millisecond)
	p.answer(serverC, true)
	p.is(follow.Provisional, serverC)
}

// A failover led back before the client had heard of the one between: the selection of the present
// primary was dropped, and writes to the server between, until the promotion, were lost.
func TestTheNextFailoverLeadsBack(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[1], follow.Selected, serverA)
	p.is(follow.Up, serverA)
	p.pass(2 * time.Millisecond)
	p.hear(midway(serverB, 2), seeds()[1])
	p.pass(2 * time.Millisecond)
	p.hear(report(serverB, 2), seeds()[0])
	p.answer(serverB, true)
	p.is(follow.Fenced, serverB)
	p.promote(serverA)
	p.is(follow.Provisional, serverA)
}

// A selection that is heard after its replica was followed is not of the failover after that.
func TestALateSelectionIsNotOfTheNextFailover(t *testing.T) {
	for _, last := range []*follow.Report{report(serverB, 2), midway(serverA, 2)} {
		p := up(t, follow.Config{})
		p.hear(report(serverB, 2), seeds()...)
		p.answer(serverB, true)
		p.push(seeds()[0], follow.Selected, serverB)
		p.pass(5 * time.Millisecond)
		p.hear(last, seeds()[0])
		p.pass(time.Second)
		p.hear(report(serverC, 3), seeds()[1:]...)
		p.answer(serverC, true)
		p.is(follow.Up, serverC)
	}
}

// Nor does it hide that its sentinel leads the next one by now, whose selection was lost.
func TestALateSelectionHidesNone(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverA)
	p.pass(5 * time.Millisecond)
	p.step(follow.Heard{Sentinel: seeds()[0], ID: "id of " + seeds()[0], Asked: p.now, Missed: true, Report: midway(serverA, 1)})
	p.is(follow.Fenced, serverA)
}
