package staleness_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/staleness"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

func options(t *testing.T, r *rig.Rig, promises string) staleness.Options {
	t.Helper()
	parsed, err := staleness.Rules().Parse(promises)
	if err != nil {
		t.Fatal(err)
	}
	return staleness.Options{
		Rig: r, Cost: 2 * time.Millisecond, Slots: 4,
		Options: drill.Options{
			Seed: 1, Duration: 12 * time.Second, Rate: 500, Workers: 32, Keys: 200, ValueSize: 50,
			Timeout: 200 * time.Millisecond, TTL: time.Minute, Run: "test", Promises: parsed,
		},
	}
}

func newDrill(t *testing.T, o staleness.Options) *drill.Drill {
	t.Helper()
	s, err := staleness.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return drill.New(s, o.Options)
}

func phase(t *testing.T, r *record.Record, name string) *record.Phase {
	t.Helper()
	i := slices.IndexFunc(r.Phases, func(p record.Phase) bool { return p.Name == name })
	if i < 0 || !r.Phases[i].Begun {
		t.Fatalf("no phase %q in %+v", name, r.Phases)
	}
	return &r.Phases[i]
}

func inProcess(t *testing.T) *rig.Rig {
	t.Helper()
	r, err := rig.InProcess(1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestADrillOnServersInThisProcess(t *testing.T) {
	drillAtSomePace(t, inProcess, "in-process")
}

func TestADrillOnRealServers(t *testing.T) {
	if _, err := testutil.FindMemcached(); err != nil {
		testutil.Missing(t, "memcached", err)
	}
	drillAtSomePace(t, own, "memcached ")
}

func own(t *testing.T) *rig.Rig {
	t.Helper()
	r, err := rig.Own(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func drillAtSomePace(t *testing.T, servers func(*testing.T) *rig.Rig, kind string) {
	t.Helper()
	testutil.AtSomePace(t, func(p *testutil.Pace) {
		o := options(t, servers(t), "errors@healthy<10%,calls@dead<1x")
		o.Duration, o.Timeout, o.Cost, o.Rate = p.Longer(o.Duration), p.Longer(o.Timeout), p.Longer(o.Cost), p.Slower(o.Rate)
		d := newDrill(t, o)
		if err := d.Run(t.Context()); err != nil {
			p.Errorf("Run: %v", err)
			return
		}
		if err := d.Close(); err != nil {
			t.Errorf("Close after Run: %v", err)
		}
		checkDrill(t, p, d.Journal().Snapshot(), kind)
	})
}

func checkDrill(t *testing.T, pace *testutil.Pace, r record.Record, kind string) {
	t.Helper()
	if r.Verdict != record.Kept {
		pace.Errorf("verdict %q, want kept: %+v", r.Verdict, r.Promises)
	}
	if len(r.Servers) != 2 || r.Servers[0].Kind != "simulated" || !strings.HasPrefix(r.Servers[1].Kind, kind) {
		pace.Errorf("servers %+v, want the source and %s", r.Servers, kind)
	}
	for i := range r.Phases {
		p := &r.Phases[i]
		for side, s := range map[string]*record.Summary{"plain": &p.Plain, "holdfast": &p.Holdfast} {
			if s.Reads < 600 || s.Reads > 900 || s.AgeSummary == nil || s.AgeMax == 0 {
				pace.Errorf("%s, %s: %+v, want the reads of a second and a half, with their ages", p.Name, side, s)
			}
			if s.CacheSummary != nil || s.WriteSummary != nil {
				pace.Errorf("%s, %s: figures of other scenarios", p.Name, side)
			}
		}
	}
	healthy, dead := phase(t, &r, "healthy"), phase(t, &r, "dead")
	if p, h := &healthy.Plain, &healthy.Holdfast; p.TooOldPercent <= h.TooOldPercent || p.AgeP99 <= h.AgeP99 || p.CallRatio != 1 || h.CallRatio != 1 {
		pace.Errorf("healthy: %.1f%% of plain's answers are too old and %.1f%% of holdfast's, want more of plain's; %+v, %+v", p.TooOldPercent, h.TooOldPercent, p.AgeSummary, h.AgeSummary)
	}
	if p, h := &dead.Plain, &dead.Holdfast; p.Calls < 4*h.Calls || p.Errors <= h.Errors {
		pace.Errorf("source dead: plain makes %d calls and has %d errors, holdfast %d and %d; want holdfast to do with far less", p.Calls, p.Errors, h.Calls, h.Errors)
	}
	checkStates(pace, &r)
}

// checkStates looks for the outages in the samples and the events.
func checkStates(pace *testutil.Pace, r *record.Record) {
	for what, faults := range [][]string{{"slow", "dead"}, {"killed", "hung"}} {
		for _, fault := range faults {
			if !slices.ContainsFunc(r.Samples, func(s record.Sample) bool { return s.Faults[what] == fault && s.Holdfast.Breakers[what] == "open" }) {
				pace.Errorf("no sample in which %s is %q and holdfast does not ask it", r.Servers[what].Name, fault)
			}
		}
	}
	if last := r.Samples[len(r.Samples)-1]; slices.Max(last.Faults) != "" {
		pace.Errorf("at the end there are the faults %q, want none", last.Faults)
	}
	var texts []string
	for _, e := range r.Events {
		texts = append(texts, e.Text)
	}
	all := strings.Join(texts, "\n")
	for _, want := range []string{
		"holdfast stopped asking the source,", "all processes of holdfast ask the source,",
		"holdfast stopped asking the second level,", "all processes of holdfast ask the second level,",
		"after the source came back", "after the second level was killed", "after the second level hung",
	} {
		if !strings.Contains(all, want) {
			pace.Errorf("no event says %q:\n%s", want, all)
		}
	}
}

func TestAnInterruptedDrillEndsAtOnce(t *testing.T) {
	o := options(t, inProcess(t), "")
	o.Duration, o.Timeout = 3*time.Second, 20*time.Second // of calls to the hung second level, which must not be waited for
	d := newDrill(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, updates, stop := d.Journal().Follow(1000)
	defer stop()
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	for u := range updates {
		if s, ok := u.Data.(record.Sample); ok && s.Faults[1] == "hung" {
			break
		}
	}
	cancel()
	begin := time.Now()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Run took %v to end, want it at once", took)
	}
	if r := d.Journal().Snapshot(); r.Verdict != record.Interrupted || r.Phases[0].Holdfast.Reads == 0 {
		t.Errorf("verdict %q, want it interrupted with what was measured", r.Verdict)
	}
}

func TestADrillThatCannotFillItsCachesFails(t *testing.T) {
	o := options(t, inProcess(t), "")
	o.Cost, o.Timeout = time.Second, time.Millisecond
	if err := newDrill(t, o).Run(t.Context()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "filling the caches") {
		t.Errorf("Run = %v, want that the source is too slow", err)
	}
}

func TestTheRulesAreThoseOfTheScenario(t *testing.T) {
	old := func(name string, ratio float64) record.Phase {
		return record.Phase{Name: name, Begun: true, Holdfast: record.Summary{Reads: 1, AgeSummary: &record.AgeSummary{AgeRatio: ratio}}}
	}
	phases := []record.Phase{old("healthy", 1), old("slow", 2), old("dead", 5), old("back", 6), old("killed", 1.2)}
	for promised, want := range map[string]bool{staleness.Rules().Default: true, "age<1.1x": false, "age@dead<5x": false, "age@dead<6x": true} {
		parsed, err := staleness.Rules().Parse(promised)
		if err != nil {
			t.Fatal(err)
		}
		if judged, kept := promise.Judge(parsed, phases); kept != want {
			t.Errorf("%s: kept %t, want %t: %+v", promised, kept, want, judged)
		}
	}
}
