package follow_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

const (
	serverA = "10.0.0.1:6379"
	serverB = "10.0.0.2:6379"
	serverC = "10.0.0.3:6379"
)

// seeds are the sentinels.
func seeds() []string { return []string{"10.0.1.1:26379", "10.0.1.2:26379", "10.0.1.3:26379"} }

// play steps a State by hand.
type play struct {
	*testing.T
	state *follow.State
	now   time.Time
	done  []follow.Effect // since the last look
	links map[string]follow.Link
}

func newPlay(t *testing.T, c follow.Config) *play {
	t.Helper()
	p := &play{T: t, now: time.Unix(1e9, 0), links: make(map[string]follow.Link)}
	if c.Seeds == nil {
		c.Seeds = seeds()
	}
	c.RepairTimeout = 300 * time.Millisecond
	if c.ResetTimeout == 0 {
		c.ResetTimeout = 2 * time.Second
	}
	var effects []follow.Effect
	p.state, effects = follow.NewState(p.now, c)
	p.take(effects)
	return p
}

func (p *play) take(effects []follow.Effect) {
	for _, e := range effects {
		if d, ok := e.(follow.Dial); ok {
			p.links[d.Addr] = d.Link
		}
	}
	p.done = append(p.done, effects...)
}

func (p *play) step(e follow.Event) { p.take(p.state.Step(p.now, e)) }

// pass has time pass, with a Tick whenever something may be due.
func (p *play) pass(d time.Duration) {
	const tick = 100 * time.Millisecond
	for ; d > tick; d -= tick {
		p.now = p.now.Add(tick)
		p.step(follow.Tick{})
	}
	p.now = p.now.Add(d)
	p.step(follow.Tick{})
}

// stop has time pass in which the process does not run.
func (p *play) stop(d time.Duration) { p.now = p.now.Add(d) }

// report is what a sentinel says of a primary, and two replicas.
func report(primary string, epoch int64) *follow.Report {
	r := &follow.Report{Addr: primary, RunID: "id of " + primary, Epoch: epoch, DownAfter: time.Second}
	for _, addr := range []string{serverA, serverB, serverC} {
		if addr != primary {
			r.Replicas = append(r.Replicas, follow.Replica{Addr: addr, RunID: "id of " + addr, Usable: true})
		}
	}
	return r
}

func (p *play) hear(r *follow.Report, sentinels ...string) {
	for _, addr := range sentinels {
		p.step(follow.Heard{Sentinel: addr, ID: "id of " + addr, Asked: p.now, Report: r})
	}
}

// answer has the server that was dialled say what it is.
func (p *play) answer(addr string, primary bool) {
	p.Helper()
	link := p.links[addr]
	if link == 0 {
		p.Fatalf("%s was not dialled: %+v", addr, p.done)
	}
	p.step(follow.Dialled{Link: link})
	p.step(follow.Answered{Link: link, Primary: primary})
}

// up has A serve.
func up(t *testing.T, c follow.Config) *play {
	t.Helper()
	p := newPlay(t, c)
	p.hear(report(serverA, 1), seeds()...)
	p.answer(serverA, true)
	p.is(follow.Up, serverA)
	p.pass(time.Second)
	p.hear(report(serverA, 1), seeds()...)
	p.done = nil
	return p
}

// promote has a server that was asked whether it is promoted answer that it is not, and a little
// later, asked again, that it is.
func (p *play) promote(addr string) {
	p.Helper()
	p.answer(addr, false)
	p.pass(5 * time.Millisecond)
	p.answer(addr, true)
}

func (p *play) is(phase follow.Phase, addr string) {
	p.Helper()
	if v := p.state.View(); v.Phase != phase || v.Last != addr {
		p.Errorf("it is %v at %s, want %v at %s", v.Phase, v.Last, phase, addr)
	}
}

// count is how many effects there were of a kind.
func count[E follow.Effect](p *play) (n int) {
	for _, e := range p.done {
		if _, ok := e.(E); ok {
			n++
		}
	}
	return n
}

func (p *play) push(sentinel string, kind follow.PushKind, addr string) {
	p.step(follow.Pushed{Sentinel: sentinel, Kind: kind, Addr: addr, Text: "push"})
}

