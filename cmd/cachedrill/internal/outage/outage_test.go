package outage_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/outage"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

func options(t *testing.T, r *rig.Rig, promises string) outage.Options {
	t.Helper()
	parsed, err := outage.Rules().Parse(promises)
	if err != nil {
		t.Fatal(err)
	}
	return outage.Options{
		Rig: r, DBCost: 2 * time.Millisecond, DBSlots: 4,
		Options: drill.Options{
			Seed: 1, Duration: 6 * time.Second, Rate: 500, Workers: 32, Keys: 500, ValueSize: 50,
			Timeout: 200 * time.Millisecond, TTL: time.Minute, Run: "test", Promises: parsed,
		},
	}
}

func newDrill(t *testing.T, o outage.Options) *drill.Drill {
	t.Helper()
	u, err := outage.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return drill.New(u, o.Options)
}

func run(ctx context.Context, t *testing.T, o outage.Options) record.Record {
	t.Helper()
	d := newDrill(t, o)
	if err := d.Run(ctx); err != nil {
		t.Fatalf("Run: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close after Run: %v", err)
	}
	return d.Journal().Snapshot()
}

func ownRig(t *testing.T) *rig.Rig {
	t.Helper()
	r, err := rig.InProcess(3)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func phase(t *testing.T, r *record.Record, name string) *record.Phase {
	t.Helper()
	i := slices.IndexFunc(r.Phases, func(p record.Phase) bool { return p.Name == name })
	if i < 0 || !r.Phases[i].Begun {
		t.Fatalf("no phase %q in %+v", name, r.Phases)
	}
	return &r.Phases[i]
}

func TestADrillTellsTheClientsApart(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(p *testutil.Pace) {
		o := options(t, ownRig(t), "errors<100%")
		o.Duration, o.Timeout, o.Rate = p.Longer(o.Duration), p.Longer(o.Timeout), p.Slower(o.Rate)
		d := newDrill(t, o)
		if err := d.Run(t.Context()); err != nil {
			p.Errorf("Run: %v", err)
			return
		}
		if err := d.Close(); err != nil {
			t.Errorf("Close after Run: %v", err)
		}
		checkDrill(t, p, d.Journal().Snapshot(), o)
	})
}

func checkDrill(t *testing.T, pace *testutil.Pace, r record.Record, o outage.Options) {
	t.Helper()
	if r.Verdict != record.Kept {
		pace.Errorf("verdict %q, want kept: %+v", r.Verdict, r.Promises)
	}
	for _, name := range []string{"healthy", "killed", "restarted", "hung", "released", "recovered"} {
		p := phase(t, &r, name)
		for side, s := range map[string]*record.Summary{"plain": &p.Plain, "holdfast": &p.Holdfast} {
			if s.Reads < 400 || s.Reads > 600 {
				pace.Errorf("%s, %s: %d reads, want those of one second: about 490", name, side, s.Reads)
			}
		}
		if p.Holdfast.CacheErrors > 0 {
			t.Errorf("%s: holdfast returned %d errors to readers, want misses", name, p.Holdfast.CacheErrors)
		}
	}
	for _, name := range []string{"killed", "hung"} {
		if p := phase(t, &r, name); p.Plain.CacheErrors+p.Plain.Errors < p.Plain.Reads/10 {
			pace.Errorf("%s: of %d reads of plain %d had errors, and %d no answer; want at least a third of the share of a server",
				name, p.Plain.Reads, p.Plain.CacheErrors, p.Plain.Errors)
		}
	}
	if p := phase(t, &r, "killed"); p.Plain.NeededLoads < 100 || p.Plain.LoadRatio < .9 || p.Holdfast.LoadRatio > .7 || p.Holdfast.LoadFactor >= p.Plain.LoadFactor {
		pace.Errorf("killed: %d loads needed, %.2f times that made by plain, %.2f by holdfast; %.1f and %.1f times their healthy load; want all of the lost server, and fewer by a gutter",
			p.Plain.NeededLoads, p.Plain.LoadRatio, p.Holdfast.LoadRatio, p.Plain.LoadFactor, p.Holdfast.LoadFactor)
	}
	if p := phase(t, &r, "healthy"); p.Plain.LoadFactor != 1 || p.Holdfast.LoadFactor != 1 {
		t.Errorf("the healthy phase has %.2f and %.2f times its own load, want 1", p.Plain.LoadFactor, p.Holdfast.LoadFactor)
	}
	if p := phase(t, &r, "hung"); p.Plain.LatePercent <= p.Holdfast.LatePercent {
		pace.Errorf("hung: %.1f %% of the answers of plain and %.1f %% of those of holdfast were late, want more of plain", p.Plain.LatePercent, p.Holdfast.LatePercent)
	}
	checkBreakers(pace, &r, o.Duration.Seconds())
}

