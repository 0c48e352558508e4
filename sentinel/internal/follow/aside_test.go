package follow_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// One sentinel had selected a server that hung, by mistake, and the replica that another one
// promoted meanwhile was not asked: writes were held back, and then went to the primary of before.
func TestASelectionThatHangsHidesNoOther(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverC) // which is dialled, and does not answer
	p.pass(50 * time.Millisecond)
	p.push(seeds()[1], follow.Selected, serverB)
	if p.links[serverB] != 0 {
		t.Fatalf("the first had 50 ms only: %+v", p.done)
	}
	p.pass(50 * time.Millisecond)
	p.pass(4 * time.Millisecond)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
}

// far answers each dial after a while, until B is the primary or no time is left.
func (p *play) far(wait, most time.Duration) {
	p.Helper()
	type dial struct {
		addr string
		at   time.Time
	}
	open := make(map[follow.Link]dial)
	for range most / time.Millisecond {
		p.pass(time.Millisecond)
		for _, e := range p.done {
			switch e := e.(type) {
			case follow.Dial:
				open[e.Link] = dial{e.Addr, p.now}
			case follow.End:
				delete(open, e.Link)
			}
		}
		p.done = nil
		if len(open) > 4 {
			p.Fatalf("there are %d connections to two servers", len(open))
		}
		for link, d := range open {
			if p.now.Sub(d.at) == wait {
				p.step(follow.Dialled{Link: link})
				p.step(follow.Answered{Link: link, Primary: d.addr == serverB})
			}
		}
		if p.state.View().Last == serverB {
			return
		}
	}
	p.Errorf("it is %v at %s", p.state.View().Phase, p.state.View().Last)
}

// Where each answer takes 600 ms the one that is right is found as soon as it has said so, whatever
// else was selected.
func TestOfTwoThatAreFarEachHasItsTime(t *testing.T) {
	t.Run("selected", func(t *testing.T) {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverC)
		p.push(seeds()[1], follow.Selected, serverB)
		p.far(600*time.Millisecond, 710*time.Millisecond)
	})
	t.Run("announced by one", func(t *testing.T) {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverC)
		p.pass(200 * time.Millisecond)
		p.hear(report(serverB, 2), seeds()[1])
		p.far(600*time.Millisecond, 602*time.Millisecond)
	})
}

// One that had gone wrong had selected a server that hung. Each time it was waited for twice as
// long, and the replica that was promoted meanwhile was not asked for 400 ms, in which writes
// waited.
func TestASelectionThatHangsHidesNoPromotion(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverC)
	p.pass(100 * time.Millisecond)
	p.push(seeds()[1], follow.Selected, serverB)
	for range 5 {
		p.pass(4 * time.Millisecond)
		p.answer(serverB, false)
		p.pass(4 * time.Millisecond)
		p.done = nil
		for i := 0; count[follow.Dial](p) == 0 && i < 12; i++ {
			p.pass(10 * time.Millisecond)
		}
		if count[follow.Dial](p) == 0 {
			t.Fatal("the other is not asked for 120 ms")
		}
	}
}

