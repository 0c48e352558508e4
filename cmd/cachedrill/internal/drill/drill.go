// Package drill drives the same load through two clients while servers are broken and repaired, and
// records what their callers notice. A Scenario supplies the servers and clients.
package drill

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// Drill is one rehearsal. It has no useful zero value; New makes one, Run carries it out. Close
// must be called.
type Drill struct {
	scenario  Scenario
	options   Options
	steps     []Step
	journal   *record.Journal
	loads     [Sides]*workload.Load
	recorders [Sides]*workload.Recorder
	started   atomic.Pointer[time.Time] // of the first phase; nil before

	broke bool // the budget was spent, and an event said so
}

// New builds the journal. It sends nothing yet. The drill owns the scenario.
func New(s Scenario, o Options) *Drill {
	d := &Drill{scenario: s, options: o, steps: s.Steps()}
	d.journal = record.NewJournal(d.firstPage())
	return d
}

// Journal returns the record as it grows.
func (d *Drill) Journal() *record.Journal { return d.journal }

// Metrics returns those of the clients under test.
func (d *Drill) Metrics() prometheus.Gatherer { return d.scenario.Metrics() }

// Close closes the clients and the servers that belong to the drill. It is idempotent. It must not
// be called during Run.
func (d *Drill) Close() error { return d.scenario.Close() }

// Run prepares, warms up and plays all phases. It returns when all requests have ended and the
// journal is finished, also when ctx ends early, and closes the drill.
func (d *Drill) Run(ctx context.Context) error {
	err := d.run(ctx)
	if ctx.Err() != nil {
		err = nil // the journal says that it was interrupted
	}
	d.scenario.Sweep(ctx)
	d.finish(ctx, err)
	return errors.Join(err, d.Close())
}

func (d *Drill) run(ctx context.Context) error {
	stopWaking := context.AfterFunc(ctx, d.scenario.Release) // or calls to a hung server would go on
	defer stopWaking()
	if err := d.scenario.Prepare(ctx, &Stage{d}); err != nil {
		return err
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	start := time.Now()
	for i := range d.loads {
		var handler workload.Handler
		handler, d.recorders[i] = d.scenario.Side(i)
		d.loads[i] = workload.NewLoad(handler, workload.LoadOptions{
			Shape: d.scenario.Shape(), Workers: d.options.Workers, Patience: Patience, Recorder: d.recorders[i],
		})
		running.Go(func() { d.loads[i].Run(ctx, start, stop) })
	}
	err := d.conduct(ctx)
	close(stop)
	d.release(&running)
	return err
}

// release waits for the calls under way, and no longer than they may take.
func (d *Drill) release(running *sync.WaitGroup) {
	late := time.AfterFunc(d.options.Timeout+Patience, d.scenario.Release)
	defer late.Stop()
	running.Wait()
}

// finish computes the final summaries and the verdict.
func (d *Drill) finish(ctx context.Context, failure error) {
	d.journal.Finish(func(r *record.Record) {
		for i := range r.Phases {
			if r.Phases[i].Begun {
				d.summarize(&r.Phases[i], i)
			}
		}
		if late := lateness(r.Phases); late != "" {
			r.Conditions = append(r.Conditions, late)
		}
		var kept bool
		r.Promises, kept = promise.Judge(d.options.Promises, r.Phases)
		switch {
		case ctx.Err() != nil || failure != nil:
			r.Verdict, r.Cut = record.Interrupted, r.More
			promise.LeaveOpen(r.Promises)
		case kept:
			r.Verdict = record.Kept
		default:
			r.Verdict = record.Broken
		}
	})
}
