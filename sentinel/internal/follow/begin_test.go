package follow_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// A client that began during a failover had moved to the selected replica, and nothing was waited
// for: when the leader gave the failover up it stayed at a server that no sentinel names.
func TestAFirstPrimaryThatWasSelectedIsProvisional(t *testing.T) {
	begin := func() *play {
		p := newPlay(t, follow.Config{})
		p.hear(report(serverA, 1), seeds()...)
		p.push(seeds()[0], follow.Selected, serverC)
		p.promote(serverC)
		p.is(follow.Provisional, serverC)
		return p
	}
	p := begin()
	p.push(seeds()[0], follow.Aborted, serverC)
	p.pass(20 * time.Millisecond)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)

	p = begin() // its leader dies
	for range 3 {
		p.pass(time.Second)
		p.unheard(seeds()[0])
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.pass(20 * time.Millisecond)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)

	p = begin()
	p.hear(report(serverC, 2), seeds()[0])
	p.is(follow.Up, serverC)
}

// begun is a client that has just begun, and its servers: each answers after a while.
type begun struct {
	*play
	after   time.Duration
	coming  []coming
	primary map[follow.Link]bool
}

// coming is an event that is under way.
type coming struct {
	at    time.Time
	event follow.Event
}

// pass has a millisecond pass.
func (b *begun) pass() {
	b.now = b.now.Add(time.Millisecond)
	b.step(follow.Tick{})
	for len(b.coming) > 0 && !b.now.Before(b.coming[0].at) {
		e := b.coming[0].event
		b.coming = b.coming[1:]
		b.step(e)
	}
	for _, e := range b.done {
		switch e := e.(type) {
		case follow.Dial:
			b.primary[e.Link] = e.Addr == serverA
			b.coming = append(b.coming, coming{b.now.Add(b.after), follow.Dialled{Link: e.Link}})
		case follow.Ask:
			b.coming = append(b.coming, coming{b.now.Add(b.after), follow.Answered{Link: e.Link, Primary: b.primary[e.Link]}})
		}
	}
	b.done = nil
}

// A sentinel that had gone wrong, and selected a replica as a client began, or led a failover as
// well, kept the primary away for three seconds, or for fifteen.
func TestOneThatHasGoneWrongDelaysNoStart(t *testing.T) {
	liar, others := seeds()[0], seeds()[1:]
	const begins, goesOn = 20, 30 // milliseconds
	for what, act := range map[string]func(p *play, ms int){
		"selects before the first decision": func(p *play, ms int) {
			if ms < begins {
				p.push(liar, follow.Selected, serverC)
			}
		},
		"selects after it": func(p *play, ms int) {
			if ms == begins+1 {
				p.push(liar, follow.Selected, serverC)
			}
		},
		"selects, and leads a failover": func(p *play, ms int) {
			p.push(liar, follow.Selected, serverC)
			p.hear(midway(serverA, 2), liar)
		},
		"selects, and is silent then": func(p *play, ms int) {
			if ms == begins+1 {
				p.push(liar, follow.Selected, serverC)
				p.hear(midway(serverA, 2), liar)
			}
		},
		"selects, and aborts that": func(p *play, ms int) {
			p.push(liar, []follow.PushKind{follow.Selected, follow.Aborted}[ms%2], serverC)
		},
		"selects each": func(p *play, ms int) {
			p.push(liar, follow.Selected, []string{serverB, serverC}[ms%2])
		},
		"announces": func(p *play, ms int) {
			p.push(liar, follow.Switched, serverC)
			p.hear(report(serverC, 9), liar)
		},
	} {
		for _, mode := range []follow.Mode{follow.Eager, follow.FenceOnly, follow.PushOnly} {
			for _, after := range []time.Duration{2 * time.Millisecond, 120 * time.Millisecond} {
				t.Run(fmt.Sprintf("%s, mode %d, %v", what, mode, after), func(t *testing.T) {
					b := &begun{play: newPlay(t, follow.Config{Mode: mode}), after: after, primary: make(map[follow.Link]bool)}
					serves, writes := 0, 0
					for ms := 0; ms < 20_000 && writes == 0; ms++ {
						act(b.play, ms)
						if ms == begins || ms > begins && ms%100 == goesOn {
							b.hear(report(serverA, 1), others...)
						}
						if ms == begins {
							b.hear(report(serverA, 1), liar)
						}
						b.pass()
						phase := b.state.Phase()
						if serves == 0 && phase.Serves() {
							serves = ms
						}
						if writes == 0 && phase == follow.Up {
							writes = ms
						}
					}
					most := begins + 4*int(after.Milliseconds()) + 50
					if serves == 0 || serves > most || writes == 0 || writes > most+1000 {
						t.Errorf("there is a primary after %d ms, and it takes writes after %d ms", serves, writes)
					}
				})
			}
		}
	}
}

// A client began during a failover: too few told the epoch of the primary, as the leader was
// midway, and it counted as the first there is. Once the replica was promoted one that had gone
// wrong made a majority with another that had not heard of it, and commands went back.
func TestThoseWhoLagBehindLeadNobodyBackAtTheStart(t *testing.T) {
	p := newPlay(t, follow.Config{})
	wrong, leader, lags := seeds()[0], seeds()[1], seeds()[2]
	p.hear(report(serverC, 9), wrong)
	p.hear(midway(serverA, 3), leader)
	p.hear(report(serverA, 3), lags)
	p.push(leader, follow.Selected, serverB)
	p.answer(serverB, false)
	p.pass(20 * time.Millisecond)
	p.answer(serverA, true)
	p.is(follow.Fenced, serverA)
	p.pass(5 * time.Millisecond)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
	p.done = nil
	p.hear(report(serverA, 3), wrong)
	p.pass(100 * time.Millisecond)
	if n := count[follow.Dial](p); n > 0 {
		t.Errorf("the primary of before is asked: %+v", p.done)
	}
	p.hear(report(serverB, 4), leader)
	p.is(follow.Up, serverB)
}
