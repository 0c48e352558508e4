package sim_test

import (
	"flag"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow/sim"
)

//nolint:gochecknoglobals // a flag
var mutants = flag.Bool("mutants", false, "break the state in many ways, and look whether histories show each")

func planted() []testutil.Mutant {
	return []testutil.Mutant{
		{What: "a vote counts twice", File: "../ballot.go", Right: "t.n++", Wrong: "t.n += 2"},
		{What: "a repetition counts", File: "../voters.go", Right: "		if slices.Contains(v.report.Peers, p) {\n			n++\n		}", Wrong: "		for _, o := range v.report.Peers {\n			if o == p {\n				n++\n			}\n		}"},
		{What: "a majority is of those that are heard", File: "../ballot.go", Right: "return 2*n > s.voters.electors", Wrong: "return 2*n > len(s.voters.reports)"},
		{What: "a failover under way is overlooked", File: "../step.go", Right: "	case owner:\n", Wrong: "	case owner:\n		e.Report.Midway = false\n"},
		{What: "one sentinel raises the epoch", File: "../decide.go", Right: "if epoch > best && s.most(", Wrong: "if epoch > best || s.most("},
		{What: "a false announcement hides a selection", File: "../asker.go", Right: "	if s.next.link != 0 && s.calledPrimary(s.next.addr) && !errors.Is(s.next.err, errDoubted) && !s.next.stuck(s.now) {\n		return\n	}", Wrong: "	if s.next.addr != \"\" {\n		return\n	}"},
		{What: "a server that nobody knows is asked", File: "../ballot.go", Right: "return s.most(func(v *voter) bool { return s.names(v, addr) })", Wrong: "return addr != \"\""},
		{What: "epochs never begin anew", File: "../decide.go", Right: "case !ok || !s.allowed(claimed.addr):", Wrong: "case !ok || s.now.After(s.primary.since):"},
		{What: "a few have the epochs begin anew", File: "../decide.go", Right: "if s.majority(t.n) {\n			t.epoch = s.agreed(t.addr, s.fresh())\n			return t, true\n		}\n	}\n	return tally{}, false", Wrong: "if t.n > 0 {\n			return t, true\n		}\n	}\n	return tally{}, false"},
		{What: "a primary that nobody lists is kept", File: "../decide.go", Right: "return addr != \"\" && s.most(func(v *voter) bool { return !s.names(v, addr) })", Wrong: "return addr == \"\" && s.known(addr)"},
		{What: "what one announces goes first", File: "../decide.go", Right: "case ahead && s.calledPrimary(said.addr):", Wrong: "case ahead:"},
		{What: "anybody is heard", File: "../ballot.go", Right: "s.majority(naming(s.fresh(), p))", Wrong: "naming(s.fresh(), p) > 0"},
		{What: "reports never grow old", File: "../voters.go", Right: "return v.report != nil && now.Sub(v.asked) <= freshFor", Wrong: "return v.report != nil"},
		{What: "a sentinel speaks for another", File: "../voters.go", Right: "func(o *voter) bool { return v.twin(o) && v.report.same(o.report) }", Wrong: "func(o *voter) bool { return v.id == o.id }"},
		{What: "a selection of anything is believed", File: "../failover.go", Right: "if c.kept = !s.known(c.addr); c.kept { // too", Wrong: "if c.kept { // too"},
		{What: "an abort is believed whoever says so", File: "../failover.go", Right: "m.chosen = slices.DeleteFunc(m.chosen, its)\n", Wrong: "m.chosen, ends = nil, len(m.chosen) > 0\n"},
		{What: "most abort what they have not heard of", File: "../failover.go", Right: "	for _, c := range slices.Clone(m.chosen) {\n", Wrong: "	if s.most(func(v *voter) bool { return v.asked.After(m.began) && !v.report.Midway && s.named(v) == from }) {\n		m.chosen = nil\n		s.aborted(errOvertaken)\n		return\n	}\n	for _, c := range slices.Clone(m.chosen) {\n"},
		{What: "a move counts as announced while nobody is heard", File: "../failover.go", Right: "	if elected.addr == \"\" || !majority && (elected.addr == s.primary.addr || m.unsettled != \"\") {\n", Wrong: "	elected.addr = cmp.Or(elected.addr, s.primary.addr)\n	if !majority && m.unsettled != \"\" {\n"},
		{What: "a reset takes votes", File: "../ballot.go", Right: "lately := !v.renamed && ", Wrong: "lately := v.addr == \"\" && "},
		{What: "a selection that hangs hides others", File: "../step.go", Right: "if s.next.stuck(s.now) || s.next.addr", Wrong: "if s.next.addr"},
		{What: "the first to announce gives the epoch", File: "../failover.go", Right: "epoch > p.epoch && s.most(func(v *voter) bool { return s.named(v) == addr && v.report.Epoch >= epoch })", Wrong: "epoch > p.epoch"},
		{What: "a fence is not lifted", File: "../failover.go", Right: "	default:\n		s.lift()\n	}", Wrong: "	}"},
		{What: "fences have no common limit", File: "../failover.go", Right: "limit := fenceLimit - s.wastedTime()", Wrong: "limit := fenceLimit"},
		{What: "a provisional primary is never confirmed", File: "../failover.go", Right: "func (s *State) confirm() {", Wrong: "func (s *State) confirm() {\n	if true {\n		return\n	}"},
		{What: "a provisional primary is never left", File: "../failover.go", Right: "	s.lose(why)\n	s.aim(elected.addr, elected.epoch)\n", Wrong: "	s.confirm()\n	if s.phase == Provisional {\n		s.become(Up)\n	}\n"},
		{What: "a server that was left is believed", File: "../asker.go", Right: "a.epoch == 0 && s.stoodBy(a.addr)", Wrong: "a.epoch == 0"},
		{What: "what was announced once is believed", File: "../asker.go", Right: "return !s.mayFollow(a.addr)", Wrong: "return a.trigger == BySelection && a.epoch == 0"},
		{What: "a server that was left is gone back to", File: "../ballot.go", Right: "if left || !s.stoodBy(addr) {", Wrong: "if l == nil && !s.stoodBy(addr) {"},
		{What: "a replica that was lost is believed", File: "../ballot.go", Right: "s.mostHaveLost(b)\n", Wrong: "s.mostHaveLost(standby{})\n"},
		{What: "the role is not asked", File: "../step.go", Right: "		s.do(Ask(e))", Wrong: "		if e.Link == s.next.link {\n			s.nextAnswered(Answered{e.Link, true})\n			return\n		}\n		s.do(Ask(e))"},
		{What: "a replica is taken", File: "../step.go", Right: "	case !e.Primary:\n		s.saidReplica(*a)", Wrong: "	case e.Link == 0:\n		s.saidReplica(*a)"},
		{What: "a primary returns unasked", File: "../failover.go", Right: "	case up != 0 && 2*agree <= up:\n	case s.now.Before(owed):\n", Wrong: ""},
		{What: "what a fence took before a stop does not count", File: "../step.go", Right: "s.move.began = s.move.began.Add(missed)", Wrong: "s.move.began = s.now"},
		{What: "what is held is never dropped", File: "../outage.go", Right: "s.next.until.IsZero() {\n		s.next.until = s.now.Add(confirmWithin)", Wrong: "s.next.until.IsZero() {\n		s.next.until = time.Time{}"},
		{What: "a return is tried once", File: "../outage.go", Right: "	s.again(a, why)\n	a.interval", Wrong: "	s.again(a, why)\n	a.at = s.now.Add(time.Hour)\n	a.interval"},
		{What: "a stall has no end", File: "../outage.go", Right: "	case !s.now.Before(s.primary.cutAt):\n		s.cut(", Wrong: "	case s.now.After(s.primary.cutAt.Add(time.Hour)):\n		s.cut("},
		{What: "one sentinel has calls kept", File: "../ballot.go", Right: "all[len(all)-s.voters.electors/2-1]", Wrong: "all[len(all)-1]"},
		{What: "a demotion is ignored", File: "../outage.go", Right: "		if e.Term == s.primary.term {\n			s.lose(e.Err)\n		}", Wrong: "		_ = e"},
		{What: "each alarm is looked into", File: "../step.go", Right: "if s.primary.alarms && s.now.Sub(s.primary.alarm) >= alarmInterval {", Wrong: "if s.primary.alarms {"},
		{What: "a poll that a stop has ended has failed", File: "../step.go", Right: "case e.Asked.Before(s.awoke):", Wrong: "case e.Asked.Before(time.Time{}):"},
		{What: "a stop uses up what is waited for", File: "../step.go", Right: "if !at.IsZero() && at.Before(until) {", Wrong: "if !at.IsZero() && at.After(until) {"},
		{What: "a promotion that only a dead leader knew of stands", File: "../decide.go", Right: "return s.primary.told > s.primary.epoch || s.primary.hearsay &&", Wrong: "return s.primary.told > s.primary.epoch || s.config.Mode < 0 &&"},
		{What: "a run id outlives its primary", File: "../failover.go", Right: "p.id, p.told, p.owned = s.replicaID(addr), 0, false", Wrong: "p.told, p.owned = 0, false"},
		{What: "the run id of a replica is forgotten", File: "../failover.go", Right: "p.id, p.told, p.owned = s.replicaID(addr), 0, false", Wrong: "p.id, p.told, p.owned = \"\", 0, false"},
		{What: "a selection is doubted though most name it", File: "../failover.go", Right: "s.next.trigger = ByAnnouncement", Wrong: "s.next.trigger = BySelection"},
		{What: "the next failover is forgotten", File: "../failover.go", Right: "s.reselect(next)", Wrong: "s.reselect(nil)"},
		{What: "where none has led there is no next failover", File: "../failover.go", Right: "if !here(c) && (i > led || s.leads(c)) {", Wrong: "if !here(c) && led >= 0 && i > led {"},
		{What: "what is said of the next failover does not count", File: "../failover.go", Right: "(i > led || s.leads(c))", Wrong: "i > led"},
		{What: "what was announced before it answered is provisional", File: "../failover.go", Right: "	s.raise() // it may have been announced by now, and be about to be replaced\n", Wrong: ""},
		{What: "a selection for which nothing waits is forgotten", File: "../failover.go", Right: "	m.chosen = slices.DeleteFunc(m.chosen, func(c selection) bool { return !s.pending(c) })\n", Wrong: "	m.chosen = m.chosen[len(m.chosen)-1:]\n"},
		{What: "what is taken out is dialled", File: "../asker.go", Right: "return !s.rests(a.addr) && s.known(a.addr)\n", Wrong: "return !s.rests(a.addr)\n"},
		{What: "the last primary is dialled though it was taken out", File: "../asker.go", Right: "return !s.majority(without)", Wrong: "return true"},
		{What: "replicas stay replicas while nobody is heard", File: "../ballot.go", Right: "	if !s.majority(len(s.fresh())) {\n", Wrong: "	if s.phase == Closed {\n"},
		{What: "an earlier question takes an answer back", File: "../voters.go", Right: "return v.report != nil && asked.Before(v.asked)", Wrong: "return false"},
		{What: "an epoch that was skipped is overlooked", File: "../ballot.go", Right: "epoch > s.primary.epoch+1 {", Wrong: "s.primary.epoch > epoch+1 {"},
		{What: "what refuses is dialled without a pause", File: "../asker.go", Right: "v.pause = min(s.vain[i].pause*8/5, lastRetry)", Wrong: "v.pause = 0"},
		{What: "what is selected and aborted in turn is dialled each time", File: "../asker.go", Right: "s.rest(vain{addr: a.addr, stays: true})", Wrong: "s.rest(vain{addr: a.addr})"},
		{What: "those who lag a failover behind lead back", File: "../ballot.go", Right: "return p.epoch + 1", Wrong: "return p.epoch"},
		{What: "what one announced before is not remembered", File: "../ballot.go", Right: "told := addr == p.addr && p.told > p.epoch || ", Wrong: "told := "},
		{What: "a move that is taken back keeps its epoch", File: "../ballot.go", Right: "if before && told && next.addr != p.addr {", Wrong: "if before = told; before {"},
		{What: "a late event of a failover that is over raises a fence", File: "../step.go", Right: "s.known(e.Addr) && !s.refuses(e.Addr)", Wrong: "s.known(e.Addr)"},
		{What: "a selection is forgotten while too few list its replica", File: "../failover.go", Right: "			s.move.choose(c)\n		}\n	}\n}", Wrong: "		}\n	}\n}"},
		{What: "a selection is not heard while too few list its replica", File: "../failover.go", Right: "		s.move.choose(c)\n		return\n	}\n	here", Wrong: "		return\n	}\n	here"},
		{What: "a failover takes a claim back", File: "../decide.go", Right: "return s.claim.addr != \"\" && s.named(v) == s.claim.addr", Wrong: "return false"},
		{What: "a failover from before the start is overlooked", File: "../failover.go", Right: "if s.now.Sub(v.since) < limit {", Wrong: "if s.now.Before(v.since) {"},
		{What: "a selection from before the start is overlooked", File: "../step.go", Right: "s.early(e)", Wrong: "_ = e"},
		{What: "a failover keeps the first primary away", File: "../step.go", Right: "if s.primary.last == \"\" && s.calledPrimary(s.target.addr) {", Wrong: "if s.phase == Closed {"},
		{What: "a leader of the next failover is not taken at its word", File: "../decide.go", Right: "	s.concede()\n}", Wrong: "}"},
		{What: "a return counts as an announcement", File: "../failover.go", Right: "p.hearsay && addr == from && epoch == 0", Wrong: "p.hearsay && addr != from && epoch == 0"},
		{What: "what most announce at the epoch of before is provisional", File: "../decide.go", Right: "	if s.most(func(v *voter) bool { return tells(v) && v.report.Epoch >= epoch }) {\n		s.confirm()\n		return\n	}\n", Wrong: "	epoch++\n"},
		{What: "what most announce at an epoch that has begun anew is provisional", File: "../decide.go", Right: "means nothing any more\n		s.confirm()\n", Wrong: "means nothing any more\n"},
		{What: "those that are asked in turn leave connections behind", File: "../asker.go", Right: "o.addr == a.addr && !o.stuck(s.now) }); i >= 0 {", Wrong: "o.addr == a.addr && !o.stuck(s.now) }); i > 99 {"},
		{What: "a late answer counts", File: "../ballot.go", Right: "if !a.at.Before(s.standbys.since) {", Wrong: "if !a.at.IsZero() {"},
		{What: "a selection is given up with an earlier one", File: "../asker.go", Right: "return c.addr == a.addr && s.now.Sub(c.at) >= confirmWithin", Wrong: "return c.addr == a.addr"},
		{What: "who leads the failover between announces the move back", File: "../decide.go", Right: "		if epoch > before {", Wrong: "		if epoch > min(before, 0) {"},
		{What: "those who lag behind announce the move back", File: "../decide.go", Right: "counts := epoch >= s.epochBefore()", Wrong: "counts := epoch <= s.epochBefore()"},
		{What: "an epoch that too few have told is the primary's own", File: "../failover.go", Right: "s.primary.owned = !slices.ContainsFunc(", Wrong: "s.primary.owned = addr != \"\" || !slices.ContainsFunc("},
		{What: "an epoch below what one tells is the primary's own", File: "../failover.go", Right: "!slices.ContainsFunc(s.fresh(), later) && ", Wrong: "(addr != \"\" || slices.ContainsFunc(s.fresh(), later)) && "},
		{What: "an announcement is later than the next selection", File: "../selection.go", Right: "	if c.announced {\n", Wrong: "	if c.announced && m.from == c.addr {\n"},
		{What: "a selection of the present primary is dropped", File: "../failover.go", Right: "if here && s.phase == Provisional && slices.ContainsFunc(s.move.chosen, c.matches) {", Wrong: "if here && (s.phase == Provisional && slices.ContainsFunc(s.move.chosen, c.matches) || s.phase == Up && s.next.addr == \"\") {"},
		{What: "what was announced by an event before it answered is provisional", File: "../failover.go", Right: "	if s.move.from != \"\" && slices.ContainsFunc(s.move.chosen, s.isAnnounced) {", Wrong: "	if s.move.from == \"\" && slices.ContainsFunc(s.move.chosen, s.isAnnounced) {"},
		{What: "the next failover to the same server is forgotten", File: "../failover.go", Right: "(!c.at.After(m.began) || !s.pending(c))", Wrong: "(c.at != m.began || !s.pending(c))"},
		{What: "a failover to where one has led is forgotten", File: "../selection.go", Right: "return s.refuses(from) && !s.calledPrimary(from)", Wrong: "return s.refuses(from)"},
		{What: "the run id of a primary is not known at first", File: "../failover.go", Right: "	p.addr, p.last, p.link, p.term = addr, addr, link, link\n	s.identify()\n", Wrong: "	p.addr, p.last, p.link, p.term = addr, addr, link, link\n"},
		{What: "what most have called the primary is a replica", File: "../ballot.go", Right: "s.calledPrimary(b.addr) || s.wasNamed(b)", Wrong: "s.calledPrimary(b.addr)"},
		{What: "a failover whose selection was lost at the start is overlooked", File: "../failover.go", Right: "return forgetAfter", Wrong: "return PollInterval"},
		{What: "a replica that is promoted is lost", File: "../ballot.go", Right: " && (v.asked.After(s.standbys.led) || ", Wrong: " && (v.asked.After(s.standbys.led) || s.phase != Closed || "},
		{What: "a replica that is promoted is lost while its leader is not heard", File: "../ballot.go", Right: " || slices.ContainsFunc(s.move.chosen, begins) {", Wrong: " || s.phase == Closed && slices.ContainsFunc(s.move.chosen, begins) {"},
		{What: "a sentinel that is found holds selections up", File: "../voters.go", Right: "return e.decided || e.late(now)", Wrong: "return e.late(now)"},
		{What: "reports from before a stop lead to a server", File: "../asker.go", Right: "!v.asked.Before(s.awoke) && s.named(v) == a.addr", Wrong: "s.named(v) == a.addr"},
		{What: "a promotion that is published before the answer confirms nothing", File: "../step.go", Right: "case e.Kind == Promoted && s.phase == Fenced && s.hasChosen(e):", Wrong: "case e.Kind == Promoted && s.phase == Closed:"},
		{What: "what most have published confirms nothing", File: "../failover.go", Right: "		s.confirmByMost(s.primary.epoch)\n", Wrong: ""},
		{What: "an announcement by name is another server's", File: "../step.go", Right: "	e.Addr = s.meant(v, e.Addr)\n", Wrong: ""},
		{What: "what most name is waited for while it hangs", File: "../asker.go", Right: " && !s.next.stuck(s.now) {\n		return\n	}", Wrong: " {\n		return\n	}"},
		{What: "a move that too few take back is announced when it returns", File: "../failover.go", Right: "		m.unsettled = from\n", Wrong: "		m.unsettled = \"\"\n"},
		{What: "those whose epochs began anew announce nothing", File: "../decide.go", Right: "(v.report.Epoch >= epoch || v.reborn)", Wrong: "v.report.Epoch >= epoch"},
		{What: "the run id that a replica had is forgotten", File: "../failover.go", Right: "= s.replicaID(addr), 0, false", Wrong: "= s.runID(addr), 0, false"},
		{What: "an invented epoch of the server that was left keeps a move provisional", File: "../decide.go", Right: "l != nil && s.move.back {", Wrong: "l != nil {"},
		{What: "a selection that was kept waits for what is asked", File: "../failover.go", Right: "(s.next.addr == \"\" || c.kept)", Wrong: "s.next.addr == \"\""},
		{What: "a replica that was restarted is the one of before", File: "../ballot.go", Right: "return anew || r.Down", Wrong: "return anew && r.Down || r.Down"},
		{What: "a stop at the start is not noticed", File: "../step.go", Right: "pulse := s.now.Add(pulseInterval)", Wrong: "pulse := s.now.Add(time.Hour)"},
	}
}

