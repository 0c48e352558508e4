package follow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// A promoted replica was lost before it was announced: that it was promoted, which its leader
// publishes late, confirms nothing.
func TestAPromotionConfirmsNothingOfAServerThatIsDown(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.step(follow.Died{Term: p.links[serverB], Err: errors.New("EOF")})
	p.push(seeds()[0], follow.Promoted, serverB)
	for range 4 {
		p.pass(time.Second)
		p.hear(report(serverA, 1), seeds()...)
	}
	if n := count[follow.Reverted](p); n != 1 {
		t.Errorf("the move is taken back %d times", n)
	}
	p.answer(serverA, true)
	p.hear(report(serverA, 1), seeds()...)
	p.is(follow.Up, serverA)
}

// Sentinels other than the leader hear of a failover when it is announced: until then most name the
// primary of before, which says nothing. When the leader is silent they decide in the end.
func TestAMajorityAbortsNoFailoverBeforeItsTime(t *testing.T) {
	p := up(t, follow.Config{})
	others := func() {
		p.pass(100 * time.Millisecond)
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.push(seeds()[0], follow.Selected, serverB)
	p.unheard(seeds()[0])
	others()
	p.is(follow.Fenced, serverA)
	p.answer(serverB, true)
	for range 29 {
		others()
		p.is(follow.Provisional, serverB)
	}
	others()
	p.answer(serverA, true)
	p.is(follow.Up, serverA)

	p.push(seeds()[0], follow.Selected, serverB)
	for range 9 {
		others()
		p.is(follow.Fenced, serverA)
	}
	others()
	p.is(follow.Up, serverA)
}

// Nobody was heard when the sentinels should have announced the replica: it counted as announced.
// The failover had been undone, and commands went on there although all sentinels, heard again,
// named the primary of before.
func TestAMoveIsNotConfirmedWhileNobodyIsHeard(t *testing.T) {
	begin := func() *play {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, true)
		p.unheard(seeds()...)
		return p
	}
	back := func(p *play) {
		t.Helper()
		for range 3 {
			p.pass(500 * time.Millisecond)
			p.hear(report(serverA, 1), seeds()...)
		}
		p.answer(serverA, true)
		p.is(follow.Up, serverA)
	}
	t.Run("undone", func(t *testing.T) {
		p := begin()
		p.pass(5 * time.Second)
		p.is(follow.Provisional, serverB)
		back(p)
	})
	t.Run("announced", func(t *testing.T) {
		p := begin()
		p.pass(5 * time.Second)
		p.hear(report(serverB, 2), seeds()...)
		p.is(follow.Up, serverB)
		if count[follow.Reverted](p) != 0 || count[follow.Confirmed](p) != 1 {
			t.Errorf("it is not confirmed: %+v", p.done)
		}
	})
	t.Run("aborted", func(t *testing.T) {
		p := begin()
		p.push(seeds()[0], follow.Aborted, serverB)
		p.is(follow.Provisional, serverB)
		back(p)
	})
	t.Run("lost and back", func(t *testing.T) {
		p := begin()
		p.step(follow.Died{Term: p.links[serverB], Err: errors.New("EOF")})
		p.pass(5 * time.Second)
		p.answer(serverB, true)
		p.is(follow.Provisional, serverB)
		back(p)
	})
}

// The name was given to another server, at an epoch of before. One sentinel, which had gone wrong,
// had once announced the primary at a later one and then selected the new one: its word was
// doubted, and commands stayed where they were although all others named it.
func TestWhatMostNameIsNoSelection(t *testing.T) {
	for _, mode := range []follow.Mode{follow.Eager, follow.FenceOnly} {
		p := up(t, follow.Config{Mode: mode})
		p.hear(report(serverA, 4), seeds()[0])
		elsewhere := report(serverB, 1)
		elsewhere.Replicas = elsewhere.Replicas[1:] // A is not of it
		for range 2 {
			p.pass(time.Second)
			p.hear(elsewhere, seeds()[1:]...)
		}
		p.push(seeds()[0], follow.Selected, serverB)
		for range 2 {
			p.pass(500 * time.Millisecond)
			p.hear(elsewhere, seeds()[1:]...)
		}
		p.answer(serverB, true)
		p.is(follow.Up, serverB)
	}
}