// checkBreakers looks for the outages in the samples and the events.
func checkBreakers(pace *testutil.Pace, r *record.Record, duration float64) {
	var texts []string
	for _, e := range r.Events {
		texts = append(texts, e.Text)
	}
	for _, want := range []string{"stopped asking server 1", "uses server 1 again", "stopped asking server 2", "uses server 2 again"} {
		if !strings.Contains(strings.Join(texts, "\n"), want) {
			pace.Errorf("no event says that holdfast %s: %q", want, texts)
		}
	}
	killed := slices.IndexFunc(r.Samples, func(s record.Sample) bool { return s.Faults[0] == "killed" && s.Holdfast.Breakers[0] == "open" })
	hung := slices.IndexFunc(r.Samples, func(s record.Sample) bool { return s.Faults[1] == "hung" && s.Holdfast.Breakers[1] == "open" })
	if killed < 0 || hung < killed {
		pace.Errorf("samples with an open breaker: killed %d, hung %d of %d; want both, in order", killed, hung, len(r.Samples))
	}
	if last := r.Samples[len(r.Samples)-1]; last.T < duration-.1 || last.T > duration+1 || slices.Max(last.Faults) != "" {
		pace.Errorf("the last sample is at %.1fs with faults %q, want %.1fs and none", last.T, last.Faults, duration)
	}
}

func TestABrokenPromiseIsTheVerdict(t *testing.T) {
	t.Parallel()
	o := options(t, ownRig(t), "p50<1us,errors<101%")
	o.Timeout = 2 * time.Second // a busy machine is no outage
	o.Duration = 3 * time.Second
	r := run(t.Context(), t, o)
	if r.Verdict != record.Broken || r.Promises[0].Kept || !r.Promises[1].Kept {
		t.Errorf("verdict %q, promises %+v; want the first broken", r.Verdict, r.Promises)
	}
}

func TestAnInterruptedDrillEndsAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := options(t, ownRig(t), outage.Rules().Default)
	o.Timeout = 30 * time.Second // of calls to the hung server, which must not be waited for
	d := newDrill(t, o)
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
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("Run took %v to end, want it at once", took)
	}
	if r := d.Journal().Snapshot(); r.Verdict != record.Interrupted || len(r.Samples) == 0 || r.Phases[0].Holdfast.Reads == 0 {
		t.Errorf("verdict %q with %d samples, want it interrupted with what was measured", r.Verdict, len(r.Samples))
	}
}

func TestForeignServersAreLeftAsTheyWere(t *testing.T) {
	t.Parallel()
	servers := []*testutil.Fake{testutil.StartFake(t), testutil.StartFake(t)}
	asked, err := rig.Ask(t.Context(), []string{servers[0].Addr(), servers[1].Addr()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.Through(asked)
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, r, "")
	o.Duration, o.Budget = 4500*time.Millisecond, new(atomic.Int64)
	o.Budget.Store(1 << 20)
	var foreign atomic.Int64
	for _, s := range servers {
		s.SetFault(func(cmd testutil.Command) testutil.Fault {
			for _, key := range cmd.Keys {
				if !strings.HasPrefix(key, workload.Prefix) && !strings.HasPrefix(key, "holdfast:canary") {
					foreign.Add(1)
				}
			}
			if cmd.Verb == "flush_all" {
				foreign.Add(1)
			}
			return testutil.Fault{}
		})
	}
	got := run(t.Context(), t, o)
	for _, name := range []string{"killed", "hung", "slowed", "sped up", "cut"} {
		phase(t, &got, name)
	}
	if last := got.Events[len(got.Events)-1].Text; last != "all keys of the drill deleted" {
		t.Errorf("the last event is %q, want that all keys are deleted", last)
	}
	for i, s := range servers {
		if n := s.Stats().Items; n != 0 {
			t.Errorf("server %d still has %d items", i+1, n)
		}
	}
	if n := foreign.Load(); n > 0 {
		t.Errorf("%d commands were for keys of others", n)
	}
}

func TestTheBudgetIsNotedOnceItIsSpent(t *testing.T) {
	t.Parallel()
	server := testutil.StartFake(t)
	asked, err := rig.Ask(t.Context(), []string{server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, rig.Direct(asked), "")
	o.Timeout = 2 * time.Second // a busy machine is no outage
	o.Duration, o.Budget = 3*time.Second, new(atomic.Int64)
	o.Budget.Store(20_000)
	got := run(t.Context(), t, o)
	var noted int
	for _, e := range got.Events {
		noted += strings.Count(e.Text, "as many bytes are stored as is allowed")
	}
	if noted != 1 {
		t.Errorf("%d events say that the budget was spent, want one: %+v", noted, got.Events)
	}
	if p := phase(t, &got, "load"); p.Holdfast.Reads < 1400 {
		t.Errorf("%d reads, want about 1470", p.Holdfast.Reads)
	}
}
