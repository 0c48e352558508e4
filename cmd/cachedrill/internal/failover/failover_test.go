package failover_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/failover"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

const patience = 30 * time.Second

func options(t *testing.T, clusters [drill.Sides]failover.Cluster, rules promise.Rules, promises string) failover.Options {
	t.Helper()
	parsed, err := rules.Parse(promises)
	if err != nil {
		t.Fatal(err)
	}
	return failover.Options{
		Clusters: clusters,
		Options: drill.Options{
			Seed: 1, Duration: 8 * time.Second, Rate: 400, Workers: 64, Keys: 200, ValueSize: 50,
			Timeout: 300 * time.Millisecond, TTL: time.Minute, Run: "test", Promises: parsed,
		},
	}
}

// launch starts a cluster for each side.
func launch(t *testing.T, start func(context.Context) (failover.Cluster, error)) (both [drill.Sides]failover.Cluster) {
	t.Helper()
	for i := range both {
		var err error
		if both[i], err = start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(both[i].Close(), both[i].Close()); err != nil {
				t.Errorf("Close twice: %v", err)
			}
		})
	}
	return both
}

func newDrill(ctx context.Context, t *testing.T, o failover.Options) *drill.Drill {
	t.Helper()
	f, err := failover.New(ctx, o)
	for range 2 { // sentinels have a second to answer, which a busy machine may let pass
		if !errors.Is(err, sentinel.ErrNoSentinel) {
			break
		}
		f, err = failover.New(ctx, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	return drill.New(f, o.Options)
}

func phase(t *testing.T, r *record.Record, name string) *record.Phase {
	t.Helper()
	i := slices.IndexFunc(r.Phases, func(p record.Phase) bool { return p.Name == name })
	if i < 0 || !r.Phases[i].Begun {
		t.Fatalf("no phase %q in %+v", name, r.Phases)
	}
	return &r.Phases[i]
}

func TestADrillOnServersInThisProcess(t *testing.T) {
	drillAtSomePace(t, failover.InProcess, "in-process")
}

func TestADrillOnRealServers(t *testing.T) {
	if _, err := redis.FindServer(); err != nil {
		testutil.Missing(t, "redis-server", err)
	}
	drillAtSomePace(t, failover.Launch, "redis ")
}

func drillAtSomePace(t *testing.T, start func(context.Context) (failover.Cluster, error), kind string) {
	t.Helper()
	testutil.AtSomePace(t, func(p *testutil.Pace) {
		o := options(t, launch(t, start), failover.OwnRules(), "lost=0,gap<1h")
		o.Duration, o.Timeout, o.Rate = p.Longer(o.Duration), p.Longer(o.Timeout), p.Slower(o.Rate)
		d := newDrill(t.Context(), t, o)
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
	if len(r.Servers) != 6 || !strings.HasPrefix(r.Servers[0].Kind, kind) || r.Servers[5].Side != "holdfast" || r.Servers[5].Addr == "" {
		pace.Errorf("servers %+v, want three for each side, %s", r.Servers, kind)
	}
	for i := range r.Phases {
		p := &r.Phases[i]
		for side, s := range map[string]*record.Summary{"plain": &p.Plain, "holdfast": &p.Holdfast} {
			if s.Reads < 200 || s.Writes < 40 {
				pace.Errorf("%s, %s: %d reads, %d writes; want those of a second at least", p.Name, side, s.Reads, s.Writes)
			}
			switch {
			case s.Checked == nil || s.Lost == nil || s.Gap == nil:
				pace.Errorf("%s, %s: nobody looked for lost writes", p.Name, side)
			case *s.Checked < s.Acknowledged || *s.Checked < 200 || i == 0 && s.Acknowledged < 40:
				pace.Errorf("%s, %s: %d writes looked for, %d acknowledged in the phase; want these, and 200 from the beginning", p.Name, side, *s.Checked, s.Acknowledged)
			}
			if s.CacheSummary != nil {
				pace.Errorf("%s, %s: figures of a cache", p.Name, side)
			}
		}
		if i > 0 && p.Start < r.Phases[i-1].End-.5 {
			pace.Errorf("%s begins at %.1fs, before the end of the phase before at %.1fs", p.Name, p.Start, r.Phases[i-1].End)
		}
	}
	// For about a second only the new primary knows that it is one, unless one listens as holdfast
	// does.
	if p := phase(t, &r, "failover"); *p.Plain.Lost == 0 || *p.Holdfast.Lost > 0 {
		pace.Errorf("failover: plain lost %d acknowledged writes and holdfast %d, want some and none", *p.Plain.Lost, *p.Holdfast.Lost)
	}
	for _, name := range []string{"killed", "hung"} {
		if p := phase(t, &r, name); p.Plain.Errors == 0 || p.Holdfast.Errors == 0 {
			pace.Errorf("%s: %d and %d errors; no client can answer without a primary", name, p.Plain.Errors, p.Holdfast.Errors)
		}
	}
	p := phase(t, &r, "healthy")
	if p.Holdfast.Errors+p.Plain.Errors != 0 {
		pace.Errorf("healthy: plain %+v, holdfast %+v; want no errors", p.Plain, p.Holdfast)
	}
	if *p.Holdfast.Lost+*p.Plain.Lost != 0 {
		pace.Errorf("healthy: plain %+v, holdfast %+v; want nothing lost", p.Plain, p.Holdfast)
	}
	checkStates(pace, &r)
}

// checkStates looks for the outages in the samples and the events.
func checkStates(pace *testutil.Pace, r *record.Record) {
	for _, side := range []int{0, 3} {
		for _, state := range []string{"killed", "hung", "primary", "replica"} {
			if !slices.ContainsFunc(r.Samples, func(s record.Sample) bool { return slices.Contains(s.Faults[side:side+3], state) }) {
				pace.Errorf("no sample with a server that is %q, among servers %d to %d", state, side, side+2)
			}
		}
		last := r.Samples[len(r.Samples)-1].Faults[side : side+3]
		slices.Sort(last)
		if want := []string{"primary", "replica", "replica"}; !slices.Equal(last, want) {
			pace.Errorf("at the end the servers are %q, want %q", last, want)
		}
	}
	var texts []string
	for _, e := range r.Events {
		texts = append(texts, e.Text)
	}
	all := strings.Join(texts, "\n")
	for _, want := range []string{"holdfast sends its commands to holdfast", "plain sends its commands to plain", "after the failover was asked for", "after the primary was killed", "after the primary hung", "writes of plain that plain "} {
		if !strings.Contains(all, want) {
			pace.Errorf("no event says %q:\n%s", want, all)
		}
	}
	if last := r.Samples[len(r.Samples)-1]; last.Holdfast.Primary == "" || !slices.ContainsFunc(r.Servers, func(s record.Server) bool { return s.Addr == last.Holdfast.Primary }) {
		pace.Errorf("holdfast's primary is %q, want one of %+v", last.Holdfast.Primary, r.Servers)
	}
}

func TestAnInterruptedDrillEndsAtOnce(t *testing.T) {
	o := options(t, launch(t, failover.InProcess), failover.OwnRules(), "")
	o.Timeout = patience // of calls to the hung server, which must not be waited for
	d := newDrill(t.Context(), t, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, updates, stop := d.Journal().Follow(1000)
	defer stop()
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	for u := range updates {
		if s, ok := u.Data.(record.Sample); ok && slices.Contains(s.Faults, "hung") {
			break
		}
	}
	cancel()
	begin := time.Now()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("Run took %v to end, want it at once", took)
	}
	if r := d.Journal().Snapshot(); r.Verdict != record.Interrupted || r.Phases[0].Holdfast.Lost == nil || r.Phases[7].Begun {
		t.Errorf("verdict %q, want it interrupted with what was measured", r.Verdict)
	}
}

func TestTheRulesAreThoseOfTheScenario(t *testing.T) {
	for _, rules := range []promise.Rules{failover.OwnRules(), failover.ForeignRules()} {
		if got, err := rules.Parse(rules.Default); err != nil || len(got) < 3 || rules.Scenario != record.Sentinel {
			t.Errorf("Parse(%q) = %v, %v", rules.Default, got, err)
		}
	}
	some, none := 3, 0
	gap := 1.0
	lossy := func(name string, lost *int) record.Phase {
		return record.Phase{Name: name, Begun: true, Holdfast: record.Summary{Reads: 1, WriteSummary: &record.WriteSummary{Lost: lost, Gap: &gap}}}
	}
	for promised, want := range map[string]bool{"lost=0": true, "lost@killed=0": false, "lost@killed=3": true, "lost@hung<3": false, "lost@failover=0": true} {
		parsed, err := failover.OwnRules().Parse(promised)
		if err != nil {
			t.Fatal(err)
		}
		phases := []record.Phase{lossy("failover", &none), lossy("killed", &some), lossy("hung", &some), lossy("released", &none)}
		if _, kept := promise.Judge(parsed, phases); kept != want {
			t.Errorf("%s with losses in the phases killed and hung: kept %t, want %t", promised, kept, want)
		}
	}
	parsed, err := failover.OwnRules().Parse("lost=0")
	if err != nil {
		t.Fatal(err)
	}
	if judged, kept := promise.Judge(parsed, []record.Phase{lossy("failover", &some)}); kept || judged[0].Shown != "3" {
		t.Errorf("three writes lost in a planned failover: %+v, want lost=0 broken", judged)
	}
}
