package sentinel_test

import (
	"flag"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

//nolint:gochecknoglobals // a flag
var scenarioMutants = flag.Bool("scenario-mutants", false, "break the client in many ways, and look whether scenarios show each")

// planted are defects of the shell around the machine, which sentinel/internal/follow/sim cannot
// see.
func planted() []testutil.Mutant {
	return []testutil.Mutant{
		{What: "a fence is not raised", File: "internal/director/follower.go", Right: "		f.raise(e)\n", Wrong: "		_ = e\n"},
		{What: "a fence is not lifted", File: "internal/director/follower.go", Right: "		close(f.fence.Lifted)\n", Wrong: ""},
		{What: "a role is not believed", File: "internal/director/link.go", Right: "Primary: r.Primary})", Wrong: "Primary: r.Primary || true})"},
		{What: "who waits for another connection is not woken", File: "internal/director/follower.go", Right: "		close(f.mended)\n", Wrong: ""},
		{What: "silence is not told", File: "internal/director/pulse.go", Right: "			b.post(follow.Silent{Term: b.term, For: silent})\n", Wrong: ""},
		{What: "the end of a connection is not told", File: "internal/director/link.go", Right: "	case l == f.link:\n", Wrong: "	case l == f.link && at.IsZero():\n"},
		{What: "a sentinel that was lost is not asked again", File: "internal/watch/sentinel.go", Right: "			pause = retry(attempt, limit)\n", Wrong: "			pause = retry(attempt, limit) + time.Hour\n"},
		{What: "a lost subscription is not made anew", File: "internal/watch/sentinel.go", Right: "		w.Log.Debug(\"sentinel subscription lost\"", Wrong: "		return\n		w.Log.Debug(\"sentinel subscription lost\""},
		{What: "what was sent is said not to be", File: "internal/outcome/outcome.go", Right: "	if f.Sent {\n", Wrong: "	if f == nil {\n"},
		{What: "a transaction goes on at the primary of before", File: "internal/route/private.go", Right: "s.Generation != c.generation {\n			err", Wrong: "s.Generation < c.generation {\n			err"},
		{What: "Close forgets the connections", File: "internal/director/follower.go", Right: "	f.endCalls(old.Generation+1, outcome.ErrClosed)\n", Wrong: ""},
		{What: "a snapshot is made once", File: "internal/director/follower.go", Right: "	if now.same(f.published) {", Wrong: "	if f.published != nil {"},
	}
}

// Scenarios find what they are there to find: each of these defects within a few hundred. Defects
// are put into copies of the files.
func TestScenariosFindMutants(t *testing.T) {
	if !*scenarioMutants {
		t.Skip("NOT TESTED without -scenario-mutants: builds the package anew for each of them")
	}
	found, all := 0, planted()
	for _, m := range all {
		seed := hunt(t, m)
		t.Logf("%-50s %s", m.What, seed)
		if seed != "not found" {
			found++
		}
	}
	if t.Logf("%d of %d are found", found, len(all)); found < len(all)-2 {
		t.Errorf("%d of %d mutants are not found", len(all)-found, len(all))
	}
}

// hunt plays scenarios with a defect, and says which shows it.
func hunt(t *testing.T, m testutil.Mutant) string {
	t.Helper()
	play := exec.CommandContext(t.Context(), m.Build(t), "-test.run", "^TestScenarios$", "-scenarios", "300", "-test.timeout", "1m")
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
