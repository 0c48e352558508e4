package sentinel_test

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
var scenarioMutants = flag.Bool("scenario-mutants", false, "break the client in many ways, and look whether scenarios show each")

// mutant is a defect: in one file, what is right becomes what is wrong.
type mutant struct{ what, file, right, wrong string }

// planted are defects of what is around the machine, which sentinel/internal/follow/sim cannot see.
func planted() []mutant {
	return []mutant{
		{"a fence is not raised", "follower.go", "		f.raise(e)\n", "		_ = e\n"},
		{"a fence is not lifted", "follower.go", "		close(f.fence.lifted)\n", ""},
		{"a role is not believed", "link.go", "Primary: r.primary})", "Primary: r.primary || true})"},
		{"who waits for another connection is not woken", "follower.go", "		close(f.mended)\n", ""},
		{"silence is not told", "pulse.go", "			b.post(follow.Silent{Term: b.term, For: silent})\n", ""},
		{"the end of a connection is not told", "link.go", "	case l == f.link:\n", "	case l == f.link && at.IsZero():\n"},
		{"a sentinel that was lost is not asked again", "watcher.go", "			pause = retry(attempt, limit)\n", "			pause = retry(attempt, limit) + time.Hour\n"},
		{"a lost subscription is not made anew", "watcher.go", "		w.client.director.log.Debug(\"sentinel subscription lost\"", "		return\n		w.client.director.log.Debug(\"sentinel subscription lost\""},
		{"what was sent is said not to be", "errors.go", "	if f.Sent {\n", "	if f == nil {\n"},
		{"a transaction goes on at the primary of before", "private.go", "s.generation != c.generation {\n			err", "s.generation < c.generation {\n			err"},
		{"Close forgets the connections", "follower.go", "	f.endCalls(old.generation+1, ErrClosed)\n", ""},
		{"a snapshot is made once", "follower.go", "	if now.same(f.published) {", "	if f.published.seat != nil {"},
	}
}

// Scenarios find what they are there to find: each of these defects within a few hundred. Defects are put into copies of the files.
func TestScenariosFindMutants(t *testing.T) {
	if !*scenarioMutants {
		t.Skip("NOT TESTED without -scenario-mutants: builds the package anew for each of them")
	}
	found, all := 0, planted()
	for _, m := range all {
		seed := hunt(t, m)
		t.Logf("%-50s %s", m.what, seed)
		if seed != "not found" {
			found++
		}
	}
	if t.Logf("%d of %d are found", found, len(all)); found < len(all)-2 {
		t.Errorf("%d of %d mutants are not found", len(all)-found, len(all))
	}
}

// hunt plays scenarios with a defect, and says which shows it.
func hunt(t *testing.T, m mutant) string {
	t.Helper()
	path, err := filepath.Abs(m.file)
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
	play := exec.CommandContext(t.Context(), program, "-test.run", "^TestScenarios$", "-scenarios", "300", "-test.timeout", "1m")
	text, err := play.CombinedOutput()
	if err == nil {
		return "not found"
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	_, seed, ok := strings.Cut(string(text), "scenario ")
	if !ok {
		return "the program ends: " + lines[0]
	}
	seed, _, _ = strings.Cut(seed, ":")
	for _, line := range lines {
		if _, what, ok := strings.Cut(line, "FAILED: "); ok {
			return seed + ": " + what
		}
	}
	return seed
}
