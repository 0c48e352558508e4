package follow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// While the primary is forced away, what is heard is noted, and nothing is done, whatever the phase
// was before. Once it is given back it serves, unless it was replaced.
func TestNothingIsDoneWhileThePrimaryIsForced(t *testing.T) {
	died := func(p *play) { p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")}) }
	for what, begin := range map[string]func(*play){
		"up": func(*play) {},
		"searching": func(p *play) {
			died(p)
			p.pass(20 * time.Millisecond)
		},
		"returning": func(p *play) {
			died(p)
			p.pass(20 * time.Millisecond)
			p.answer(serverA, true)
		},
		"stalled":     func(p *play) { p.step(follow.Silent{Term: p.links[serverA], For: 300 * time.Millisecond}) },
		"repaired":    func(p *play) { p.step(follow.Ended{Link: p.links[serverA], At: p.now, Err: errors.New("EOF")}) },
		"fenced":      func(p *play) { p.push(seeds()[0], follow.Selected, serverB) },
		"provisional": func(p *play) { moveToB(p) },
		"a lower epoch is claimed": func(p *play) {
			died(p)
			p.hear(report(serverB, 0), seeds()...)
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := up(t, follow.Config{})
			begin(p)
			p.step(follow.Force{})
			p.step(follow.Force{})
			p.done = nil
			for _, r := range []*follow.Report{report(serverA, 1), report(serverC, 2), report(serverA, 3)} {
				p.push(seeds()[0], follow.Selected, r.Addr)
				p.push(seeds()[0], follow.Promoted, r.Addr)
				p.push(seeds()[0], follow.Switched, r.Addr)
				p.push(seeds()[1], follow.Aborted, r.Addr)
				for _, link := range p.links { // answers to earlier questions
					p.step(follow.Dialled{Link: link})
					p.step(follow.Answered{Link: link, Primary: true})
				}
				p.hear(r, seeds()...)
				p.pass(2 * time.Second)
				p.hear(r, seeds()...)
			}
			for _, e := range p.done {
				switch e.(type) {
				case follow.Poll, follow.Wake, follow.End:
				default:
					t.Errorf("%T", e)
				}
			}
			p.step(follow.Reset{})
			p.step(follow.Reset{})
			p.pass(20 * time.Millisecond)
			p.answer(serverA, true)
			p.hear(report(serverA, 3), seeds()...)
			p.is(follow.Up, serverA)
		})
	}
}

// moveToB has B serve before it is announced.
func moveToB(p *play) {
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
}

// A move was taken back while the primary was forced away: the server that was to be asked then had
// not answered in time when it was given back.
func TestAMoveThatIsAbortedWhileThePrimaryIsForcedIsTakenBackLater(t *testing.T) {
	p := up(t, follow.Config{})
	moveToB(p)
	p.step(follow.Force{})
	p.push(seeds()[0], follow.Aborted, serverB)
	p.pass(5 * time.Second)
	p.hear(report(serverA, 1), seeds()...)
	if count[follow.Reverted](p) != 0 {
		t.Error("it is taken back while the primary is forced away")
	}
	p.step(follow.Reset{})
	if count[follow.Reverted](p) != 1 || count[follow.Mismatch](p) != 0 {
		t.Errorf("the move is taken back %d times, %d servers have not answered", count[follow.Reverted](p), count[follow.Mismatch](p))
	}
	p.answer(serverA, true)
	p.is(follow.Up, serverA)

	p = up(t, follow.Config{})
	moveToB(p)
	p.step(follow.Force{})
	p.push(seeds()[0], follow.Aborted, serverB) // one that has gone wrong
	p.hear(report(serverB, 2), seeds()...)
	p.step(follow.Reset{})
	p.pass(20 * time.Millisecond)
	p.answer(serverB, true)
	p.hear(report(serverB, 2), seeds()...)
	if p.is(follow.Up, serverB); count[follow.Reverted](p) != 0 {
		t.Error("a move that was announced is taken back")
	}
}

// What was published while the primary was forced away is followed for three seconds: an
// announcement is nothing that a selection is.
func TestWhatIsFollowedOnceThePrimaryIsGivenBack(t *testing.T) {
	for what, c := range map[string]struct {
		kind  follow.PushKind
		after time.Duration
		want  bool
	}{
		"a selection":            {follow.Selected, 2900 * time.Millisecond, true},
		"a selection of before":  {follow.Selected, 3100 * time.Millisecond, false},
		"no more than published": {follow.Switched, time.Second, false},
	} {
		p := up(t, follow.Config{})
		p.step(follow.Force{})
		p.hear(report(serverA, 1), seeds()...)
		p.push(seeds()[0], c.kind, serverB)
		for range 10 {
			p.pass(c.after / 10)
			p.hear(report(serverA, 1), seeds()[1:]...) // its leader is not heard
		}
		p.step(follow.Reset{})
		if v := p.state.View(); !errors.Is(v.Cause, follow.ErrStarting) {
			t.Errorf("%s: given back, the cause is %v", what, v.Cause)
		}
		if p.pass(20 * time.Millisecond); (p.links[serverB] != 0) != c.want {
			t.Errorf("%s: the other is dialled: %t", what, !c.want)
		}
	}
}
