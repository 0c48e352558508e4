package stampede_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/stampede"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

func options(t *testing.T, promises string) stampede.Options {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT TESTED with -short: starts processes")
	}
	parsed, err := stampede.Rules().Parse(promises)
	if err != nil {
		t.Fatal(err)
	}
	return stampede.Options{
		Cost: 2 * time.Millisecond, Slots: 4,
		Options: drill.Options{
			Seed: 1, Duration: 15 * time.Second, Rate: 400, Workers: 32, Keys: 300, ValueSize: 50,
			Timeout: 400 * time.Millisecond, Run: "test", Promises: parsed,
		},
	}
}

func newDrill(t *testing.T, o stampede.Options) *drill.Drill {
	t.Helper()
	s, err := stampede.New(t.Context(), o)
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

// A process that gets no processor for 30 ms is a silent one, so a herd may be loaded by its owner
// and by the one that stands in for it, which must be rare; and reads fail that a machine answers
// too late which stood still for half a second, so their number is compared with plain's in the
// same phase.
func TestADrillTellsTheCachesApart(t *testing.T) {
	if !rig.CanHang() {
		t.Skip("NOT TESTED: nothing can be hung on this system")
	}
	testutil.AtSomePace(t, func(p *testutil.Pace) {
		o := options(t, "errors<20%,herd<3,db<2x,stale<1%")
		o.Duration, o.Timeout, o.Rate = p.Longer(o.Duration), p.Longer(o.Timeout), p.Slower(o.Rate)
		d := newDrill(t, o)
		if err := d.Run(t.Context()); err != nil {
			p.Errorf("Run: %v", err)
			return
		}
		if err := d.Close(); err != nil {
			t.Errorf("Close after Run: %v", err)
		}
		checkDrill(t, p, d.Journal().Snapshot(), drill.Milliseconds(o.Timeout))
	})
}

func checkDrill(t *testing.T, pace *testutil.Pace, r record.Record, timeout float64) {
	t.Helper()
	if r.Verdict != record.Kept {
		pace.Errorf("verdict %q, want kept: %+v", r.Verdict, r.Promises)
	}
	for i := range r.Phases {
		p := &r.Phases[i]
		herds := 3
		if p.Fault != "" {
			herds = 4
		}
		for side, s := range map[string]*record.Summary{"plain": &p.Plain, "holdfast": &p.Holdfast} {
			if s.HerdSummary == nil || s.Herds != herds || s.Reads < 900+150*herds || s.Reads > 1100+150*herds {
				pace.Errorf("%s, %s: %+v, want %d herds and the reads of two and a half seconds", p.Name, side, s, herds)
			}
		}
		if s := p.Holdfast.HerdSummary; s.WorstHerd < 1 || s.DatabaseLoads < s.Herds {
			pace.Errorf("%s: %+v, want a load for each herd of holdfast", p.Name, s)
		}
	}
	if p := phase(t, &r, "killed"); p.Plain.HerdLoads != 2*p.Plain.Herds || p.Holdfast.HerdLoads > p.Holdfast.Herds+1 {
		pace.Errorf("killed: %d herds cause %d loads of plain and %d of holdfast, want one by each process that is left, and one", p.Plain.Herds, p.Plain.HerdLoads, p.Holdfast.HerdLoads)
	}
	if healthy, killed := phase(t, &r, "healthy").Plain, phase(t, &r, "killed").Plain; killed.NeededDatabaseLoads < healthy.NeededDatabaseLoads+30 {
		pace.Errorf("%d loads are needed after a process with a third of 300 keys died, %d before", killed.NeededDatabaseLoads, healthy.NeededDatabaseLoads)
	}
	if p := phase(t, &r, "hung"); p.Plain.Errors < 4*150 || p.Plain.P99 < .85*timeout || p.Holdfast.Errors > p.Plain.Errors/2 {
		pace.Errorf("hung: %d errors of plain, p99 %v ms, want those of four herds at least, after the time limit; %d of holdfast, want half of that at most", p.Plain.Errors, p.Plain.P99, p.Holdfast.Errors)
	}
	outdated, herds, loads := 0, 0, 0
	for _, p := range r.Phases {
		outdated, herds, loads = outdated+p.Plain.Outdated, herds+p.Holdfast.Herds, loads+p.Holdfast.HerdLoads
	}
	if loads > herds+3 {
		pace.Errorf("%d herds cause %d loads of holdfast, want one each", herds, loads)
	}
	if outdated == 0 {
		pace.Errorf("plain serves no outdated values, want those whose removal failed because their owner was down")
	}
	checkStates(pace, &r)
}

// checkStates looks for the faults in the samples and the events.
func checkStates(pace *testutil.Pace, r *record.Record) {
	for i, fault := range []string{"killed", "hung"} {
		if !slices.ContainsFunc(r.Samples, func(s record.Sample) bool { return s.Faults[i] == fault && s.Holdfast.Breakers[i] == "open" }) {
			pace.Errorf("no sample in which process %d is %s and the others do not ask it", i+1, fault)
		}
	}
	if last := r.Samples[len(r.Samples)-1]; slices.Max(last.Faults) != "" || last.Holdfast.HerdLoads == 0 {
		pace.Errorf("the last sample is %+v, want no faults, and the loads of a herd", last)
	}
	for _, want := range []string{
		"stopped asking process 1, .* after it was killed", "ask process 1 again, .* after it was restarted",
		"stopped asking process 2, .* after it hung", "ask process 2 again, .* after it was released",
	} {
		if !slices.ContainsFunc(r.Events, func(e record.Event) bool { return regexp.MustCompile(want).MatchString(e.Text) }) {
			pace.Errorf("no event says %q: %+v", want, r.Events)
		}
	}
}

func TestAnInterruptedDrillEndsAtOnceAndItsProcessesWithIt(t *testing.T) {
	o := options(t, "")
	o.Timeout = 20 * time.Second // of requests to the process that hung, which must not be waited for
	d := newDrill(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, updates, stop := d.Journal().Follow(1000)
	defer stop()
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	var urls []string
	for u := range updates {
		if e, ok := u.Data.(record.Event); ok && strings.Contains(e.Text, "/metrics at ") {
			_, list, _ := strings.Cut(e.Text, "/metrics at ")
			urls = strings.Split(list, ", ")
			checkMetrics(t, urls[2])
			if families, err := d.Metrics().Gather(); err != nil || len(families) < 20 {
				t.Errorf("the drill has %d metrics, %v; want those of its processes", len(families), err)
			}
		}
		if s, ok := u.Data.(record.Sample); ok && s.Faults[0] == "killed" {
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
	if len(urls) != 3 {
		t.Fatalf("the processes are said to be at %q, want three", urls)
	}
	for _, url := range urls {
		if _, err := fetch(t, url); err == nil {
			t.Errorf("the process at %s has survived", url)
		}
	}
}

func checkMetrics(t *testing.T, url string) {
	t.Helper()
	text, err := fetch(t, url+"/metrics")
	if err != nil || !strings.Contains(text, `holdfast_groupcache_gets_total{client="cachedrill-3",group="drill"}`) {
		t.Errorf("%s serves %.300q, %v; want its metrics", url, text, err)
	}
}

func fetch(t *testing.T, url string) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

func TestADrillThatEndsBeforeItBeginsEndsItsProcesses(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := newDrill(t, options(t, ""))
	time.AfterFunc(20*time.Millisecond, cancel) // while they start
	if err := d.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	if r := d.Journal().Snapshot(); r.Verdict != record.Interrupted {
		t.Errorf("verdict %q, want interrupted", r.Verdict)
	}
}

func TestADrillThatCannotFillItsCachesFails(t *testing.T) {
	o := options(t, "")
	o.Timeout = time.Microsecond
	err := newDrill(t, o).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "plain: filling the caches") || errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want that the processes are too slow", err)
	}
}

func TestTheRulesAreThoseOfTheScenario(t *testing.T) {
	herd := func(name string, loads int, ratio float64) record.Phase {
		return record.Phase{Name: name, Begun: true, Holdfast: record.Summary{Reads: 1, HerdSummary: &record.HerdSummary{WorstHerd: loads, DatabaseLoadRatio: ratio}}}
	}
	phases := []record.Phase{herd("healthy", 1, .5), herd("killed", 1, 1.4), herd("hung", 2, 1)}
	for promised, want := range map[string]bool{
		stampede.Rules().Default: false, "herd=1": false, "herd@killed=1": true, "herd<3": true, "db<1.5x": true, "db<1.4x": false, "stale<0.1%": true,
	} {
		parsed, err := stampede.Rules().Parse(promised)
		if err != nil {
			t.Fatal(err)
		}
		if judged, kept := promise.Judge(parsed, phases); kept != want {
			t.Errorf("%s: kept %t, want %t: %+v", promised, kept, want, judged)
		}
	}
}

func TestMetricsAreThoseOfAllProcessesThatAnswer(t *testing.T) {
	t.Parallel()
	serve := func(text string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	refuses := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(refuses.Close)
	families, err := stampede.Gather(dead.URL, refuses.URL,
		serve("# TYPE gets_total counter\ngets_total{client=\"1\"} 3\n# TYPE a gauge\na{client=\"1\"} 1\n"), serve("# TYPE gets_total counter\ngets_total{client=\"2\"} 4\n"))
	var got []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got = append(got, fmt.Sprintf("%s %s %v", f.GetName(), m.GetLabel()[0].GetValue(), m.GetCounter().GetValue()+m.GetGauge().GetValue()))
		}
	}
	slices.Sort(got)
	if want := []string{"a 1 1", "gets_total 1 3", "gets_total 2 4"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("gathered %q, %v; want %q", got, err, want)
	}
}
