package sim_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//nolint:gochecknoglobals // a flag
var mutants = flag.Bool("mutants", false, "break the state in many ways, and look whether histories show each")

// mutant is a defect: in one file, what is right becomes what is wrong.
type mutant struct{ what, file, right, wrong string }

func planted() []mutant {
	return []mutant{
		{"a vote counts twice", "ballot.go", "t.n++", "t.n += 2"},
		{"a repetition counts", "voters.go", "		if slices.Contains(v.report.Peers, p) {\n			n++\n		}", "		for _, o := range v.report.Peers {\n			if o == p {\n				n++\n			}\n		}"},
		{"a majority is of those that are heard", "ballot.go", "return 2*n > s.voters.electors", "return 2*n > len(s.voters.reports)"},
		{"a failover under way is overlooked", "voters.go", "	case owner:\n", "	case owner:\n		e.Report.Midway = false\n"},
		{"one sentinel raises the epoch", "ballot.go", "if epoch > best && s.most(", "if epoch > best || s.most("},
		{"a false announcement hides a selection", "failover.go", "	if s.calledPrimary(s.next.addr) {\n		return\n	}", "	if s.next.addr != \"\" {\n		return\n	}"},
		{"a server that nobody knows is asked", "ballot.go", "return s.allowed(addr) && s.known(addr)", "return s.allowed(addr)"},
		{"epochs never begin anew", "ballot.go", "case !ok || !s.allowed(claimed.addr):", "case !ok || s.now.After(s.primary.since):"},
		{"a few have the epochs begin anew", "ballot.go", "if s.majority(t.n) {\n			t.epoch = s.agreed(t.addr, s.fresh())\n			return t, true\n		}\n	}\n	return tally{}, false", "if t.n > 0 {\n			return t, true\n		}\n	}\n	return tally{}, false"},
		{"a primary that nobody lists is kept", "ballot.go", "return s.primary.addr != \"\" && s.most(func(v *voter) bool { return !s.names(v, s.primary.addr) })", "return s.primary.addr == \"\" && s.known(\"\")"},
		{"what one announces goes first", "ballot.go", "case ahead && s.calledPrimary(said.addr):", "case ahead:"},
		{"anybody is heard", "voters.go", "s.majority(naming(s.fresh(), p))", "naming(s.fresh(), p) > 0"},
		{"reports never grow old", "voters.go", "return v.report != nil && now.Sub(v.asked) <= freshFor", "return v.report != nil"},
		{"a sentinel speaks for another", "voters.go", "func(o *voter) bool { return v.twin(o) && v.report.same(o.report) }", "func(o *voter) bool { return v.id == o.id }"},
		{"a selection of anything is believed", "failover.go", "s.phase == Provisional || !s.known(e.Addr) || !s.allowed(e.Addr)", "s.phase == Provisional || !s.allowed(e.Addr)"},
		{"an abort is believed whoever says so", "failover.go", "if len(m.chosen) == n {", "if n < 0 {"},
		{"a fence is not lifted", "failover.go", "	default:\n		s.lift()\n	}", "	}"},
		{"fences have no common limit", "failover.go", "limit := fenceLimit - s.wasted()", "limit := fenceLimit"},
		{"a provisional primary is never confirmed", "failover.go", "func (s *State) confirm() {", "func (s *State) confirm() {\n	if true {\n		return\n	}"},
		{"a provisional primary is never left", "failover.go", "	s.lose(why)\n	s.aim(elected.addr, elected.epoch)\n", "	s.confirm()\n	if s.phase == Provisional {\n		s.become(Up)\n	}\n"},
		{"a server that was left is believed", "asker.go", "a.epoch == 0 && s.stoodBy(a.addr)", "a.epoch == 0"},
		{"what was announced once is believed", "asker.go", "return !selected && !s.mayFollow(a.addr)", "return !selected && a.trigger == BySelection && a.epoch == 0"},
		{"a server that was left is gone back to", "ballot.go", "if left || !s.stoodBy(addr) {", "if l == nil && !s.stoodBy(addr) {"},
		{"a replica that was lost is believed", "failover.go", "func(r *Replica) bool { return r.Lost }", "func(r *Replica) bool { return r.Addr == \"\" }"},
		{"the role is not asked", "asker.go", "		s.do(Ask(e))", "		if e.Link == s.next.link {\n			s.nextAnswered(Answered{e.Link, true})\n			return\n		}\n		s.do(Ask(e))"},
		{"a replica is taken", "asker.go", "	case !e.Primary:\n		s.wasReplica(a.addr)", "	case e.Link == 0:\n		s.wasReplica(a.addr)"},
		{"what is held is never dropped", "failover.go", "	if s.next.state == holding {\n		s.next.until = s.now.Add(confirmWithin)\n	}", "	if s.next.state == holding {\n		s.next.until = time.Time{}\n	}"},
		{"a primary returns unasked", "outage.go", "	case up != 0 && 2*agree <= up:\n", ""},
		{"a return is tried once", "outage.go", "	s.again(a, why)\n	a.interval", "	s.again(a, why)\n	a.at = s.now.Add(time.Hour)\n	a.interval"},
		{"a stall has no end", "outage.go", "	case !s.now.Before(s.primary.cutAt):\n		s.cut(", "	case s.now.After(s.primary.cutAt.Add(time.Hour)):\n		s.cut("},
		{"one sentinel has calls kept", "outage.go", "all[len(all)-s.voters.electors/2-1]", "all[len(all)-1]"},
		{"a demotion is ignored", "outage.go", "		if e.Term == s.primary.term {\n			s.lose(e.Err)\n		}", "		_ = e"},
		{"each alarm is looked into", "state.go", "if s.primary.alarms && s.now.Sub(s.primary.alarm) >= alarmInterval {", "if s.primary.alarms {"},
		{"a run id outlives its primary", "failover.go", "	if addr != p.addr {\n		p.id = \"\"\n	}\n", ""},
	}
}

// Histories find what they are there to find: each of these defects within a hundred thousand. Defects are put into copies of the files.
func TestHistoriesFindMutants(t *testing.T) {
	if !*mutants {
		t.Skip("NOT TESTED without -mutants: builds the package anew for each of them; make soak does")
	}
	found, all := 0, 0
	for _, m := range planted() {
		t.Run(m.what, func(t *testing.T) {
			all++
			seed := hunt(t, m)
			t.Logf("%-45s %s", m.what, seed)
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

// hunt plays histories with a defect, and says which shows it.
func hunt(t *testing.T, m mutant) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), m.right) != 1 {
		t.Fatalf("%s: %q is not once in %s", m.what, m.right, m.file)
	}
	folder := t.TempDir()
	changed := filepath.Join(folder, m.file)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{changed: strings.Replace(string(source), m.right, m.wrong, 1), filepath.Join(folder, "overlay"): string(overlay)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(folder, "test")
	build := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-c", "-overlay", filepath.Join(folder, "overlay"), "-o", program, ".")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s does not build: %v\n%s", m.what, err, text)
	}
	text, err := exec.CommandContext(t.Context(), program, "-test.run", "^TestHistories$", "-histories", "100000", "-once").CombinedOutput()
	if err == nil {
		return "not found"
	}
	_, line, ok := strings.Cut(string(text), "history ")
	if !ok {
		t.Fatalf("%s: %v\n%.500s", m.what, err, text)
	}
	line, _, _ = strings.Cut(line, "\n")
	return line
}
