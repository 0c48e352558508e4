package follow_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// One sentinel that repeats itself was as good as many: what it invented was watched, voted, and
// got passwords.
func TestARepetitionCountsOnce(t *testing.T) {
	p := up(t, follow.Config{})
	p.hear(withPeers(withReplica(report(serverA, 1), evil, 5), 5, "10.9.9.9:1", "10.9.9.9:2"), seeds()[0])
	if n := count[follow.Watch](p); n != 0 {
		t.Errorf("%d sentinels are watched that one has invented", n)
	}
	if p.listed(evil) {
		t.Error("a replica that one sentinel has invented is used")
	}
}

// While most sentinels were away for a moment, one that had gone wrong was most of those that were
// left.
func TestAMajorityIsOfAllThatVote(t *testing.T) {
	p := up(t, follow.Config{})
	p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
	p.unheard(seeds()...)
	lie := withPeers(withReplica(report(evil, 9), serverA, 1), 1, "10.9.9.9:1")
	for range 10 {
		p.pass(time.Second)
		p.unheard(seeds()[1:]...)
		p.hear(lie, seeds()[0])
		p.push(seeds()[0], follow.Switched, evil)
	}
	p.hear(withReplica(report(serverA, 1), evil, 1), seeds()[0])
	if p.links[evil] != 0 || p.listed(evil) {
		t.Error("a server is asked that one sentinel has invented")
	}
	if n := count[follow.Watch](p); n != 0 {
		t.Errorf("%d sentinels are watched that one has invented", n)
	}
	for range 60 { // nobody waits for ever for sentinels that are gone
		p.unheard(seeds()...)
		p.pass(time.Second)
	}
	p.hear(report(serverC, 3), seeds()[2])
	p.answer(serverC, true)
	p.is(follow.Up, serverC)
}

