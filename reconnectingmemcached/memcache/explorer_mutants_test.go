package memcache_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

//nolint:gochecknoglobals // a flag
var expeditionMutants = flag.Bool("expedition-mutants", false, "break the package in many ways, and look whether expeditions show each")

func planted() []testutil.Mutant {
	return []testutil.Mutant{
		{What: "missed writes are not logged", File: "missed.go", Right: "	if r.op.leavesOldValue() {", Wrong: "	if r.op.leavesOldValue() && r.seconds > 0 {"},
		{What: "missed keys are read", File: "server.go", Right: "if r.op.reads() && s.missed.holds(r.key) {", Wrong: "if r.op.reads() && r.delta > 0 && s.missed.holds(r.key) {"},
		{What: "missed keys are read by GetMulti", File: "execute.go", Right: "s.missed.holds(key) && !s.isDown() {", Wrong: "s.isDown() && key == \"\" {"},
		{What: "missed keys are not deleted at the return", File: "core.go", Right: "OnReady:             s.makeReady,", Wrong: "OnReady:             func(context.Context) error { s.missed.settle(s.missed.fresh().keys); return nil },"},
		{What: "missed keys are deleted once", File: "missed.go", Right: "case now.sent && !was.deleted:", Wrong: "case now.sent && was.deleted && !was.sent:"},
		{What: "the second deletion comes at once", File: "probe.go", Right: "if !backoff.Pause(ctx, zombieDelay) {", Wrong: "if !backoff.Pause(ctx, 0) {"},
		{What: "a server that stays up is not told", File: "missed.go", Right: "		s.replaySoon() // nothing will re-admit a server that stays up", Wrong: "		_ = s // nothing"},
		{What: "the end of a replay is not looked behind", File: "probe.go", Right: "	s.replaying.Store(false)\n	s.replaySoon()", Wrong: "	_ = 0"},
		{What: "writes are repeated", File: "request.go", Right: "func (o op) repeatable() bool {", Wrong: "func (o op) repeatable() bool {\n	if o == opSet {\n		return true\n	}"},
		{What: "keys of values are not compared", File: "reader.go", Right: "if !r.answered[i] && r.group[i].key == string(key) {", Wrong: "if !r.answered[i] {"},
		{What: "keys of a GetMulti are not compared", File: "reader.go", Right: "if i := (cursor + n) % len(keys); keys[i] == string(key) {", Wrong: "if i := (cursor + n) % len(keys); len(key) > 0 {"},
	}
}

// TestExpeditionsFindMutants: each of these defects shows within a hundred histories. They are put into copies of the files.
func TestExpeditionsFindMutants(t *testing.T) {
	if !*expeditionMutants {
		t.Skip("NOT TESTED without -expedition-mutants: builds the package anew for each of them; make soak does")
	}
	found, all := 0, 0
	for _, m := range planted() {
		t.Run(m.What, func(t *testing.T) {
			all++
			seen := hunt(t, m)
			t.Logf("%-50s %s", m.What, seen)
			if seen != "not found" {
				found++
			}
		})
	}
	t.Logf("%d of %d are found", found, all)
	if 10*found < 9*all {
		t.Errorf("%d of %d mutants are not found", all-found, all)
	}
}

// hunt plays histories with a defect, and says what shows it.
func hunt(t *testing.T, m testutil.Mutant) string {
	t.Helper()
	program := m.Build(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	text, err := exec.CommandContext(ctx, program, "-test.run", "^TestExpeditions$", "-expeditions", "100", "-test.timeout", "150s").CombinedOutput()
	if err == nil {
		return "not found"
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, ": at ") || strings.Contains(line, "_test.go") || strings.Contains(line, "panic:") {
			return strings.TrimSpace(line)[:min(len(strings.TrimSpace(line)), 160)]
		}
	}
	return "found: " + err.Error()
}

// TestPlantedDefectsAreUpToDate: each of them is a change of what the files have today.
func TestPlantedDefectsAreUpToDate(t *testing.T) {
	for _, m := range planted() {
		source, err := os.ReadFile(m.File)
		check(t, err)
		if n := strings.Count(string(source), m.Right); n != 1 || m.Right == m.Wrong {
			t.Errorf("%s: %q is in %s %d times, want once", m.What, m.Right, m.File, n)
		}
	}
}
