package follow_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

const evil = "10.6.6.6:6379"

// withReplica is a report that has one more replica, some times.
func withReplica(r *follow.Report, addr string, times int) *follow.Report {
	for range times {
		r.Replicas = append(r.Replicas, follow.Replica{Addr: addr, RunID: "id of " + addr, Usable: true})
	}
	return r
}

func withPeers(r *follow.Report, times int, addrs ...string) *follow.Report {
	for _, addr := range addrs {
		for range times {
			r.Peers = append(r.Peers, follow.Peer{ID: "id of " + addr, Addr: addr})
		}
	}
	return r
}

func (p *play) unheard(sentinels ...string) {
	for _, addr := range sentinels {
		p.step(follow.Unheard{Sentinel: addr, Asked: p.now})
	}
}

// listed reports whether addr is among the replicas that may be asked.
func (p *play) listed(addr string) bool {
	for _, r := range p.state.View().Replicas {
		if r.Addr == addr {
			return true
		}
	}
	return false
}

// Who says the same as others, at an invented epoch, made it the present one: the next failover was
// not followed.
func TestAnInventedEpochIsNotTaken(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.PushOnly})
	p.hear(report(serverB, 1<<40), seeds()[0])
	p.hear(report(serverB, 2), seeds()[1:]...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	if got := p.state.View().Epoch; got != 2 {
		t.Errorf("the epoch is %d", got)
	}
}

// The first to announce a true failover gave it an invented epoch. What the others announced later
// was older, and not followed while the primary of before lived.
func TestAnEpochThatOneAloneTellsIsNotTaken(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.PushOnly})
	p.hear(report(serverB, 1<<40), seeds()[0])
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	if got := p.state.View().Epoch; got != 1 {
		t.Errorf("one sentinel has made it epoch %d", got)
	}
	p.hear(report(serverB, 2), seeds()[1:]...)
	if got := p.state.View().Epoch; got != 2 {
		t.Errorf("most say 2, and the epoch is %d", got)
	}
	p.hear(report(serverC, 3), seeds()[1:]...)
	p.answer(serverC, true)
	p.is(follow.Up, serverC)
}

// A primary of before came back as a primary, and one sentinel that had gone wrong announced it
// before the others had demoted it.
func TestAPrimaryOfBeforeNeedsMost(t *testing.T) {
	for _, known := range []bool{true, false} { // to be a primary of before, by the client
		t.Run(fmt.Sprint(known), func(t *testing.T) {
			p := newPlay(t, follow.Config{})
			said, epoch := serverB, int64(2)
			if known {
				said, epoch = serverA, 1
			}
			back := func(addr string) *follow.Report {
				r := report(addr, epoch)
				for i := range r.Replicas {
					r.Replicas[i].Usable = r.Replicas[i].Addr != serverA
				}
				return r
			}
			p.hear(back(said), seeds()...)
			p.answer(said, true)
			p.pass(time.Second)
			if epoch = 2; known {
				p.hear(back(serverB), seeds()...)
				p.answer(serverB, true)
			}
			p.is(follow.Up, serverB)
			for i := range 20 {
				p.pass(time.Second)
				p.hear(back(serverB), seeds()[1:]...)
				p.push(seeds()[0], follow.Selected, serverA)
				p.hear(report(serverA, int64(99+i)), seeds()[0])
				p.push(seeds()[0], follow.Switched, serverA)
				if link := p.links[serverA]; link != 0 {
					p.step(follow.Dialled{Link: link})
					p.step(follow.Answered{Link: link, Primary: true})
				}
				if v := p.state.View(); v.Last != serverB {
					t.Fatalf("it is at %s", v.Last)
				}
			}
			epoch = 200
			p.hear(back(serverA), seeds()...)
			p.answer(serverA, true)
			p.is(follow.Up, serverA)
		})
	}
}

