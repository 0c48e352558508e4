// Package failover is the scenario in which redis primaries fail over, die and hang: radix's own
// Sentinel client and holdfast, each with an application that reads, and writes keys that it never
// writes twice.
package failover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// What no flag changes.
const (
	writes      = 0.2
	fillTime    = time.Minute
	connectTime = 5 * time.Second
)

// Options say what to drill. All fields must be set.
type Options struct {
	drill.Options
	// Clusters are those of the sides: one that Launch or InProcess made for each, or the same
	// Foreign twice.
	Clusters [drill.Sides]Cluster
}

// foreign reports whether the cluster was there before the drill.
func (o Options) foreign() bool { return !o.Clusters[0].Breakable() }

// Failover is the scenario. It has no useful zero value; New makes one.
type Failover struct {
	options Options
	steps   []step
	sides   [drill.Sides]*side
	stage   *drill.Stage
	watch   *watcher
}

// side is one client with its application and its cluster.
type side struct {
	name     string
	cluster  Cluster
	client   *client
	app      *app
	recorder *workload.Recorder

	mu     sync.Mutex
	audits map[int]audit // guarded by mu; of the phases that have been looked at
}

// New connects the clients, which takes 5 s at most. The scenario owns the clusters.
func New(ctx context.Context, o Options) (*Failover, error) {
	f := &Failover{options: o, steps: ownSteps()}
	if o.foreign() {
		f.steps = foreignSteps()
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	for i, connect := range []func(context.Context, Cluster) (*client, error){newPlain, newHoldfast} {
		name := drill.SideNames()[i]
		c, err := connect(ctx, o.Clusters[i])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
		}
		s := &side{name: name, cluster: o.Clusters[i], client: c, recorder: workload.NewRecorder(len(f.steps)), audits: make(map[int]audit)}
		s.app = newApp(o.Options, name, c, s.recorder)
		f.sides[i] = s
	}
	f.watch = newWatcher(f)
	return f, nil
}

// Shape returns what both applications ask for.
func (f *Failover) Shape() workload.Shape { return f.options.Shape(writes) }

// Side returns the application of a side and where it counts.
func (f *Failover) Side(i int) (workload.Handler, *workload.Recorder) {
	return f.sides[i].app, f.sides[i].recorder
}

// Metrics returns those of the client.
func (f *Failover) Metrics() prometheus.Gatherer {
	return drill.Registry(f.sides[drill.Holdfast].client.collector)
}

// Prepare stores the values that are read, on both sides at the same time.
func (f *Failover) Prepare(ctx context.Context, stage *drill.Stage) error {
	f.stage = stage
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	return f.both(func(s *side) error {
		if err := s.app.fill(ctx); err != nil {
			return fmt.Errorf("storing the first values: %w", err)
		}
		return s.cluster.Settle(ctx)
	})
}

// both does something for both sides at the same time.
func (f *Failover) both(do func(*side) error) error {
	var errs [drill.Sides]error
	var workers sync.WaitGroup
	for i, s := range f.sides {
		workers.Go(func() {
			if err := do(s); err != nil {
				errs[i] = fmt.Errorf("%s: %w", s.name, err)
			}
		})
	}
	workers.Wait()
	return errors.Join(errs[:]...)
}

// Begin carries out a step of the schedule on the primaries.
func (f *Failover) Begin(ctx context.Context, i int) error {
	f.watch.begin(ctx)
	for _, s := range f.sides {
		s.app.ledger.begin(time.Now())
	}
	step := f.steps[i]
	if step.action == "" {
		return nil
	}
	f.watch.Do(step)
	return f.both(func(s *side) error { return s.cluster.Do(ctx, step.action) })
}

// Settle waits until both clusters have one primary again, with all servers behind it, and then
// looks which of the acknowledged writes are there. If calls of the plain client are stuck then, it
// gets a new one, so that the next phase shows what that phase does to it.
func (f *Failover) Settle(ctx context.Context, i int) error {
	if err := f.both(func(s *side) error { return s.cluster.Settle(ctx) }); err != nil {
		return err
	}
	return f.both(func(s *side) error {
		a, err := s.app.ledger.audit(ctx, s.cluster.Present)
		if err != nil {
			return fmt.Errorf("looking for the writes: %w", err)
		}
		s.mu.Lock()
		s.audits[i] = a
		s.mu.Unlock()
		f.watch.lost(s, a.lost)
		if told := s.client.restart(ctx); told != "" {
			f.stage.Event(told)
		}
		return nil
	})
}

// Release abandons the calls of the plain client that are under way.
func (f *Failover) Release() { f.sides[drill.Plain].client.release() }

// Close closes the clients and the servers that belong to the drill.
func (f *Failover) Close() error {
	var errs []error
	if f.watch != nil {
		f.watch.Stop()
	}
	for i, s := range f.sides {
		if s != nil {
			s.client.close()
		}
		errs = append(errs, f.options.Clusters[i].Close())
	}
	return errors.Join(errs...)
}

// Observe adds how the servers are, which one the clients take for the primary, and how many writes
// were acknowledged.
func (f *Failover) Observe(s *record.Sample, tallies *[drill.Sides]workload.Tally, seconds float64) {
	s.Faults = f.watch.states()
	for i, moment := range []*record.Moment{&s.Plain, &s.Holdfast} {
		moment.WriteMoment = &record.WriteMoment{
			AcknowledgedRate: float64(tallies[i].Acknowledged) / seconds,
			Primary:          f.sides[i].client.primary(),
		}
	}
}

// Summarize adds what became of the writes.
func (f *Failover) Summarize(s *record.Summary, i, step int, t *workload.Tally, _ float64) {
	s.WriteSummary = &record.WriteSummary{Writes: t.Writes, Acknowledged: t.Acknowledged}
	u := f.sides[i]
	u.mu.Lock()
	defer u.mu.Unlock()
	if a, ok := u.audits[step]; ok {
		lost, gap := len(a.lost), drill.Milliseconds(a.gap)
		s.Checked, s.Lost, s.Gap = &a.asked, &lost, &gap
	}
}