// While a fence stood that another sentinel had raised, a sentinel began a failover. What it had
// said a moment before was taken for the end of it.
func TestAReportOfBeforeTheSelectionIsNoAbort(t *testing.T) {
	p := up(t, follow.Config{})
	leads := report(serverA, 1)
	leads.Midway = true
	p.push(seeds()[0], follow.Selected, serverC)
	p.pass(100 * time.Millisecond)
	p.hear(leads, seeds()[0])
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.pass(10 * time.Millisecond)
	p.push(seeds()[1], follow.Selected, serverB)
	p.hear(leads, seeds()[0])
	p.push(seeds()[0], follow.Aborted, serverC)
	p.is(follow.Fenced, serverA)
}

// What another sentinel says does not end a failover; what its leader says, or reports, does.
func TestAnAbortIsTheLeaders(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.is(follow.Fenced, serverA)
	p.push(seeds()[1], follow.Aborted, serverB)
	p.is(follow.Fenced, serverA)
	p.push(seeds()[0], follow.Aborted, serverB)
	p.is(follow.Up, serverA)
	if count[follow.Lift](p) != 1 {
		t.Errorf("%+v", p.done)
	}

	p.push(seeds()[0], follow.Selected, serverB)
	p.pass(10 * time.Millisecond)
	midway := report(serverA, 1)
	midway.Midway = true
	p.hear(midway, seeds()[0])
	p.hear(report(serverA, 1), seeds()[1:]...)
	p.is(follow.Fenced, serverA)
	p.hear(report(serverA, 1), seeds()[0])
	p.is(follow.Up, serverA)
}

// Two sentinels select different replicas, one of them in error: both are asked, and the one that
// is promoted is followed.
func TestEachSelectedReplicaIsAsked(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.push(seeds()[1], follow.Selected, serverC)
	p.answer(serverB, false)
	p.pass(5 * time.Millisecond)
	p.answer(serverC, true)
	p.is(follow.Provisional, serverC)
}

// Sentinels that begin to announce names instead of addresses speak of the same server, whatever
// epoch they give it.
func TestAServerIsKnownByItsRunID(t *testing.T) {
	p := up(t, follow.Config{})
	named := report(serverA, 4)
	named.Addr = "redis-a.example:6379"
	p.hear(named, seeds()[:2]...)
	p.pass(time.Second)
	p.hear(named, seeds()...)
	p.is(follow.Up, serverA)
	if len(p.links) != 1 || p.state.View().Epoch != 4 {
		t.Errorf("dialled %v, epoch %d", p.links, p.state.View().Epoch)
	}
}

func TestAllowHoldsForReplicas(t *testing.T) {
	p := up(t, follow.Config{Allow: []string{serverA, serverB}})
	if all := p.state.View().Replicas; len(all) != 1 || all[0].Addr != serverB {
		t.Errorf("%+v", all)
	}
	p.push(seeds()[0], follow.Selected, serverC)
	p.hear(report(serverC, 2), seeds()...)
	p.is(follow.Up, serverA)
	if p.links[serverC] != 0 {
		t.Error("a server that is not allowed is dialled")
	}
}

// A script that writes to a replica raises an alarm at each call. The primary and the sentinels are
// asked ten times a second at most.
func TestAlarmsAreBounded(t *testing.T) {
	p := up(t, follow.Config{})
	for range 1000 {
		p.step(follow.Alarm{Term: p.links[serverA]})
		p.pass(time.Millisecond)
	}
	if n := count[follow.Question](p); n < 8 || n > 11 {
		t.Errorf("%d questions in a second", n)
	}
}

// One sentinel invents others: nobody watches them. One that most name is watched, and votes.
func TestNobodyInventsVoters(t *testing.T) {
	p := up(t, follow.Config{})
	lie := report(serverA, 1)
	for i := range 100 {
		lie.Peers = append(lie.Peers, follow.Peer{ID: fmt.Sprint(i), Addr: fmt.Sprintf("10.9.9.9:%d", 1000+i)})
	}
	p.hear(lie, seeds()[0])
	if n := count[follow.Watch](p); n != 0 {
		t.Errorf("%d sentinels are watched that one has invented", n)
	}
	truth := report(serverA, 1)
	truth.Peers = []follow.Peer{{ID: "new", Addr: "10.0.1.4:26379"}}
	p.hear(truth, seeds()[1:]...)
	if !slices.Contains(p.done, follow.Effect(follow.Watch{Sentinel: "10.0.1.4:26379"})) {
		t.Errorf("%+v", p.done)
	}
}