// Most named a server when it was asked, one of them late. When it answers they do not.
func TestAnAnnouncementMayGrowOld(t *testing.T) {
	p := newPlay(t, follow.Config{Mode: follow.PushOnly})
	p.hear(&follow.Report{Addr: serverB, Epoch: 1, Replicas: []follow.Replica{{Addr: serverA}}}, seeds()...)
	p.answer(serverB, true)
	both := func(addr, other string, epoch int64) *follow.Report {
		return &follow.Report{Addr: addr, Epoch: epoch, Replicas: []follow.Replica{{Addr: other}}}
	}
	p.hear(both(serverA, serverB, 2), seeds()[:2]...)
	p.step(follow.Dialled{Link: p.links[serverA]})
	p.hear(both(serverB, serverA, 3), seeds()[1])
	p.step(follow.Answered{Link: p.links[serverA], Primary: true})
	p.is(follow.Up, serverB)
}

// A replica that was away has come back as a primary, as one whose configuration is not kept. One
// sentinel says that this is its will.
func TestAReplicaThatWasLostNeedsMost(t *testing.T) {
	p := up(t, follow.Config{})
	lost := report(serverA, 1)
	lost.Replicas[0].Usable, lost.Replicas[0].Lost = false, true
	p.hear(lost, seeds()[1:]...)
	p.push(seeds()[0], follow.Selected, serverB)
	p.hear(report(serverB, 2), seeds()[0])
	p.answer(serverB, true)
	p.is(follow.Fenced, serverA)
	p.hear(report(serverB, 2), seeds()[1])
	p.pass(10 * time.Millisecond)
	p.step(follow.Answered{Link: p.links[serverB], Primary: true})
	p.is(follow.Up, serverB)
}

// A name was removed and monitored at another server while the old one went on as a primary: it was
// served for as long as it lived.
func TestANameThatIsMonitoredAnewIsFollowed(t *testing.T) {
	for _, epoch := range []int64{0, 1} { // 1 is that of before
		p := up(t, follow.Config{})
		anew := &follow.Report{Addr: serverC, RunID: "id of " + serverC, Epoch: epoch}
		for range 3 {
			p.pass(time.Second)
			p.step(follow.Beat{Term: p.links[serverA], Asked: p.now})
			p.hear(anew, seeds()...)
		}
		p.answer(serverC, true)
		p.is(follow.Up, serverC)
		if got := p.state.View().Epoch; got != epoch {
			t.Errorf("the epoch is %d, want %d", got, epoch)
		}
	}
}

// One sentinel selects it as well, and takes that back: this is no reason not to follow the others.
func TestASelectionHidesNoClaim(t *testing.T) {
	for _, mode := range []follow.Mode{follow.Eager, follow.FenceOnly} {
		p := up(t, follow.Config{Mode: mode})
		anew := &follow.Report{Addr: serverC, RunID: "id of " + serverC, Epoch: 1}
		p.push(seeds()[0], follow.Selected, serverC)
		p.hear(anew, seeds()[1:]...)
		p.answer(serverC, true)
		p.is(follow.Up, serverC)
	}
}

// Sentinels that are a failover behind do not undo it, though most of them are: they know the
// primary as a replica.
func TestSentinelsThatLagMoveNothing(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.PushOnly})
	p.hear(report(serverB, 2), seeds()[0])
	p.answer(serverB, true)
	for range 20 {
		p.pass(time.Second)
		p.hear(report(serverB, 2), seeds()[0])
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.is(follow.Up, serverB)
}

// One sentinel announces a replica again and again. It kept the client from asking the one that was
// selected.
func TestAFalseAnnouncementHidesNoSelection(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[1], follow.Selected, serverB)
	p.hear(report(serverC, 98), seeds()[0])
	p.answer(serverB, false)
	for i := range 20 {
		p.hear(report(serverC, int64(99+i)), seeds()[0])
		p.pass(5 * time.Millisecond)
		p.push(seeds()[0], follow.Selected, serverC)
		for _, addr := range []string{serverB, serverC} {
			p.step(follow.Dialled{Link: p.links[addr]})
			p.step(follow.Answered{Link: p.links[addr], Primary: addr == serverB})
		}
	}
	p.is(follow.Provisional, serverB)
}

// What was selected before, and was taken out of the cluster since, is not asked any more.
func TestASelectionIsForgottenWithItsServer(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverC)
	p.answer(serverC, false)
	p.pass(4 * time.Second) // it comes to nothing
	delete(p.links, serverC)
	without := report(serverA, 1)
	without.Replicas = without.Replicas[:1]
	p.hear(without, seeds()[1:]...)
	p.hear(report(serverA, 1), seeds()[0])
	p.push(seeds()[0], follow.Selected, serverB)
	p.push(seeds()[1], follow.Switched, serverB)
	p.answer(serverB, false)
	p.pass(10 * time.Millisecond)
	if p.links[serverC] != 0 {
		t.Error("a server is asked that most do not know any more")
	}
}

