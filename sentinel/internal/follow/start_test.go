package follow_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// A client began during a planned failover, whose selection it had not heard, or had heard before
// its first decision, or the subscription was lost meanwhile. The primary of before served without
// a fence, and writes until the announcement were lost.
func TestAClientThatBeginsDuringAFailover(t *testing.T) {
	leader, others := seeds()[0], seeds()[1:]
	for what, begin := range map[string]func(p *play){
		"the leader says so": func(p *play) {
			p.hear(midway(serverA, 1), leader)
			p.hear(report(serverA, 1), others...)
			p.answer(serverA, true)
		},
		"the leader says so late": func(p *play) {
			p.hear(report(serverA, 1), others...)
			p.pass(time.Second)
			p.answer(serverA, true)
			p.hear(report(serverA, 1), others...)
			p.is(follow.Up, serverA)
			p.hear(midway(serverA, 1), leader)
		},
		"the leader says so as it is heard again": func(p *play) {
			p.hear(report(serverA, 1), seeds()...)
			p.answer(serverA, true)
			p.pass(100 * time.Millisecond)
			p.hear(report(serverA, 1), leader)
			p.pass(100 * time.Millisecond)
			p.step(follow.Heard{Sentinel: leader, ID: "id of " + leader, Asked: p.now, Missed: true, Report: midway(serverA, 1)})
		},
		"the selection came before the first decision": func(p *play) {
			p.hear(report(serverA, 1), leader)
			p.push(leader, follow.Selected, serverC)
			p.hear(report(serverA, 1), others...)
			p.answer(serverA, true)
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := newPlay(t, follow.Config{})
			begin(p)
			p.is(follow.Fenced, serverA)
			for p.links[serverC] == 0 {
				p.answer(serverB, false)
				p.pass(5 * time.Millisecond)
			}
			p.answer(serverC, true)
			p.is(follow.Provisional, serverC)
			p.hear(report(serverC, 2), seeds()...)
			p.is(follow.Up, serverC) // it was one failover, though any replica might have been selected
		})
	}
}

// What begins so ends as any failover does: aborted, over, or after a second.
func TestAFailoverFromBeforeTheStartMayEnd(t *testing.T) {
	for what, over := range map[string]func(p *play){
		"aborted": func(p *play) { p.push(seeds()[0], follow.Aborted, serverC) },
		"over":    func(p *play) { p.hear(report(serverA, 1), seeds()[0]) },
		"late":    func(p *play) { p.pass(time.Second) },
	} {
		t.Run(what, func(t *testing.T) {
			p := newPlay(t, follow.Config{})
			p.hear(report(serverA, 1), seeds()[1:]...)
			p.hear(midway(serverA, 1), seeds()[0])
			p.answer(serverA, true)
			p.is(follow.Fenced, serverA)
			p.pass(10 * time.Millisecond)
			over(p)
			p.is(follow.Up, serverA)
			waits := time.Duration(0)
			for range 100 { // one that has gone wrong says so again and again
				p.pass(100 * time.Millisecond)
				if p.state.Phase() == follow.Fenced {
					waits += 100 * time.Millisecond
				}
				p.unheard(seeds()[0])
				p.hear(midway(serverA, 1), seeds()[0])
				p.hear(report(serverA, 1), seeds()[1:]...)
			}
			if waits > time.Second {
				t.Errorf("writes have waited for %v", waits)
			}
		})
	}
	t.Run("aborted before the first decision", func(t *testing.T) {
		p := newPlay(t, follow.Config{})
		p.push(seeds()[0], follow.Selected, serverC)
		p.push(seeds()[0], follow.Aborted, serverC)
		p.hear(report(serverA, 1), seeds()...)
		p.answer(serverA, true)
		p.is(follow.Up, serverA)
	})
	t.Run("without fences", func(t *testing.T) {
		p := newPlay(t, follow.Config{Mode: follow.PushOnly})
		p.push(seeds()[0], follow.Selected, serverC)
		p.hear(report(serverA, 1), seeds()[1:]...)
		p.hear(midway(serverA, 1), seeds()[0])
		p.answer(serverA, true)
		p.is(follow.Up, serverA)
	})
}
