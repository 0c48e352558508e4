package memcache_test

import (
	"context"
	"flag"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

//nolint:gochecknoglobals // a flag
var expeditionMutants = flag.Bool("expedition-mutants", false, "break the package in many ways, and look whether expeditions show each")

// What plays histories: of one process, and of several.
const (
	expeditionTests = "^TestExpeditions$"
	fleetTests      = "^(TestGutterOf.*|TestGutterWhile.*|TestNoOldValues.*|TestACopyThatIsStoredLate|TestCallsWhileDownWithAGutter)$"
)

// plantedDefect is shown by some tests.
type plantedDefect struct {
	testutil.Mutant
	tests string
}

func planted() (all []plantedDefect) {
	for _, m := range plantedInProcess() {
		all = append(all, plantedDefect{m, expeditionTests})
	}
	for _, m := range plantedInFleet() {
		all = append(all, plantedDefect{m, fleetTests})
	}
	return all
}

// plantedInFleet are those defects of the gutter that need a second process, or more time, to show.
func plantedInFleet() []testutil.Mutant {
	return []testutil.Mutant{
		{What: "copies do not expire", File: "internal/protocol/expiration.go", Right: "	most := int64(life / time.Second)", Wrong: "	most := int64(LongestRelative/time.Second) + 0*int64(life)"},
		{What: "reads do not linger", File: "internal/phases/window.go", Right: "	w.lingerUntil.Store(now + int64(linger))", Wrong: "	w.lingerUntil.Store(now)"},
		{What: "beacons are not heard", File: "internal/gutter/beacons.go", Right: "			b.owner.Window.Hear(now, g.options.Expiration+graceOfBeacons)", Wrong: "			_ = now"},
		{What: "beacons are not set", File: "internal/gutter/beacons.go", Right: "		if b.isDown && min(stands, found[b.fresh]) < g.options.Expiration {", Wrong: "		if b.isDown && b.key == \"\" {"},
		{What: "a slow Set of a copy outlives the window", File: "internal/gutter/options.go", Right: "max(graceOfCopies, timeout+time.Second)", Wrong: "graceOfCopies"},
		{What: "locks have copies", File: "internal/phases/phases.go", Right: "	case o == protocol.OpSet && p != WithCopies:", Wrong: "	case (o == protocol.OpSet || o == protocol.OpAdd) && p != WithCopies:"},
	}
}

func plantedInProcess() []testutil.Mutant {
	return []testutil.Mutant{
		{What: "the second holder keeps its copy", File: "internal/gutter/gutter.go", Right: "		parts = append(parts, p)\n	}\n	return parts", Wrong: "		if p.Request.Op == protocol.OpSet || how == 1 {\n			parts = append(parts, p)\n		}\n	}\n	return parts"},
		{What: "a holder that is down is not told", File: "internal/gutter/gutter.go", Right: "			s.LogMissed(&p.Request, server.Outcome{}) // its value of the key is old when it is back", Wrong: "			_ = s"},
		{What: "candidates are those that are up", File: "internal/gutter/options.go", Right: "		if s == owner {", Wrong: "		if s == owner || s.IsDown() {"},
		{What: "the window ends with the linger", File: "internal/phases/window.go", Right: "	w.until.Store(now + int64(max(linger, care)))", Wrong: "	w.until.Store(now + int64(linger+0*care))"},
		{What: "a copy stays whose deletion was refused", File: "internal/server/parts.go", Right: "	if out := &p.Outcome; out.Err != nil && out.Replied && !errors.Is(out.Err, gomemcache.ErrCacheMiss) {", Wrong: "	if out := &p.Outcome; out.Err != nil && out.Replied && errors.Is(out.Err, gomemcache.ErrNotStored) {"},
		{What: "missed writes are not logged", File: "internal/server/missed.go", Right: "	if r.Op.LeavesOldValue() {", Wrong: "	if r.Op.LeavesOldValue() && r.Seconds > 0 {"},
		{What: "missed keys are read", File: "internal/server/server.go", Right: "if r.Op.Reads() && s.Missed.Holds(r.Key) {", Wrong: "if r.Op.Reads() && r.Delta > 0 && s.Missed.Holds(r.Key) {"},
		{What: "missed keys are read by GetMulti", File: "execute.go", Right: "s.Missed.Holds(key) && !s.IsDown() {", Wrong: "s.IsDown() && key == \"\" {"},
		{What: "missed keys are not deleted at the return", File: "internal/server/probe.go", Right: "OnReady:             s.makeReady,", Wrong: "OnReady:             func(context.Context) error { s.Missed.settle(s.Missed.fresh().keys); return nil },"},
		{What: "missed keys are deleted once", File: "internal/server/missed.go", Right: "case now.sent && !was.deleted:", Wrong: "case now.sent && was.deleted && !was.sent:"},
		{What: "the second deletion comes at once", File: "internal/server/replay.go", Right: "if !backoff.Pause(ctx, zombieDelay) {", Wrong: "if !backoff.Pause(ctx, 0) {"},
		{What: "a server that stays up is not told", File: "internal/server/missed.go", Right: "		s.ReplaySoon() // nothing will re-admit a server that stays up", Wrong: "		_ = s // nothing"},
		{What: "the end of a replay is not looked behind", File: "internal/server/replay.go", Right: "	s.replaying.Store(false)\n	s.ReplaySoon()", Wrong: "	_ = 0"},
		{What: "writes are repeated", File: "internal/protocol/request.go", Right: "func (o Op) Repeatable() bool {", Wrong: "func (o Op) Repeatable() bool {\n	if o == OpSet {\n		return true\n	}"},
		{What: "keys of values are not compared", File: "internal/server/reader.go", Right: "return !s.answered && s.key == string(key) }", Wrong: "return !s.answered && len(key) > 0 }"},
	}
}

// TestExpeditionsFindMutants: each of these defects shows within a hundred histories of one
// process, or in those of a fleet. They are put into copies of the files.
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
func hunt(t *testing.T, m plantedDefect) string {
	t.Helper()
	program := m.Build(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	text, err := exec.CommandContext(ctx, program, "-test.run", m.tests, "-expeditions", "100", "-test.timeout", "150s").CombinedOutput()
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
		t.Run(m.What, func(t *testing.T) { m.Source(t) })
	}
}