// A sentinel took the id of one that was away for a moment, and that one was never heard again.
func TestATakenIDSilencesNobody(t *testing.T) {
	p := up(t, follow.Config{})
	p.unheard(seeds()[1])
	knowsNothing := &follow.Report{Addr: serverA, RunID: "id of " + serverA, Epoch: 1}
	p.step(follow.Heard{Sentinel: seeds()[0], ID: "id of " + seeds()[1], Asked: p.now, Report: knowsNothing})
	p.hear(report(serverB, 2), seeds()[1:]...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	if got := p.state.View().Epoch; got != 2 {
		t.Errorf("the epoch is %d", got)
	}
}

// Nor is one that was found silenced by one that the user gave.
func TestATakenIDSilencesNobodyWhoWasFound(t *testing.T) {
	p := newPlay(t, follow.Config{})
	found := "10.0.2.1:26379"
	p.unheard(seeds()[2]) // and never is
	p.hear(withPeers(report(serverA, 1), 1, found), seeds()[:2]...)
	p.hear(report(serverA, 1), found)
	p.answer(serverA, true)
	p.step(follow.Heard{Sentinel: seeds()[0], ID: "id of " + found, Asked: p.now, Report: &follow.Report{Addr: serverA, Epoch: 1}})
	p.hear(withPeers(report(serverB, 2), 1, found), seeds()[1])
	p.hear(report(serverB, 2), found)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// A sentinel that takes another's id, and says nearly the same, does not stand for it.
func TestATakenIDLendsNoVote(t *testing.T) {
	p := newPlay(t, follow.Config{})
	p.unheard(seeds()[2]) // and never is
	p.hear(report(serverA, 1), seeds()[:2]...)
	p.answer(serverA, true)
	for range 10 {
		p.pass(500 * time.Millisecond)
		p.step(follow.Heard{Sentinel: seeds()[0], ID: "id of " + seeds()[1], Asked: p.now, Report: withPeers(withReplica(report(serverA, 1), evil, 1), 1, "10.9.9.9:1")})
		if p.unheard(seeds()[1]); p.listed(evil) || count[follow.Watch](p) != 3 {
			t.Fatal("one sentinel is a majority")
		}
		p.hear(report(serverA, 1), seeds()[1])
		if p.listed(evil) || count[follow.Watch](p) != 3 {
			t.Fatal("one sentinel is a majority")
		}
	}
}

// A sentinel that is given by two addresses has one vote.
func TestASentinelThatIsGivenTwiceHasOneVote(t *testing.T) {
	p := newPlay(t, follow.Config{})
	for range 2 {
		for _, addr := range seeds()[:2] {
			p.step(follow.Heard{Sentinel: addr, ID: "one", Asked: p.now, Report: withReplica(report(evil, 2), serverA, 1)})
		}
		p.hear(report(serverA, 1), seeds()[2])
	}
	if p.links[evil] != 0 {
		t.Error("one sentinel is a majority of two")
	}
}

// A sentinel that does not know the name has no vote on it: it kept the primary from returning, and
// a client from its start.
func TestASentinelThatDoesNotKnowTheNameHasNoVote(t *testing.T) {
	p := newPlay(t, follow.Config{})
	unknown := errors.New("unknown")
	stranger := func() { p.step(follow.Heard{Sentinel: seeds()[1], ID: "b", Asked: p.now, Err: unknown}) }
	p.hear(report(serverA, 1), seeds()[0])
	stranger()
	p.unheard(seeds()[2])
	if v := p.state.View(); errors.Is(v.Cause, unknown) {
		t.Errorf("there is no primary because of %v", v.Cause)
	}
	p.answer(serverA, true)
	p.step(follow.Died{Term: p.links[serverA], Err: errors.New("EOF")})
	p.pass(time.Second)
	p.answer(serverA, true)
	stranger()
	p.hear(report(serverA, 1), seeds()[0])
	p.is(follow.Up, serverA)

	p = newPlay(t, follow.Config{})
	for _, addr := range seeds() {
		p.step(follow.Heard{Sentinel: addr, ID: addr, Asked: p.now, Err: unknown})
	}
	if v := p.state.View(); !errors.Is(v.Cause, unknown) {
		t.Errorf("nobody knows the name, and the cause is %v", v.Cause)
	}
}

// All sentinels are replaced, one after the other, and then those that replaced them.
func TestSentinelsMayAllBeReplaced(t *testing.T) {
	p := up(t, follow.Config{})
	all := seeds()
	for i := range 12 {
		fresh := fmt.Sprintf("10.0.2.%d:26379", i)
		p.unheard(all[0])
		all = append(all[1:], fresh)
		for range 70 {
			for _, addr := range all {
				p.hear(withPeers(report(serverA, 1), 1, all...), addr)
			}
			p.pass(time.Second)
		}
	}
	p.hear(report(serverA, 1), all...) // SENTINEL RESET: for a moment they do not know of each other
	p.hear(report(serverB, 2), all...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// The last of the sentinels that the user gave does not choose the others.
func TestTheLastThatWasGivenInventsNobody(t *testing.T) {
	p := up(t, follow.Config{})
	found := []string{"10.0.2.1:26379", "10.0.2.2:26379"}
	for range 2 {
		p.hear(withPeers(report(serverA, 1), 1, append(found, seeds()...)...), append(found, seeds()...)...)
	}
	if n := count[follow.Watch](p); n != 2 {
		t.Fatalf("%d are watched", n)
	}
	p.unheard(seeds()[1:]...)
	for range 70 {
		p.pass(time.Second)
		p.hear(withPeers(report(serverA, 1), 1, append(found, seeds()...)...), found...)
		p.hear(withPeers(report(serverA, 1), 1, "10.9.9.9:1", "10.9.9.9:2"), seeds()[0])
	}
	p.hear(report(serverB, 2), found...)
	p.answer(serverB, true)
	if p.is(follow.Up, serverB); count[follow.Watch](p) != 2 {
		t.Error("sentinels are watched that one has invented")
	}
}

// One sentinel was given, and all were away for a moment. Who was heard first then named the others
// and not itself, and lost its vote, one after another: nobody was left who had one, and commands
// went back to the old primary although all the others named a new one.
func TestWhoIsHeardAloneKeepsItsVote(t *testing.T) {
	given, found := seeds()[:1], []string{"10.0.2.1:26379", "10.0.2.2:26379", "10.0.2.3:26379", "10.0.2.4:26379"}
	hear := func(p *play, primary string, epoch int64, by string) {
		r := report(primary, epoch)
		for _, addr := range append(given, found...) {
			if addr != by {
				r.Peers = append(r.Peers, follow.Peer{ID: "id of " + addr, Addr: addr})
			}
		}
		p.step(follow.Heard{Sentinel: by, ID: "id of " + by, Asked: p.now, Report: r})
	}
	p := newPlay(t, follow.Config{Seeds: given})
	hear(p, serverA, 1, given[0])
	for _, by := range found {
		hear(p, serverA, 1, by)
	}
	p.answer(serverA, true)
	p.pass(time.Second)
	p.unheard(append(given, found...)...)
	p.pass(time.Second)
	for _, by := range found { // the one that was given knows nothing yet
		hear(p, serverB, 2, by)
	}
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// SENTINEL RESET at all of them had those that were found lose their votes at once. The only one
// that was given had not heard of a failover yet, and commands stayed at the old primary. One that
// has another id by then has no vote before it is named.
func TestAResetTakesNobodysVote(t *testing.T) {
	given, found := seeds()[:1], []string{"10.0.2.1:26379", "10.0.2.2:26379"}
	begin := func() *play {
		p := newPlay(t, follow.Config{Seeds: given})
		p.hear(withPeers(report(serverA, 1), 1, found...), given[0])
		for _, by := range found {
			p.hear(withPeers(report(serverA, 1), 1, append(given, found...)...), by)
		}
		p.answer(serverA, true)
		for range 2 {
			p.pass(time.Second)
			p.hear(report(serverA, 1), append(found, given...)...) // nobody names others
		}
		return p
	}
	p := begin()
	p.hear(report(serverB, 2), found...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
	for range 7 {
		p.pass(time.Second)
		p.hear(report(serverB, 2), append(found, given...)...)
	}
	p.hear(report(serverC, 3), found...)
	if p.is(follow.Up, serverB); p.links[serverC] != 0 {
		t.Error("they decide although nobody has named them for long")
	}

	p = begin()
	p.step(follow.Heard{Sentinel: found[0], ID: "a new id", Asked: p.now, Report: report(serverB, 2)})
	if p.is(follow.Up, serverA); p.links[serverB] != 0 {
		t.Error("a stranger decides")
	}
}

// One sentinel was given, and the others, which it had named, were all replaced. Those that were no
// more kept their votes for a minute, so that nothing new was followed in that time. Nor did the
// given one have a word for it that it had only just begun to name others.
func TestMembersMayAllBeReplacedAtOnce(t *testing.T) {
	given, before := seeds()[:1], []string{"10.0.2.1:26379", "10.0.2.2:26379"}
	after := []string{"10.0.3.1:26379", "10.0.3.2:26379"}
	p := newPlay(t, follow.Config{Seeds: given})
	p.hear(withPeers(report(serverA, 1), 1, before...), given[0])
	for _, by := range before {
		p.hear(withPeers(report(serverA, 1), 1, append(given, before...)...), by)
	}
	p.answer(serverA, true)
	p.unheard(append(before, given...)...)
	p.pass(20 * time.Second)
	for range 5 { // it may have been reset
		p.hear(withPeers(report(serverB, 2), 1, after...), given[0])
		p.unheard(before...)
		p.pass(time.Second)
	}
	if p.links[serverB] != 0 || count[follow.Watch](p) != 3 {
		t.Error("one sentinel decides alone, and the others were away for a moment")
	}
	for range 5 {
		p.hear(withPeers(report(serverB, 2), 1, after...), given[0])
		p.unheard(before...)
		p.pass(time.Second)
	}
	for _, by := range after {
		if !slices.Contains(p.done, follow.Effect(follow.Watch{Sentinel: by})) {
			t.Errorf("%s is not watched", by)
		}
		p.hear(withPeers(report(serverB, 2), 1, append(given, after...)...), by)
	}
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// Of three that were given one invents others, and names no others. It takes nobody's vote: when
// most are heard again they decide.
func TestOneOfSeveralThatWereGivenReplacesNobody(t *testing.T) {
	p := up(t, follow.Config{})
	found := []string{"10.0.2.1:26379", "10.0.2.2:26379"}
	for range 2 {
		p.hear(withPeers(report(serverA, 1), 1, append(found, seeds()...)...), append(found, seeds()...)...)
	}
	lie := withPeers(withReplica(report(evil, 9), serverA, 1), 1, "10.9.9.9:1")
	for range 30 {
		p.unheard(append(found, seeds()[1:]...)...)
		p.hear(lie, seeds()[0])
		p.pass(time.Second)
	}
	if p.links[evil] != 0 || count[follow.Watch](p) != 2 {
		t.Error("one sentinel decides alone")
	}
	p.hear(withPeers(report(serverB, 2), 1, append(found, seeds()...)...), append(found, seeds()[1])...)
	p.answer(serverB, true)
	p.is(follow.Up, serverB)
}

// Most name thousands of sentinels, at other addresses each time: those that are watched are few.
func TestVotersAreBounded(t *testing.T) {
	p := up(t, follow.Config{})
	for i := range 100 {
		var some []string
		for j := range 50 {
			some = append(some, fmt.Sprintf("10.9.%d.%d:26379", i, j))
		}
		p.hear(withPeers(report(serverA, 1), 1, some...), seeds()...)
	}
	if n := count[follow.Watch](p); n > 64 {
		t.Errorf("%d sentinels are watched", n)
	}
}

// The answer to a question was there, and an earlier question ran out of time: what had been
// answered counted no more.
func TestAnEarlierQuestionTakesNothingBack(t *testing.T) {
	p := up(t, follow.Config{})
	asked := p.now
	p.pass(100 * time.Millisecond)
	p.hear(report(serverA, 1), seeds()...)
	for _, addr := range seeds() {
		p.step(follow.Unheard{Sentinel: addr, Asked: asked})
		p.step(follow.Heard{Sentinel: addr, ID: "id of " + addr, Asked: asked, Report: report(serverB, 2)})
	}
	if n := p.state.View().Reports; n != 3 || p.links[serverB] != 0 {
		t.Errorf("%d reports count, dialled %v", n, p.links)
	}
}

// What was said long ago, by sentinels whose polls neither answer nor fail, counts no more: a name
// that moved would be sought where it was.
func TestReportsGrowOld(t *testing.T) {
	p := up(t, follow.Config{})
	p.pass(4 * time.Second)
	if n := p.state.View().Reports; n != 0 {
		t.Errorf("%d reports count that are older than 3 s", n)
	}
	p.push(seeds()[0], follow.Selected, serverB)
	if p.is(follow.Up, serverA); p.links[serverB] != 0 {
		t.Error("a server is dialled that nobody has listed of late")
	}
}
