package follow_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// Most called the server the primary, and only the one that had gone wrong told its epoch, as the
// others were midway: its epoch was taken, and true ones were not later for as long as it took most
// to agree on a lower one.
func TestAnEpochThatOneTellsWhileOthersAreMidwayIsNotTaken(t *testing.T) {
	p := newPlay(t, follow.Config{})
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
