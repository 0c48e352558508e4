package memcache_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//nolint:gochecknoglobals // a flag
var expeditionMutants = flag.Bool("expedition-mutants", false, "break the package in many ways, and look whether expeditions show each")

// mutant is a defect: in one file, what is right becomes what is wrong.
type mutant struct{ what, file, right, wrong string }

func planted() []mutant {
	return []mutant{
		{"missed writes are not logged", "missed.go", "	if r.op.leavesOldValue() {", "	if r.op.leavesOldValue() && r.seconds > 0 {"},
		{"missed keys are read", "server.go", "if r.op.reads() && s.missed.holds(r.key) {", "if r.op.reads() && r.delta > 0 && s.missed.holds(r.key) {"},
		{"missed keys are read by GetMulti", "execute.go", "if s.missed.holds(key) && !s.isDown() {", "if s.isDown() && key == \"\" {"},
		{"missed keys are not deleted at the return", "core.go", "OnReady:             s.replay,", "OnReady:             func(context.Context) error { s.missed.settle(s.missed.fresh().keys); return nil },"},
		{"missed keys are deleted once", "missed.go", "case now.sent && !was.deleted:", "case now.sent && was.deleted && !was.sent:"},
		{"the second deletion comes at once", "probe.go", "if !backoff.Pause(ctx, zombieDelay) {", "if !backoff.Pause(ctx, 0) {"},
		{"a server that stays up is not told", "missed.go", "		s.replaySoon() // nothing will re-admit a server that stays up", "		_ = s // nothing"},
		{"the end of a replay is not looked behind", "probe.go", "	s.replaying.Store(false)\n	s.replaySoon()", "	_ = 0"},
		{"writes are repeated", "request.go", "func (o op) repeatable() bool {", "func (o op) repeatable() bool {\n	if o == opSet {\n		return true\n	}"},
		{"keys of values are not compared", "reader.go", "if !r.answered[i] && r.group[i].key == string(key) {", "if !r.answered[i] {"},
		{"keys of a GetMulti are not compared", "reader.go", "if i := (cursor + n) % len(keys); keys[i] == string(key) {", "if i := (cursor + n) % len(keys); len(key) > 0 {"},
	}
}

// TestExpeditionsFindMutants: each of these defects shows within a hundred histories. They are put into copies of the files.
func TestExpeditionsFindMutants(t *testing.T) {
	if !*expeditionMutants {
		t.Skip("NOT TESTED without -expedition-mutants: builds the package anew for each of them; make soak does")
	}
	found, all := 0, 0
	for _, m := range planted() {
		t.Run(m.what, func(t *testing.T) {
			all++
			seen := m.hunt(t)
			t.Logf("%-50s %s", m.what, seen)
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
func (m mutant) hunt(t *testing.T) string {
	t.Helper()
	program := m.build(t)
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

// build compiles the tests with the defect.
func (m mutant) build(t *testing.T) (program string) {
	t.Helper()
	path, err := filepath.Abs(m.file)
	check(t, err)
	source, err := os.ReadFile(path)
	check(t, err)
	if strings.Count(string(source), m.right) != 1 {
		t.Fatalf("%s: %q is not once in %s", m.what, m.right, m.file)
	}
	folder := t.TempDir()
	changed, overlay := filepath.Join(folder, m.file), filepath.Join(folder, "overlay")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	check(t, err)
	check(t, os.WriteFile(changed, []byte(strings.Replace(string(source), m.right, m.wrong, 1)), 0o600))
	check(t, os.WriteFile(overlay, replace, 0o600))
	program = filepath.Join(folder, "test")
	build := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-c", "-overlay", overlay, "-o", program, ".")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s does not build: %v\n%s", m.what, err, text)
	}
	return program
}
