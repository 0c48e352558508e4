// Package stampede is the scenario in which processes share a cache, and those of them that own
// keys die and hang while many callers ask for the same key: a peer cache written plainly, and
// holdfast's groupcache.
package stampede

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/member"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
	"github.com/holdfast-go/holdfast/internal/backoff"
)

// Usual figures: each request takes two or three more between processes, so fewer of them keep a
// machine as busy.
const (
	Rate = 1000
	Keys = 5000
)

// What no flag changes.
const (
	processes   = 3 // per side
	herdCallers = 150
	herdsEach   = 4 // per phase
	updates     = 0.02
	grace       = time.Second // after which a value that was replaced counts as outdated
	fillTime    = 30 * time.Second
	// backAfter is when a process that is up again gets requests again, or a quarter of the phase,
	// if that is less: load balancers take their time, too.
	backAfter = 1500 * time.Millisecond
	// spare is how much more room a process has than for all keys, since parts of a cache fill
	// unevenly.
	spare = 4
)

// herdTimes says when in a phase the herds come, as shares of it. At the very begin there is one
// only if something is broken then: while a process comes back, some of the others know it and some
// do not yet.
func herdTimes() [herdsEach]float64 { return [herdsEach]float64{0, .4, .55, .7} }

// Options say what to drill. All fields must be set.
type Options struct {
	drill.Options
	Cost  time.Duration
	Slots int
}

// Stampede is the scenario. It has no useful zero value; New makes one.
type Stampede struct {
	options Options
	steps   []step
	sides   [drill.Sides]*side
	owners  []int // per rank, on both sides; the ranks after those of the load are the herds', one each, whose owner the phase is about
	stage   *drill.Stage
	phase   atomic.Int64
	watch   *watcher
	life    context.Context // of what goes on beside the load
	end     context.CancelFunc
	work    sync.WaitGroup

	mu     sync.Mutex
	faults []string // guarded by mu; per process
}

// side is one way to share a cache.
type side struct {
	name     string
	app      *app
	recorder *workload.Recorder
	lastHerd atomic.Int64 // loads of the last herd
}

// New chooses ports and opens the databases. It starts no processes yet. ctx bounds only New.
func New(ctx context.Context, o Options) (*Stampede, error) {
	s := &Stampede{options: o, steps: schedule(), faults: make([]string, processes)}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.phase.Store(-1)
	for rank := range o.Keys {
		s.owners = append(s.owners, rank%processes)
	}
	for _, step := range s.steps {
		for n := range herdsEach {
			owner := step.Server
			if owner < 0 {
				owner = n % processes
			}
			s.owners = append(s.owners, owner)
		}
	}
	for i := range s.sides {
		u := &side{name: drill.SideNames()[i], recorder: workload.NewRecorder(len(s.steps))}
		if err := s.build(ctx, u, member.Config{Plain: i == drill.Plain}); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", u.name, err), s.Close())
		}
		s.sides[i] = u
	}
	return s, nil
}

// build makes a side.
//
//nolint:contextcheck // finding free ports takes no context
func (s *Stampede) build(ctx context.Context, u *side, base member.Config) error {
	o := s.options
	ranks := len(s.owners)
	data, err := newDatabase(ctx, o, ranks, func() {
		u.recorder.Count(int(s.phase.Load()), func(t *workload.Tally) { t.Loads++ })
	})
	if err != nil {
		return err
	}
	room := ranks + ranks/spare
	base.Database, base.Room, base.ItemSize = data.url(), room, len(keyOf(ranks, processes))+data.size
	f, err := newFamily(o, base)
	if err != nil {
		return errors.Join(err, data.close())
	}
	u.app = &app{options: o, keys: s.keys(f.urls()), family: f, database: data, recorder: u.recorder}
	return nil
}

// keys returns a key for each rank that belongs to its owner.
func (s *Stampede) keys(urls []string) []string {
	ring := member.NewRing(urls)
	keys := make([]string, len(s.owners))
	for rank, owner := range s.owners {
		for variant := 0; keys[rank] == "" || ring.Get(keys[rank]) != urls[owner]; variant++ {
			keys[rank] = keyOf(rank, variant)
		}
	}
	return keys
}

// Shape returns what both applications ask for.
func (s *Stampede) Shape() workload.Shape { return s.options.Shape(updates) }

// Side returns the application of a side and where it counts.
func (s *Stampede) Side(i int) (workload.Handler, *workload.Recorder) {
	return s.sides[i].app, s.sides[i].recorder
}

// Metrics returns those of all processes of holdfast that answer.
func (s *Stampede) Metrics() prometheus.Gatherer {
	return scraper{s.sides[drill.Holdfast].app.family.urls()}
}

// Prepare starts the processes and fills their caches, of both sides at the same time.
func (s *Stampede) Prepare(ctx context.Context, stage *drill.Stage) error {
	s.stage = stage
	var errs [drill.Sides]error
	var workers sync.WaitGroup
	for i, u := range s.sides {
		workers.Go(func() {
			if err := s.prepare(ctx, u.app); err != nil {
				errs[i] = fmt.Errorf("%s: %w", u.name, err)
			}
		})
	}
	workers.Wait()
	urls := s.sides[drill.Holdfast].app.family.urls()
	stage.Event("the processes of holdfast serve /debug and /metrics at " + strings.Join(urls, ", "))
	return errors.Join(errs[:]...)
}