// The answer of one that was put aside is taken, unless most have named another since.
func TestWhatWasPutAsideAnswers(t *testing.T) {
	aside := func(t *testing.T) (*play, follow.Link) {
		t.Helper()
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverC)
		p.pass(time.Millisecond)
		link := p.links[serverC]
		p.push(seeds()[1], follow.Selected, serverB)
		p.pass(100 * time.Millisecond)
		p.pass(4 * time.Millisecond)
		p.step(follow.Dialled{Link: p.links[serverB]})
		p.done = nil
		return p, link
	}
	ended := func(p *play, link follow.Link) bool {
		return slices.Contains(p.done, follow.Effect(follow.End{Link: link}))
	}
	t.Run("a primary", func(t *testing.T) {
		p, link := aside(t)
		p.step(follow.Dialled{Link: link})
		p.step(follow.Answered{Link: link, Primary: true})
		p.is(follow.Provisional, serverC)
		if !ended(p, p.links[serverB]) {
			t.Error("the question to the other is not ended")
		}
	})
	t.Run("a replica", func(t *testing.T) {
		p, link := aside(t)
		p.step(follow.Dialled{Link: link})
		p.step(follow.Answered{Link: link})
		p.is(follow.Fenced, serverA)
		if !ended(p, link) || ended(p, p.links[serverB]) {
			t.Errorf("it was not that link that ended: %+v", p.done)
		}
	})
	t.Run("a replica, and it was the primary meanwhile", func(t *testing.T) {
		p, link := aside(t)
		p.pass(time.Millisecond)
		p.hear(report(serverC, 2), seeds()[1:]...)
		back := report(serverA, 3)
		back.Replicas[1].Usable = false // it is not demoted yet
		p.hear(back, seeds()...)
		p.step(follow.Dialled{Link: link})
		p.step(follow.Answered{Link: link})
		p.push(seeds()[0], follow.Selected, serverC)
		p.pass(20 * time.Millisecond)
		p.answer(serverC, true)
		if last := p.state.View().Last; last != serverA {
			t.Errorf("it is at %s", last)
		}
	})
	t.Run("lost", func(t *testing.T) {
		p, link := aside(t)
		p.step(follow.Failed{Link: link, Err: errors.New("refused")})
		p.done = nil
		p.step(follow.Dialled{Link: link})
		if !ended(p, link) {
			t.Errorf("a link that has failed is used: %+v", p.done)
		}
	})
	t.Run("aborted", func(t *testing.T) {
		p, link := aside(t)
		p.push(seeds()[0], follow.Aborted, serverC)
		if !ended(p, link) {
			t.Errorf("nobody has selected it any more: %+v", p.done)
		}
	})
	t.Run("most name another", func(t *testing.T) {
		p, link := aside(t)
		p.hear(report(serverB, 2), seeds()[1:]...)
		if !ended(p, link) {
			p.step(follow.Dialled{Link: link})
			p.step(follow.Answered{Link: link, Primary: true})
		}
		p.is(follow.Fenced, serverA)
		if !ended(p, link) {
			t.Errorf("it is asked on: %+v", p.done)
		}
	})
	t.Run("most name it", func(t *testing.T) { // it was dialled anew, and its answer came later by the time of a dial
		p, link := aside(t)
		p.hear(report(serverC, 2), seeds()[0], seeds()[2])
		p.step(follow.Dialled{Link: link})
		p.step(follow.Answered{Link: link, Primary: true})
		p.is(follow.Fenced, serverC) // where B was selected later
	})
	t.Run("forced away", func(t *testing.T) {
		p, link := aside(t)
		p.step(follow.Force{})
		if !ended(p, link) {
			t.Errorf("it is asked on: %+v", p.done)
		}
	})
}

// One that had gone wrong selected one server and announced another, neither of which answered,
// without end: they were dialled 200 times a second where dials were refused. Where they hang it is
// ten times, however many there are.
func TestServersThatDoNotAnswerAreDialledSeldom(t *testing.T) {
	for what, takes := range map[string]time.Duration{"refused": time.Millisecond, "silent": time.Second} {
		p := up(t, follow.Config{Mode: follow.FenceOnly})
		open := make(map[follow.Link]time.Time)
		dials := 0
		for i := range 10_000 {
			if i%100 == 0 {
				p.push(seeds()[0], follow.Selected, serverB)
				p.hear(report(serverC, int64(2+i)), seeds()[0])
				p.hear(report(serverA, 1), seeds()[1:]...)
			}
			p.pass(time.Millisecond)
			for _, e := range p.done {
				switch e := e.(type) {
				case follow.Dial:
					dials++
					open[e.Link] = p.now
				case follow.End:
					delete(open, e.Link)
				}
			}
			p.done = nil
			for link, since := range open {
				if p.now.Sub(since) >= takes {
					delete(open, link)
					p.step(follow.Failed{Link: link, Err: errors.New("no answer")})
				}
			}
		}
		if dials > 110 || dials < 20 {
			t.Errorf("%s: %d dials in 10 s", what, dials)
		}
	}
}