// A stall of a healthy primary ends no call; its end is said once.
func TestAStallKeepsCalls(t *testing.T) {
	p := up(t, follow.Config{})
	term := p.links[serverA]
	p.step(follow.Silent{Term: term, For: 300 * time.Millisecond})
	p.is(follow.Stalled, serverA)
	p.pass(500 * time.Millisecond)
	p.step(follow.Beat{Term: term, Connected: p.now.Add(-time.Hour), Asked: p.now})
	p.is(follow.Up, serverA)
	if count[follow.Resume](p) != 1 || count[follow.Cut](p) != 0 {
		t.Errorf("%+v", p.done)
	}
	p.step(follow.Silent{Term: term, For: 300 * time.Millisecond})
	p.pass(701 * time.Millisecond)
	if p.is(follow.Searching, serverA); count[follow.Cut](p) != 1 {
		t.Errorf("%+v", p.done)
	}
}

// A failover that begins while the primary is silent ends the calls that were kept for it, though
// its selection was not heard.
func TestCallsAreKeptForNoPrimaryThatIsReplaced(t *testing.T) {
	leads := report(serverA, 1)
	leads.Midway = true
	for what, hear := range map[string]func(*play){
		"one leads a failover": func(p *play) { p.hear(leads, seeds()[0]) },
		"most name another":    func(p *play) { p.hear(report(serverB, 2), seeds()[1:]...) },
	} {
		p := up(t, follow.Config{StallTimeout: time.Minute, Allow: []string{serverA}})
		p.step(follow.Silent{Term: p.links[serverA], For: 300 * time.Millisecond})
		p.pass(time.Second)
		p.hear(report(serverA, 1), seeds()[0])
		if p.is(follow.Stalled, serverA); count[follow.Cut](p) != 0 {
			t.Errorf("%s: nothing has begun, and calls are ended", what)
		}
		hear(p)
		if p.is(follow.Searching, serverA); count[follow.Cut](p) != 1 {
			t.Errorf("%s: calls are kept", what)
		}
	}
}

