package drill

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// The sides of a drill.
const (
	Plain = iota
	Holdfast
	Sides
)

// SideNames returns the names of the sides.
func SideNames() [Sides]string { return [Sides]string{"plain", "holdfast"} }

// Scenario is the subject of a drill: servers that fail, two clients, and an application for each.
type Scenario interface {
	// Steps returns the phases, one at least.
	Steps() []Step
	// Shape returns what both applications ask for.
	Shape() workload.Shape
	// Describe adds to a record everything known before the start.
	Describe(r *record.Record)
	// Prepare stores the initial values. The stage is used until Close.
	Prepare(ctx context.Context, s *Stage) error
	// Side returns an application and where it counts, once Prepare has returned.
	Side(side int) (workload.Handler, *workload.Recorder)
	// Begin carries out the action at the begin of a phase.
	Begin(ctx context.Context, step int) error
	// Settle runs when the time of a phase is up. The phase goes on until it returns.
	Settle(ctx context.Context, step int) error
	// Observe adds to a sample how the servers and the clients are; tallies are what was counted in
	// its seconds.
	Observe(s *record.Sample, tallies *[Sides]workload.Tally, seconds float64)
	// Summarize adds to the summary of a side of a phase what only this scenario measures; t is
	// what was counted in its seconds.
	Summarize(s *record.Summary, side, step int, t *workload.Tally, seconds float64)
	// Release makes calls return that might never do so, when the load has ended or ctx has.
	Release()
	// Sweep removes the drill's keys from servers of others, when the load has ended.
	Sweep(ctx context.Context)
	// Close closes the clients and the servers that belong to the drill. It is idempotent.
	Close() error
	// Metrics returns those of the clients under test.
	Metrics() prometheus.Gatherer
}

// Stage is a drill as its scenario sees it. It is safe for concurrent use once the load runs.
type Stage struct{ drill *Drill }

// Event notes that something has happened.
func (s *Stage) Event(text string) {
	s.drill.journal.AddEvent(record.Event{T: s.drill.elapsed(), Text: text})
}

// Tell has change called for each side before its next arrivals, by the goroutine that calls its
// Arrive.
func (s *Stage) Tell(change func(side int)) {
	for i, l := range s.drill.loads {
		l.Tell(func() { change(i) })
	}
}

// Registry returns the metrics of the clients that have some.
func Registry(collectors ...prometheus.Collector) prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors...)
	return r
}