// Two replicas were selected, and each had a new connection each time that it was asked: a hundred
// a second.
func TestThoseThatAreAskedInTurnKeepTheirConnections(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverC)
	p.push(seeds()[1], follow.Selected, serverB)
	asked := make(map[follow.Link]int)
	for range 200 {
		done := p.done
		p.done = nil
		for _, e := range done {
			switch e := e.(type) {
			case follow.Dial:
				p.step(follow.Dialled{Link: e.Link})
			case follow.Ask:
				asked[e.Link]++
				p.step(follow.Answered{Link: e.Link})
			case follow.End:
				t.Fatal("a connection is ended")
			}
		}
		p.pass(time.Millisecond)
	}
	for _, addr := range []string{serverB, serverC} {
		if n := asked[p.links[addr]]; n < 20 {
			t.Errorf("%s is asked %d times", addr, n)
		}
	}
	p.push(seeds()[0], follow.Aborted, serverC)
	p.push(seeds()[1], follow.Aborted, serverB)
	for _, addr := range []string{serverB, serverC} {
		if !slices.Contains(p.done, follow.Effect(follow.End{Link: p.links[addr]})) {
			t.Errorf("the connection to %s stays", addr)
		}
	}
}

// One that had gone wrong selected a replica again and again, and announced another. Each selection
// had a connection of its own, and they were without bound.
func TestOneThatIsSelectedAgainKeepsItsConnection(t *testing.T) {
	p := up(t, follow.Config{})
	open := make(map[follow.Link]bool)
	dials := 0
	for i := range 2000 {
		if i%7 == 0 {
			p.push(seeds()[0], follow.Selected, serverC)
		}
		if i%100 == 0 {
			p.hear(report(serverB, int64(2+i)), seeds()[0])
			p.hear(report(serverA, 1), seeds()[1:]...)
		}
		p.pass(time.Millisecond)
		for len(p.done) > 0 {
			done := p.done
			p.done = nil
			for _, e := range done {
				switch e := e.(type) {
				case follow.Dial:
					dials++
					open[e.Link] = true
					p.step(follow.Dialled{Link: e.Link})
				case follow.Ask:
					p.step(follow.Answered{Link: e.Link})
				case follow.End:
					delete(open, e.Link)
				}
			}
		}
		if len(open) > 2 {
			t.Fatalf("there are %d connections to two servers", len(open))
		}
	}
	if dials != 2 {
		t.Errorf("%d dials", dials)
	}
}

// A server refused the password, for good. Each time that one that had gone wrong selected it, it
// was dialled.
func TestAServerThatRefusesForGoodIsDialledSeldom(t *testing.T) {
	p := up(t, follow.Config{})
	dials := 0
	for i := range 10_000 {
		if i%5 == 0 {
			p.push(seeds()[0], follow.Selected, serverC)
		}
		if i%200 == 0 {
			p.hear(report(serverA, 1), seeds()...)
		}
		p.pass(time.Millisecond)
		done := p.done
		p.done = nil
		for _, e := range done {
			if d, ok := e.(follow.Dial); ok {
				dials++
				p.step(follow.Failed{Link: d.Link, Err: errors.New("WRONGPASS"), Permanent: true})
			}
		}
	}
	if dials > 60 || dials < 20 {
		t.Errorf("%d dials in 10 s", dials)
	}
}

// A sentinel that promotes a replica has it end all connections: it was dialled again only after
// the pause of one that refuses, while writes waited.
func TestAPromotedReplicaThatEndsItsConnectionsIsDialledAtOnce(t *testing.T) {
	for lasts, within := range map[time.Duration]bool{60 * time.Millisecond: true, 4 * time.Millisecond: false} {
		p := up(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, false)
		link := p.links[serverB]
		for range lasts / (4 * time.Millisecond) {
			p.pass(4 * time.Millisecond)
			p.step(follow.Answered{Link: link})
		}
		p.step(follow.Ended{Link: link, At: p.now, Err: errors.New("EOF")})
		if p.pass(4 * time.Millisecond); (p.links[serverB] != link) != within {
			t.Errorf("after %v: it is dialled at once: %v", lasts, !within)
		}
		p.pass(10 * time.Millisecond)
		p.answer(serverB, true)
		p.is(follow.Provisional, serverB)
	}
}