// TestPlantedDefectsAreUpToDate: each of them is a change of what the files have today.
func TestPlantedDefectsAreUpToDate(t *testing.T) {
	for _, m := range planted() {
		t.Run(m.What, func(t *testing.T) { m.Source(t) })
	}
}

// Histories find what they are there to find: each of these defects within a hundred thousand, or
// by one that has failed before. Defects are put into copies of the files.
func TestHistoriesFindMutants(t *testing.T) {
	if !*mutants {
		t.Skip("NOT TESTED without -mutants: builds the package anew for each of them; make soak does")
	}
	found, all := 0, 0
	for _, m := range planted() {
		t.Run(m.What, func(t *testing.T) {
			all++
			seed := hunt(t, m)
			t.Logf("%-45s %s", m.What, seed)
			if seed != "not found" {
				found++
			}
		})
	}
	t.Logf("%d of %d are found", found, all)
	if 20*found < 19*all {
		t.Errorf("%d of %d mutants are not found within 100 000 histories", all-found, all)
	}
}

// hunt plays histories with a defect, and says which shows it. That one must not fail without.
func hunt(t *testing.T, m testutil.Mutant) string {
	t.Helper()
	program := m.Build(t)
	text, err := exec.CommandContext(t.Context(), program, "-test.run", "^TestHistoriesThatHaveFailed$").CombinedOutput()
	if err == nil {
		text, err = exec.CommandContext(t.Context(), program, "-test.run", "^TestHistories$", "-histories", "100000", "-once").CombinedOutput()
	}
	if err == nil {
		return "not found"
	}
	_, line, ok := strings.Cut(string(text), "history ")
	if !ok {
		t.Fatalf("%s: %v\n%.500s", m.What, err, text)
	}
	line, _, _ = strings.Cut(line, "\n")
	number, _, _ := strings.Cut(line, ":")
	seed, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if r := sim.Play(seed, false); r.Failure != "" {
		t.Fatalf("history %d fails without a defect: %s", seed, r.Failure)
	}
	return line
}