// Nor does one that never answers keep the client from an announcement.
func TestAServerThatHangsHidesNoAnnouncement(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.FenceOnly})
	p.push(seeds()[0], follow.Selected, serverC)
	p.pass(200 * time.Millisecond)
	p.hear(report(serverB, 2), seeds()[1])
	p.answer(serverB, true)
	p.is(follow.Fenced, serverB) // it may be of the next failover
}

// A promoted replica was held for the announcement of a failover that was undone, and kept the
// primary from returning.
func TestWhatIsHeldIsDropped(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.FenceOnly})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	for range 10 {
		p.pass(time.Second)
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.is(follow.Up, serverA)
	p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
	p.pass(10 * time.Millisecond)
	p.answer(serverA, true)
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.is(follow.Up, serverA)
}

// The replica was promoted, and died together with the sentinel that led the failover, before the
// others were told. It was dialled 250 times a second without end.
func TestWhatWasHeldAndIsLostIsGivenUp(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.FenceOnly})
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.is(follow.Fenced, serverA)
	p.step(follow.Ended{Link: p.links[serverB], At: p.now, Err: errors.New("EOF")})
	for range 10 * time.Second / (5 * time.Millisecond) {
		p.done = nil
		p.pass(5 * time.Millisecond)
		for _, e := range p.done {
			if d, ok := e.(follow.Dial); ok {
				p.step(follow.Failed{Link: d.Link, Err: errors.New("refused")})
			}
		}
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.is(follow.Up, serverA)
	p.done = nil
	p.pass(5 * time.Millisecond)
	p.pass(5 * time.Millisecond)
	if n := count[follow.Dial](p); n != 0 {
		t.Errorf("it is dialled on: %+v", p.done)
	}
}

// One sentinel announces replicas without end. It kept the client from what most others agree on at
// a lower epoch.
func TestAFalseAnnouncementHidesNoClaim(t *testing.T) {
	p := up(t, follow.Config{})
	p.hear(report(serverA, 5), seeds()...)
	p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
	for i := 0; i < 100 && p.links[serverB] == 0; i++ {
		p.pass(50 * time.Millisecond)
		p.hear(report(serverC, int64(99+i)), seeds()[0])
		p.hear(report(serverB, 0), seeds()[1:]...)
		if p.links[serverC] != 0 {
			p.step(follow.Dialled{Link: p.links[serverC]})
			p.step(follow.Answered{Link: p.links[serverC], Primary: false})
		}
	}
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// The leader of a failover that is announced waits for replicas to follow, and names the primary of
// before: the new one could not return for 15 s, and a stall of it was taken for its end.
func TestALeaderMayWaitForReplicas(t *testing.T) {
	p := up(t, follow.Config{})
	waits := report(serverA, 2)
	waits.Midway = true
	hear := func() {
		p.hear(waits, seeds()[0])
		p.hear(report(serverB, 2), seeds()[1:]...)
	}
	hear()
	p.answer(serverB, true)
	hear()
	p.is(follow.Up, serverB)
	p.step(follow.Silent{Term: p.links[serverB], For: 300 * time.Millisecond})
	p.is(follow.Stalled, serverB)
	p.step(follow.Died{Term: p.links[serverB], Err: errors.New("EOF")})
	p.pass(10 * time.Millisecond)
	p.answer(serverB, true)
	p.pass(10 * time.Millisecond)
	hear()
	p.is(follow.Up, serverB)
}

// One sentinel that waits for an hour, beside one that does not, had calls wait for half a minute.
func TestAFalseDownAfterKeepsNoCalls(t *testing.T) {
	p := up(t, follow.Config{})
	lie := report(serverA, 1)
	lie.DownAfter = time.Hour
	p.hear(lie, seeds()[0])
	p.unheard(seeds()[1])
	p.step(follow.Silent{Term: p.links[serverA], For: 300 * time.Millisecond})
	p.pass(701 * time.Millisecond)
	if p.is(follow.Searching, serverA); count[follow.Cut](p) != 1 {
		t.Errorf("%+v", p.done)
	}
}

// While the primary stalled, a sentinel announced one replica, and reported another: both were
// asked in turn, and the first said that it was the primary. The machine took a way that it does
// not have, and ended the process.
func TestAReplicaIsFollowedWhileThePrimaryStalls(t *testing.T) {
	p := up(t, follow.Config{})
	p.step(follow.Silent{Term: p.links[serverA], For: 300 * time.Millisecond})
	p.is(follow.Stalled, serverA)
	p.push(seeds()[0], follow.Switched, serverC)
	p.hear(report(serverB, 2), seeds()[0])
	for range 7 { // B hangs
		p.pass(20 * time.Millisecond)
	}
	p.answer(serverC, true)
	if p.is(follow.Provisional, serverC); count[follow.Cut](p) != 1 || count[follow.Strayed](p) != 0 {
		t.Errorf("%+v", p.done)
	}
}

// One sentinel announced, at a later epoch, a server that was not demoted yet: it was followed, for
// it might have led a failover. All others named the true primary on and on, at the epoch that the
// client knew, and that moved nothing.
func TestWhatOneAnnouncesYieldsToTheOthersInTheEnd(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.PushOnly})
	rest := func() {
		p.pass(time.Second)
		p.hear(report(serverB, 7), seeds()[0])
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.hear(report(serverB, 7), seeds()[0])
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	for range 5 {
		rest()
	}
	p.is(follow.Up, serverB) // the others may yet hear of it
	for range 3 {
		rest()
	}
	p.answer(serverA, true)
	for range 20 {
		p.is(follow.Up, serverA)
		rest()
	}
	if count[follow.Reborn](p) != 0 {
		t.Errorf("the epochs do not begin anew: %+v", p.done)
	}
}