func (s *Stampede) prepare(ctx context.Context, a *app) error {
	if err := a.family.start(ctx); err != nil {
		return fmt.Errorf("starting the processes: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	if err := a.fill(ctx); err != nil {
		return fmt.Errorf("filling the caches: %w", err)
	}
	a.database.free.Store(false)
	stored := make([]bool, len(s.owners))
	for rank := range s.options.Keys {
		stored[rank] = true
	}
	a.oracle = workload.NewOracle(s.owners, processes, stored)
	return nil
}

// Begin carries out a step of the schedule on a process of each side, and has the herds come.
func (s *Stampede) Begin(ctx context.Context, i int) error {
	if s.watch == nil {
		s.watch = newWatcher(s.life, s) //nolint:contextcheck // it ends with the scenario
	}
	s.phase.Store(int64(i))
	step := s.steps[i]
	if step.action != "" {
		if err := s.act(ctx, step); err != nil {
			return err
		}
	}
	s.work.Go(func() { s.herds(s.life, i) }) //nolint:contextcheck // as above
	return nil
}

// act carries the action of a phase out.
func (s *Stampede) act(ctx context.Context, step step) error {
	s.note(step)
	var errs [drill.Sides]error
	var workers sync.WaitGroup
	for i, u := range s.sides {
		workers.Go(func() { errs[i] = u.app.family.do(ctx, step.action, step.Server) })
	}
	workers.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if step.action != rig.Release { // it owns its keys again, and has them
		s.stage.Tell(func(side int) { s.sides[side].app.oracle.Emptied(step.Server) })
	}
	return nil
}

// note tells the samples and the watcher of an action that is about to begin.
func (s *Stampede) note(step step) {
	s.mu.Lock()
	s.faults[step.Server] = step.Fault
	s.mu.Unlock()
	s.watch.Do(step)
}

func (s *Stampede) faultsNow() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.faults...)
}

// herds lets the herds of a phase come, and the process that is up again get requests.
func (s *Stampede) herds(ctx context.Context, phase int) {
	step := s.steps[phase]
	each := s.options.Duration / time.Duration(len(s.steps))
	began := time.Now()
	until := func(t time.Duration) bool { return backoff.Pause(ctx, t-time.Since(began)) }
	if step.action != "" && step.Fault == "" {
		if !until(min(backAfter, each/4)) {
			return
		}
		for _, u := range s.sides {
			u.app.family.rotation.add(step.Server)
		}
	}
	for n, share := range herdTimes() {
		if share == 0 && step.Fault == "" {
			continue
		}
		if !until(time.Duration(share * float64(each))) {
			return
		}
		s.stampede(ctx, phase, n)
	}
}

// stampede lets one herd come, to both sides.
func (s *Stampede) stampede(ctx context.Context, phase, n int) {
	rank := s.options.Keys + phase*herdsEach + n
	var both sync.WaitGroup
	for _, u := range s.sides {
		both.Go(func() {
			u.app.herd(ctx, phase, rank)
			u.lastHerd.Store(u.app.database.loads[rank].Load())
		})
	}
	both.Wait()
}

// Settle has nothing to wait for.
func (s *Stampede) Settle(context.Context, int) error { return nil }

// Release ends the calls under way, by ending the processes.
func (s *Stampede) Release() {
	s.end()
	for _, u := range s.sides {
		_ = u.app.family.close()
	}
}

// Sweep has nothing to do: all processes are the drill's own.
func (s *Stampede) Sweep(context.Context) {}

// Close ends the processes and closes the databases.
func (s *Stampede) Close() error {
	s.end()
	if s.watch != nil {
		s.watch.Stop()
	}
	s.work.Wait()
	var errs []error
	for _, u := range s.sides {
		if u != nil {
			errs = append(errs, u.app.family.close(), u.app.database.close())
		}
	}
	return errors.Join(errs...)
}

// Observe adds how often the databases were asked, and what became of the last herd.
func (s *Stampede) Observe(sample *record.Sample, tallies *[drill.Sides]workload.Tally, seconds float64) {
	sample.Faults = s.faultsNow()
	for i, moment := range []*record.Moment{&sample.Plain, &sample.Holdfast} {
		t := &tallies[i]
		moment.HerdMoment = &record.HerdMoment{
			DatabaseRate: float64(t.Loads) / seconds, NeededDatabaseRate: float64(t.Needed) / seconds, OutdatedRate: float64(t.Stale) / seconds,
			HerdLoads: float64(s.sides[i].lastHerd.Load()),
		}
	}
	sample.Holdfast.Breakers = s.watch.states()
}

// Summarize adds the same of a phase.
func (s *Stampede) Summarize(summary *record.Summary, side, _ int, t *workload.Tally, _ float64) {
	var healthy workload.Tally
	s.sides[side].recorder.Phase(0, &healthy)
	summary.HerdSummary = &record.HerdSummary{
		DatabaseLoads: t.Loads, NeededDatabaseLoads: t.Needed, DatabaseLoadRatio: t.LoadRatio(), DatabaseLoadFactor: t.LoadFactor(&healthy), Herds: t.Herds, HerdLoads: t.HerdLoads, WorstHerd: t.WorstHerd,
		Outdated: t.Stale, OutdatedPercent: drill.Percent(t.Stale, t.Reads), FailedRemoves: t.FailedWrites,
	}
}
