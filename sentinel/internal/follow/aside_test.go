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
		p.hear(report(serverC, 2), seeds()[1:]...)
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