// A failover that the others hear of late is not taken back.
func TestALateMajorityTakesNothingBack(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.PushOnly})
	p.hear(report(serverB, 2), seeds()[0])
	p.answer(serverB, true)
	for range 5 {
		p.pass(time.Second)
		p.hear(report(serverB, 2), seeds()[0])
		p.hear(report(serverA, 1), seeds()[1:]...)
	}
	p.done = nil
	for range 10 {
		p.pass(time.Second)
		p.hear(report(serverB, 2), seeds()...)
	}
	if p.is(follow.Up, serverB); count[follow.Dial](p) != 0 {
		t.Errorf("%+v", p.done)
	}
}

// A replica was restarted without a configuration, as a primary, and a sentinel that had gone wrong
// selected it: its word was believed, as it had been a replica before.
func TestARestartedReplicaIsDoubted(t *testing.T) {
	p := up(t, follow.Config{})
	restarted := report(serverA, 1)
	for i := range restarted.Replicas {
		if r := &restarted.Replicas[i]; r.Addr == serverB {
			r.RunID, r.Usable = "another", false
		}
	}
	p.hear(restarted, seeds()...)
	p.push(seeds()[0], follow.Selected, serverB)
	p.answer(serverB, true)
	p.is(follow.Fenced, serverA)
}

// What most announced had not answered in time, and came back. It was not asked again, as one that
// had gone wrong announced another server without end.
func TestAFalseAnnouncementHidesNothingThatWasTriedInVain(t *testing.T) {
	p := up(t, follow.Config{Mode: follow.PushOnly})
	for range 30 {
		p.hear(report(serverB, 2), seeds()[1:]...)
		p.pass(100 * time.Millisecond)
	}
	if count[follow.Mismatch](p) != 1 {
		t.Fatalf("it is not given up: %+v", p.done)
	}
	for i := range 30 {
		p.hear(report(serverC, int64(90+i)), seeds()[0])
		p.pass(20 * time.Millisecond)
		for _, addr := range []string{serverB, serverC} {
			p.step(follow.Dialled{Link: p.links[addr]})
			p.step(follow.Answered{Link: p.links[addr], Primary: addr == serverB})
		}
		if i%5 == 0 {
			p.hear(report(serverB, 2), seeds()[1:]...)
		}
	}
	p.is(follow.Up, serverB)
}
