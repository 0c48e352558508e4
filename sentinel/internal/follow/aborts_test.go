package follow_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// One that had gone wrong selected a replica and aborted that in turn: the replica was dialled each
// time. It answers, so that it did not count as one that is dialled in vain.
func TestWhatIsSelectedAndAbortedInTurnIsDialledSeldom(t *testing.T) {
	for what, liar := range map[string]func(p *play, i int){
		"aborted": func(p *play, i int) {
			p.push(seeds()[0], []follow.PushKind{follow.Selected, follow.Aborted}[i%2], serverB)
		},
		"said to be over": func(p *play, i int) {
			if i%2 == 0 {
				p.push(seeds()[0], follow.Selected, serverB)
				return
			}
			p.hear(report(serverA, 1), seeds()[0])
		},
		"beside another": func(p *play, i int) {
			if i%100 == 0 {
				p.push(seeds()[1], follow.Selected, serverC)
			}
			p.push(seeds()[0], []follow.PushKind{follow.Selected, follow.Aborted}[i%2], serverB)
		},
	} {
		p := up(t, follow.Config{})
		dials := 0
		for i := range 1000 {
			liar(p, i)
			if i%20 == 0 {
				p.hear(report(serverA, 1), seeds()[1:]...)
			}
			for range 10 {
				p.pass(time.Millisecond)
				for len(p.done) > 0 {
					done := p.done
					p.done = nil
					for _, e := range done {
						switch e := e.(type) {
						case follow.Dial:
							dials++
							p.step(follow.Dialled{Link: e.Link})
						case follow.Ask:
							p.step(follow.Answered{Link: e.Link})
						}
					}
				}
			}
		}
		if dials > 70 {
			t.Errorf("%s: %d dials in 10 s", what, dials)
		}
		p.push(seeds()[2], follow.Selected, serverB) // a true one is found in time all the same
		p.pass(250 * time.Millisecond)
		p.answer(serverB, true)
		if v := p.state.View(); v.Last != serverB {
			t.Errorf("%s: it is at %s", what, v.Last)
		}
	}
}
