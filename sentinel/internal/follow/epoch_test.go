package follow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// Most called the server the primary, and only the one that had gone wrong told its epoch, as the
// others were midway: its epoch was taken, and true ones were not later for as long as it took most
// to agree on a lower one.
func TestAnEpochThatOneTellsWhileOthersAreMidwayIsNotTaken(t *testing.T) {
	p := newPlay(t, follow.Config{Mode: follow.PushOnly}) // in the others writes wait for a failover of which that tells
	midway := report(serverA, 1)
	midway.Midway = true
	p.hear(report(serverA, 1<<40), seeds()[0])
	p.hear(midway, seeds()[1:]...)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
	if epoch := p.state.View().Epoch; epoch > 1 {
		t.Errorf("epoch %d is taken", epoch)
	}
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.hear(report(serverB, 2), seeds()[1:]...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// The same when a move is taken back while there is no majority for anybody: the latest epoch, by
// which the next to be tried is chosen, may be invented.
func TestAnEpochThatOneTellsIsNotTakenWhenAMoveIsTakenBack(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.is(follow.Provisional, serverB)
	p.pass(time.Second)
	p.unheard(seeds()[1])
	p.hear(report(serverC, 1<<40), seeds()[2])
	p.push(seeds()[0], follow.Aborted, serverB)
	if v := p.state.View(); v.Phase != follow.Searching || v.Addr != serverC || v.Epoch > 1 {
		t.Errorf("it is %v for %s at epoch %d, want searching for %s at 1", v.Phase, v.Addr, v.Epoch, serverC)
	}
}

// Epochs had begun anew, and the next failover had the epoch that the primary had before: most
// announced it, and it was provisional for three seconds, in which no other failover was followed.
func TestWhatMostAnnounceAtTheEpochOfBeforeIsConfirmed(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.hear(report(serverB, 1), seeds()[0])
	p.is(follow.Provisional, serverB)
	p.hear(report(serverB, 1), seeds()[1])
	p.is(follow.Up, serverB)
}

// It had a lower epoch, which most had been seen to begin anew with: that was taken, and the move
// was provisional still when the next failover began.
func TestWhatMostAnnounceAtALowerEpochIsConfirmed(t *testing.T) {
	p := up(t, follow.Config{})
	p.hear(report(serverA, 2), seeds()...)
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.hear(report(serverA, 0), seeds()...)
	p.is(follow.Provisional, serverB)
	p.hear(report(serverB, 1), seeds()[1:]...)
	p.is(follow.Up, serverB)
	p.push(seeds()[1], follow.Selected, serverA)
	p.is(follow.Fenced, serverB)
}

// Epochs had begun anew, and those of some sentinels had caught up when most announced a move: they
// agreed on the server, but not on the epoch, and it was provisional when the next failover began.
func TestWhatMostAnnounceAtSeveralEpochsIsConfirmed(t *testing.T) {
	p := up(t, follow.Config{})
	moveToB(p)
	p.hear(report(serverB, 1), seeds()[1])
	p.is(follow.Provisional, serverB)
	p.step(follow.Heard{Sentinel: seeds()[2], ID: "another id", Asked: p.now, Report: report(serverB, 0)})
	p.is(follow.Up, serverB)
	p.push(seeds()[1], follow.Selected, serverC)
	p.is(follow.Fenced, serverB)
}

// One had invented an epoch of the primary, so that the next one's was to be as late, though nobody
// could have named that one before.
func TestAnInventedEpochOfBeforeKeepsNoMoveProvisional(t *testing.T) {
	p := newPlay(t, follow.Config{})
	p.hear(report(serverA, 9), seeds()[2])
	p.hear(report(serverA, 1), seeds()[:2]...)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
	moveToB(p)
	p.hear(report(serverB, 1), seeds()[0])
	p.is(follow.Provisional, serverB)
	p.hear(report(serverB, 1), seeds()[1])
	p.is(follow.Up, serverB)
}

// The client had not heard of a failover, and followed the next one. The primary between the two
// had been a replica as far as it knew, and was believed when one that had gone wrong announced it
// before it was demoted.
func TestWhoWasThePrimaryMeanwhileNeedsMost(t *testing.T) {
	replicating := func(r *follow.Report, b bool) *follow.Report {
		for i := range r.Replicas {
			r.Replicas[i].Usable = b || r.Replicas[i].Addr != serverB
		}
		return r
	}
	for what, c := range map[string]struct {
		now   string // the primary
		begin func(p *play, now *follow.Report)
	}{
		"announced": {serverC, func(p *play, now *follow.Report) {
			p.hear(now, seeds()[1])
			p.answer(serverC, true)
		}},
		"elected": {serverC, func(p *play, now *follow.Report) {
			p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
			p.hear(now, seeds()[1:]...)
			p.answer(serverC, true)
		}},
		"selected": {serverC, func(p *play, now *follow.Report) {
			p.push(seeds()[1], follow.Selected, serverC)
			p.answer(serverC, true)
			p.hear(now, seeds()[1:]...)
		}},
		"there and back": {serverA, func(p *play, now *follow.Report) {
			p.hear(now, seeds()[1:]...)
		}},
	} {
		p := up(t, follow.Config{})
		now := replicating(report(c.now, 3), false)
		c.begin(p, now)
		p.pass(10 * time.Millisecond)
		p.hear(now, seeds()[1:]...)
		p.hear(report(serverB, 4), seeds()[0])
		if p.links[serverB] != 0 {
			p.answer(serverB, true)
		}
		if last := p.state.View().Last; last != c.now {
			t.Errorf("%s: it is at %s", what, last)
			continue
		}
		p.pass(time.Second)
		p.hear(replicating(now, true), seeds()...)
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, true)
		p.is(follow.Provisional, serverB)
	}
}