// A server was asked, and taken out of the cluster: it was dialled on, and may be somebody else's.
func TestWhatIsTakenOutIsDialledNoMore(t *testing.T) {
	without := func(primary string, out int) *follow.Report {
		r := report(primary, 1)
		r.Replicas = append(r.Replicas[:out], r.Replicas[out+1:]...)
		return r
	}
	lost := func(p *play, addr string) {
		p.step(follow.Failed{Link: p.links[addr], Err: errors.New("EOF")})
		delete(p.links, addr)
	}
	t.Run("a replica", func(t *testing.T) {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, false)
		p.hear(without(serverA, 0), seeds()...)
		lost(p, serverB)
		if p.pass(2 * time.Second); p.links[serverB] != 0 {
			t.Error("it is dialled")
		}
	})
	t.Run("a replica, and then nobody is heard", func(t *testing.T) {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, false)
		p.unheard(seeds()...)
		lost(p, serverB)
		if p.pass(2 * time.Second); p.links[serverB] != 0 {
			t.Error("it is dialled")
		}
	})
	t.Run("a replica, and another one was selected", func(t *testing.T) {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverC)
		p.push(seeds()[1], follow.Selected, serverB)
		p.answer(serverC, false)
		p.pass(5 * time.Millisecond)
		p.answer(serverB, false) // C is to be asked next
		leads := without(serverA, 1)
		leads.Midway = true
		p.hear(leads, seeds()...)
		lost(p, serverC)
		for range 3 {
			p.pass(5 * time.Millisecond)
		}
		if p.links[serverC] != 0 {
			t.Error("it is dialled")
		}
		p.step(follow.Answered{Link: p.links[serverB], Primary: true})
		p.is(follow.Provisional, serverB)
	})
	t.Run("the last primary", func(t *testing.T) {
		p := up(t, follow.Config{Allow: []string{serverA, serverC}}) // nobody else is followed
		p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
		gone := report(serverB, 2)
		gone.Replicas = gone.Replicas[1:]
		p.hear(gone, seeds()...)
		delete(p.links, serverA)
		p.pass(300 * time.Millisecond)
		p.stop(4 * time.Second) // nobody is heard any more
		p.step(follow.Tick{})
		p.pass(300 * time.Millisecond)
		if p.links[serverA] != 0 {
			t.Error("it is dialled")
		}
	})
	t.Run("not the last primary of which nothing is known", func(t *testing.T) {
		p := up(t, follow.Config{})
		p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
		p.unheard(seeds()...)
		p.pass(time.Second)
		p.answer(serverA, true)
		p.is(follow.Up, serverA)
	})
}

// While no sentinel was heard a replica became the primary and was left again. When one of them,
// which had gone wrong, selected it, its word was believed.
func TestWhileNobodyIsHeardAReplicaMayBeAnything(t *testing.T) {
	for name, forced := range map[string]func(*play, follow.Event){
		"up":     func(*play, follow.Event) {},
		"forced": func(p *play, e follow.Event) { p.step(e) },
	} {
		t.Run(name, func(t *testing.T) { whileNobodyIsHeard(t, forced) })
	}
}

func whileNobodyIsHeard(t *testing.T, forced func(*play, follow.Event)) {
	t.Helper()
	p := up(t, follow.Config{})
	forced(p, follow.Force{})
	p.unheard(seeds()...)
	p.pass(time.Second)
	promoted := func(epoch int64) *follow.Report {
		r := report(serverB, epoch)
		r.Replicas[1].Usable = false // C still says that it is a primary
		return r
	}
	p.hear(promoted(3), seeds()...)
	forced(p, follow.Reset{})
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	p.pass(time.Second)
	p.hear(promoted(3), seeds()...)
	p.push(seeds()[0], follow.Selected, serverC)
	p.answer(serverC, true)
	p.is(follow.Fenced, serverB)
}