// How long calls are kept, and how long an epoch of before is doubted, is the user's choice.
func TestTimesMayBeChosen(t *testing.T) {
	p := up(t, follow.Config{StallTimeout: 3 * time.Second})
	p.step(follow.Silent{Term: p.links[serverA], For: 300 * time.Millisecond})
	p.pass(2600 * time.Millisecond)
	p.is(follow.Stalled, serverA)
	p.pass(200 * time.Millisecond)
	p.is(follow.Searching, serverA)

	p = up(t, follow.Config{ResetTimeout: 5 * time.Second})
	elsewhere := report(serverB, 1)
	elsewhere.Replicas = elsewhere.Replicas[1:] // A is not of it
	for range 5 {
		p.hear(elsewhere, seeds()...)
		p.pass(time.Second - time.Millisecond)
	}
	if p.links[serverB] != 0 {
		t.Error("the name's new server is dialled too early")
	}
	p.pass(time.Second)
	p.hear(elsewhere, seeds()...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// A connection that is lost alone is replaced, and nobody is told that the primary is down.
func TestALostConnectionIsReplaced(t *testing.T) {
	p := up(t, follow.Config{})
	term, since := p.links[serverA], p.now.Add(-time.Minute)
	p.step(follow.Ended{Link: term, At: p.now, Err: errors.New("EOF")})
	p.answer(serverA, true)
	p.step(follow.Beat{Term: term, Connected: since, Asked: p.now.Add(time.Millisecond)})
	p.is(follow.Up, serverA)
	if count[follow.Hold](p) != 1 || count[follow.Rejoin](p) != 1 || count[follow.Down](p) != 0 {
		t.Errorf("%+v", p.done)
	}
}

// The end ends everything, whatever comes later.
func TestNothingHappensAfterClose(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverB)
	p.step(follow.Close{Err: errors.New("closed")})
	p.done = nil
	p.hear(report(serverB, 2), seeds()...)
	p.step(follow.Reset{})
	p.step(follow.Answered{Link: p.links[serverB], Primary: true})
	if p.is(follow.Closed, serverA); len(p.done) != 0 {
		t.Errorf("%+v", p.done)
	}
}

// One of three sentinels died with the primary, and the one that led the failover waited for a
// replica to follow, for minutes: the only other one to announce the new primary was not most, and
// as soon as that one was silent for a moment it was left, as one that is replaced.
func TestALeaderThatWaitsForReplicasIsNotTheNextFailover(t *testing.T) {
	for name, mode := range map[string]follow.Mode{"announced": follow.PushOnly, "selected": follow.Eager} {
		t.Run(name, func(t *testing.T) {
			p := up(t, follow.Config{Mode: mode})
			leader, other, dead := seeds()[0], seeds()[1], seeds()[2]
			p.step(follow.Unheard{Sentinel: dead, Asked: p.now})
			p.step(follow.Died{Term: p.links[serverA], Err: errors.New("dead")})
			midway := report(serverA, 2)
			midway.Midway = true
			p.hear(midway, leader)
			if mode == follow.Eager {
				p.push(leader, follow.Selected, serverB)
				p.answer(serverB, true)
			}
			p.hear(report(serverB, 2), other)
			if mode == follow.PushOnly {
				p.answer(serverB, true)
			}
			p.is(follow.Up, serverB)
			p.pass(10 * time.Second)
			p.hear(midway, leader)
			p.hear(report(serverB, 2), other)
			term := p.links[serverB]
			p.step(follow.Silent{Term: term, For: 300 * time.Millisecond})
			p.is(follow.Stalled, serverB)
			p.step(follow.Beat{Term: term, Connected: p.now.Add(-time.Second), Asked: p.now})
			p.is(follow.Up, serverB)
		})
	}
}

// A failover back began before the first was announced: its selection was not heard, and what was
// written between the announcement and the second promotion was lost.
func TestASelectionThatComesDuringAFailoverIsHeard(t *testing.T) {
	for _, mode := range []follow.Mode{follow.Eager, follow.FenceOnly} {
		p := up(t, follow.Config{Mode: mode})
		p.push(seeds()[0], follow.Selected, serverB)
		p.answer(serverB, true)
		p.pass(200 * time.Millisecond)
		p.push(seeds()[1], follow.Selected, serverA)
		p.hear(report(serverB, 2), seeds()...)
		p.is(follow.Fenced, serverB)
		p.push(seeds()[1], follow.Aborted, serverA)
		p.is(follow.Up, serverB)
	}
}

// One that was selected does not answer: the other that was is asked, once it is given up.
func TestWhatIsGivenUpMakesWayForOthers(t *testing.T) {
	p := up(t, follow.Config{})
	p.push(seeds()[0], follow.Selected, serverC)
	p.pass(2900 * time.Millisecond)
	p.push(seeds()[1], follow.Selected, serverB)
	p.done = nil
	p.pass(150 * time.Millisecond)
	p.answer(serverB, false)
}

// Epochs had begun anew, and the one at which the primary was announced before was kept. A replica
// that was selected, and answered after it was announced, was doubted for it until the question was
// given up: writes waited for seconds.
func TestAnEpochOfBeforeDoubtsNobody(t *testing.T) {
	p := newPlay(t, follow.Config{})
	p.hear(report(serverA, 10), seeds()...)
	p.answer(serverA, true)
	for range 4 {
		p.pass(time.Second)
		p.hear(report(serverA, 10), seeds()...)
	}
	for range 6 {
		p.pass(time.Second)
		p.hear(report(serverA, 0), seeds()...)
	}
	if epoch := p.state.View().Epoch; epoch != 0 {
		t.Fatalf("the epoch is %d, want 0", epoch)
	}
	p.push(seeds()[0], follow.Selected, serverB)
	p.pass(50 * time.Millisecond)
	p.hear(report(serverB, 1), seeds()...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}
