package drill_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
	"github.com/holdfast-go/holdfast/internal/backoff"
)

// play is a scenario of three phases without servers, in a bubble.
type play struct {
	recorders [drill.Sides]*workload.Recorder
	stage     *drill.Stage
	settles   time.Duration // how long the second phase takes to settle
	fails     error         // of the settling of the second phase
	stuck     chan struct{} // if not nil, calls wait for it
	freed     sync.Once
	told      [drill.Sides]int
	closed    atomic.Int64
	began     []string
}

func newPlay() *play {
	p := &play{}
	for i := range p.recorders {
		p.recorders[i] = workload.NewRecorder(3)
	}
	return p
}

func (p *play) Steps() []drill.Step {
	return []drill.Step{{Name: "first", Title: "first", Server: -1}, {Name: "second", Title: "second", Server: -1}, {Name: "third", Title: "third", Server: -1}}
}

func (p *play) Shape() workload.Shape {
	return workload.Shape{Seed: 1, Rate: 100, Keys: 100, Zipf: 1.1}
}
func (p *play) Describe(r *record.Record) { r.Scenario = record.Sentinel }
func (p *play) Prepare(_ context.Context, s *drill.Stage) error {
	p.stage = s
	return nil
}

func (p *play) Side(i int) (workload.Handler, *workload.Recorder) {
	return handler{p, i}, p.recorders[i]
}

func (p *play) Begin(_ context.Context, i int) error {
	p.began = append(p.began, p.Steps()[i].Name)
	p.stage.Tell(func(side int) { p.told[side]++ })
	p.stage.Event("begins: " + p.Steps()[i].Name)
	return nil
}

func (p *play) Settle(ctx context.Context, i int) error {
	if i != 1 {
		return nil
	}
	backoff.Pause(ctx, p.settles)
	return p.fails
}

func (p *play) Observe(s *record.Sample, tallies *[drill.Sides]workload.Tally, _ float64) {
	s.Faults = []string{""}
	s.Plain.WriteMoment = &record.WriteMoment{AcknowledgedRate: float64(tallies[0].Reads)}
}

func (p *play) Summarize(s *record.Summary, _, _ int, t *workload.Tally, _ float64) {
	s.WriteSummary = &record.WriteSummary{Writes: t.Reads}
}

func (p *play) Release() {
	if p.stuck != nil {
		p.freed.Do(func() { close(p.stuck) })
	}
}
func (p *play) Sweep(context.Context)        {}
func (p *play) Metrics() prometheus.Gatherer { return drill.Registry() }
func (p *play) Close() error                 { p.closed.Add(1); return nil }

type handler struct {
	play *play
	side int
}

func (h handler) Arrive(*workload.Arrival) {}

func (h handler) Serve(_ context.Context, r workload.Arrival) {
	if stuck := h.play.stuck; stuck != nil && h.side == drill.Plain {
		<-stuck
	}
	h.play.recorders[h.side].Count(r.Phase, func(t *workload.Tally) { t.Reads++ })
}

func (h handler) GiveUp(r workload.Arrival) {
	h.play.recorders[h.side].Count(r.Phase, func(t *workload.Tally) { t.Reads++; t.Errors++; t.Unanswered++ })
}

func options() drill.Options {
	return drill.Options{Duration: 9 * time.Second, Rate: 100, Workers: 4, Timeout: time.Second}
}

func TestPhasesAreEquallyLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay()
		d := drill.New(p, options())
		if err := d.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := d.Journal().Snapshot()
		for i, phase := range r.Phases {
			if phase.Start != float64(3*i) || phase.End != float64(3*i+3) {
				t.Errorf("%s lasts from %v to %v, want three seconds", phase.Name, phase.Start, phase.End)
			}
			if phase.Plain.Reads < 299 || phase.Plain.Reads > 301 || phase.Plain.WriteSummary == nil || phase.Plain.Writes != phase.Plain.Reads {
				t.Errorf("%s: %+v, want 300 reads", phase.Name, phase.Plain)
			}
		}
		if want := []string{"first", "second", "third"}; !slices.Equal(p.began, want) || p.told != [drill.Sides]int{3, 3} {
			t.Errorf("begun %q, told %v; want %q, and each side each time", p.began, p.told, want)
		}
		if r.Verdict != record.Kept || r.Scenario != record.Sentinel || len(r.Events) != 3 || p.closed.Load() == 0 {
			t.Errorf("verdict %q of scenario %q, %d events, closed %d times", r.Verdict, r.Scenario, len(r.Events), p.closed.Load())
		}
	})
}

func TestAPhaseThatSettlesLatePostponesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay()
		p.settles = 2 * time.Second
		d := drill.New(p, options())
		if err := d.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := d.Journal().Snapshot()
		for i, want := range [][2]float64{{0, 3}, {3, 8}, {8, 11}} {
			if got := [2]float64{r.Phases[i].Start, r.Phases[i].End}; got != want {
				t.Errorf("%s lasts from %v to %v, want %v", r.Phases[i].Name, got[0], got[1], want)
			}
		}
		if n := r.Phases[1].Holdfast.Reads; n < 499 || n > 501 {
			t.Errorf("%d reads in the phase that settled late, want those of five seconds", n)
		}
		if r.Length() != 11 || r.Samples[len(r.Samples)-1].T != 11 {
			t.Errorf("the drill is %v s long, the last sample at %v s; want 11", r.Length(), r.Samples[len(r.Samples)-1].T)
		}
	})
}

func TestADrillThatDoesNotSettleFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay()
		p.fails = errors.New("two primaries")
		d := drill.New(p, options())
		err := d.Run(t.Context())
		if !errors.Is(err, p.fails) || !strings.Contains(err.Error(), `"second"`) {
			t.Errorf("Run = %v, want the error with its phase", err)
		}
		if r := d.Journal().Snapshot(); r.Verdict != record.Interrupted || r.Phases[2].Begun || p.closed.Load() == 0 {
			t.Errorf("verdict %q, third phase begun: %t, closed %d times; want it interrupted and closed", r.Verdict, r.Phases[2].Begun, p.closed.Load())
		}
	})
}

func TestCallsThatNeverReturnDoNotStopTheDrill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay()
		p.stuck = make(chan struct{})
		d := drill.New(p, options())
		begin := time.Now()
		if err := d.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 13*time.Second {
			t.Errorf("Run took %v, want the drill, the warm-up and two seconds", took)
		}
		r := d.Journal().Snapshot()
		if s := r.Phases[1].Plain; s.Errors < 299 {
			t.Errorf("%d errors, want all requests that found no worker", s.Errors)
		}
		if s := r.Phases[1].Holdfast; s.Errors > 0 || s.Reads < 299 {
			t.Errorf("the other side has %d errors of %d reads, want none", s.Errors, s.Reads)
		}
	})
}

func TestTheRatesOfAnInterruptedPhaseAreThoseOfItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond) // a second of them to warm up
		defer cancel()
		d := drill.New(newPlay(), options())
		if err := d.Run(ctx); err != nil {
			t.Fatal(err)
		}
		r := d.Journal().Snapshot()
		for i, reads := range []int{300, 150} {
			if s := r.Phases[i].Holdfast; s.Reads < reads-1 || s.Reads > reads+1 || s.AnswersRate < 98 || s.AnswersRate > 102 {
				t.Errorf("phase %d: %d reads, %.1f answers/s; want %d and 100", i, s.Reads, s.AnswersRate, reads)
			}
		}
	})
}

// The last sample of an interrupted drill was of a moment in which all waiting calls ended: rates
// of thousands a second.
func TestNoSampleIsShorterThanHalfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for cut := range 20 {
			ctx, stop := context.WithTimeout(t.Context(), 3*time.Second+time.Duration(cut)*17*time.Millisecond)
			d := drill.New(newPlay(), options())
			if err := d.Run(ctx); err != nil {
				t.Fatal(err)
			}
			stop()
			samples := d.Journal().Snapshot().Samples
			if len(samples) < 3 {
				t.Fatalf("%d samples", len(samples))
			}
			usual := samples[2].T - samples[1].T
			for i := range samples[1:] {
				if length := samples[i+1].T - samples[i].T; length < .49*usual {
					t.Errorf("cut %d: sample %d of %d is of %.3f s, the others of %.3f s", cut, i+1, len(samples), length, usual)
				}
			}
		}
	})
}