// An operator took the primary away, and a failover began meanwhile. What the sentinels published
// was not heard: when the primary was given back it served, and what was written until the
// promotion was lost.
func TestAFailoverThatBeginsWhileThePrimaryIsForced(t *testing.T) {
	begin := func() *play {
		p := up(t, follow.Config{})
		p.step(follow.Force{})
		p.pass(time.Second)
		p.hear(report(serverA, 1), seeds()...)
		p.push(seeds()[0], follow.Selected, serverB)
		if p.is(follow.Forced, serverA); p.links[serverB] != 0 {
			t.Error("a server is dialled")
		}
		p.pass(500 * time.Millisecond)
		return p
	}
	p := begin()
	p.step(follow.Reset{})
	p.pass(20 * time.Millisecond)
	p.answer(serverA, true)
	p.pass(20 * time.Millisecond)
	p.hear(report(serverA, 1), seeds()[1:]...) // the leader of the failover is not heard yet
	p.is(follow.Searching, serverA)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)

	p = begin()
	p.push(seeds()[0], follow.Aborted, serverB)
	p.step(follow.Reset{})
	p.pass(20 * time.Millisecond)
	p.answer(serverA, true)
	p.hear(report(serverA, 1), seeds()...)
	p.is(follow.Up, serverA)

	p = begin()
	p.pass(3 * time.Second) // it has come to nothing
	p.hear(report(serverA, 1), seeds()...)
	p.step(follow.Reset{})
	if p.pass(20 * time.Millisecond); p.links[serverB] != 0 {
		t.Error("a selection is followed that is over")
	}

	p = begin()
	p.hear(report(serverA, 3), seeds()...) // there and back: the last primary waited for the end of a failover that was over
	p.step(follow.Reset{})
	p.pass(20 * time.Millisecond)
	p.answer(serverA, true)
	p.hear(report(serverA, 3), seeds()...)
	p.is(follow.Up, serverA)
}

// A failover was aborted, and the push was lost, while there was no primary: the last one was not
// gone back to for three seconds, although the sentinel that had led the failover said that it was
// over.
func TestAFailoverThatIsOverKeepsNoPrimaryAway(t *testing.T) {
	back := func(p *play, r *follow.Report) {
		t.Helper()
		p.pass(20 * time.Millisecond)
		p.hear(r, seeds()...)
		p.pass(300 * time.Millisecond)
		p.answer(serverA, true)
		p.hear(r, seeds()...)
		p.is(follow.Up, serverA)
	}
	p := up(t, follow.Config{})
	p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
	p.push(seeds()[0], follow.Selected, serverB)
	back(p, report(serverA, 1))

	p = up(t, follow.Config{})
	p.step(follow.Force{})
	for _, to := range []string{serverB, serverA} { // there and back, and given back before anybody was asked
		p.pass(200 * time.Millisecond)
		p.push(seeds()[0], follow.Selected, to)
	}
	p.step(follow.Reset{})
	back(p, report(serverA, 3))
}

// A promoted replica was lost before it was announced. That its own failover was aborted was not
// heard for three seconds, and that the next one was took the move to it back.
func TestAnAbortAfterAPromotedReplicaIsLost(t *testing.T) {
	begin := func() *play {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, true)
		p.push(seeds()[1], follow.Selected, serverC)
		p.step(follow.Died{Term: p.links[serverB], Err: errors.New("EOF")})
		p.pass(100 * time.Millisecond)
		return p
	}
	p := begin()
	p.push(seeds()[1], follow.Aborted, serverC)
	if n := count[follow.Reverted](p); n != 0 {
		t.Error("the move is taken back, and another failover was aborted")
	}
	p = begin()
	p.push(seeds()[0], follow.Aborted, serverB)
	if n := count[follow.Reverted](p); n != 1 {
		t.Errorf("the move is taken back %d times, and its failover was aborted", n)
	}
	p = begin()
	p.hear(report(serverA, 1), seeds()[0])
	if n := count[follow.Reverted](p); n != 1 {
		t.Errorf("the move is taken back %d times, and its leader says that it is over", n)
	}
}

// A sentinel had ended one failover and begun the next before its answer was there that told of the
// end: that was taken for the end of both, and writes passed to a primary that was about to be
// replaced.
func TestTheEndOfAFailoverIsNotThatOfTheNext(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.pass(50 * time.Millisecond)
	asked := p.now
	p.pass(time.Millisecond)
	p.push(seeds()[0], follow.Selected, serverC)
	over := func() {
		p.step(follow.Heard{Sentinel: seeds()[0], ID: "id of " + seeds()[0], Asked: asked, Report: report(serverA, 1)})
	}
	over()
	if p.is(follow.Fenced, serverA); count[follow.Lift](p) != 0 {
		t.Error("the fence was lifted meanwhile")
	}
	p.pass(110 * time.Millisecond)
	p.answer(serverC, true)
	p.is(follow.Provisional, serverC)

	p = up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.push(seeds()[0], follow.Selected, serverC)
	p.pass(time.Millisecond)
	asked = p.now
	over()
	p.is(follow.Up, serverA)
}
