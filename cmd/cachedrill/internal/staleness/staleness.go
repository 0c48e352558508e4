// Package staleness is the scenario in which the source of cached values slows, dies and comes
// back, and then the second level that several processes share fails: otter with a loader, which
// refreshes items as they are read, and holdfast's autorefresh.
package staleness

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
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// Keys is the usual number of different keys of a drill that is not so short that its period is.
const Keys = 2000

// KeysFor returns the usual number of different keys of a drill: the shorter its period the fewer,
// so that the source is called as often.
func KeysFor(duration time.Duration) int {
	return int(Keys * period(duration) / longestPeriod)
}

// What no flag changes.
const (
	processes = 3 // per side
	fillTime  = 30 * time.Second

	longestPeriod  = 2 * time.Second
	shortestPeriod = 250 * time.Millisecond
	periods        = 24 // of the longest drill whose period is not the longest
	stalePeriods   = 20 // after which a value is not served any more
	keptShare      = 4  // a process has room for one of so many keys
)

// Options say what to drill. All fields must be set.
type Options struct {
	drill.Options
	Rig   *rig.Rig // one memcached for each side
	Cost  time.Duration
	Slots int
}

// period returns how old values may grow.
func (o Options) period() time.Duration { return period(o.Duration) }

func period(duration time.Duration) time.Duration {
	return min(max(duration/periods, shortestPeriod), longestPeriod).Round(time.Millisecond)
}

// maxStale returns how old values may be served while they cannot be refreshed.
func (o Options) maxStale() time.Duration { return stalePeriods * o.period() }

// tolerated returns how old a value may be that is no older than was asked for.
func (o Options) tolerated() time.Duration { return o.period() + o.period()/10 }

// local returns how many values a process has room for.
func (o Options) local() int { return max(o.Keys/keptShare, 1) }

// shieldRate returns how many calls of the source a second a process makes at most while the second
// level is down: half as many again as its refreshes take.
func (o Options) shieldRate() float64 { return 1.5 * float64(o.local()) / o.period().Seconds() }

// Staleness is the scenario. It has no useful zero value; New makes one.
type Staleness struct {
	options Options
	steps   []step
	sides   [drill.Sides]*side
	stage   *drill.Stage
	phase   atomic.Int64
	watch   *watcher

	mu    sync.Mutex
	fault string               // guarded by mu; of the source
	usual [drill.Sides]float64 // guarded by mu; calls of the source per second while nothing is wrong
}

// side is one way to cache, in several processes, with its source.
type side struct {
	name     string
	app      *app
	source   *source
	recorder *workload.Recorder
}

// New builds the caches. It asks for nothing yet. The scenario owns the rig.
func New(o Options) (*Staleness, error) {
	s := &Staleness{options: o, steps: steps()}
	s.phase.Store(-1)
	for i, build := range []func(Options, int, string, *source) (process, error){newPlain, newHoldfast} {
		name := drill.SideNames()[i]
		u := &side{name: name, recorder: workload.NewRecorder(len(s.steps))}
		u.source = newSource(o.Cost, o.Slots, strings.Repeat("v", o.ValueSize), func() {
			u.recorder.Count(int(s.phase.Load()), func(t *workload.Tally) { t.Loads++ })
		})
		u.app = &app{options: o, prefix: fmt.Sprintf("%s%s:%s", workload.Prefix, o.Run, name[:1]), recorder: u.recorder}
		s.sides[i] = u
		for number := range processes {
			p, err := build(o, number, o.Rig.Addrs(i)[0], u.source)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("%s: %w", name, err), s.Close())
			}
			u.app.processes = append(u.app.processes, p)
		}
	}
	return s, nil
}

// Shape returns what both applications ask for.
func (s *Staleness) Shape() workload.Shape { return s.options.Shape(0) }

// Side returns the application of a side and where it counts.
func (s *Staleness) Side(i int) (workload.Handler, *workload.Recorder) {
	return s.sides[i].app, s.sides[i].recorder
}

// Metrics returns those of the caches and of their clients.
func (s *Staleness) Metrics() prometheus.Gatherer {
	var collectors []prometheus.Collector
	for _, p := range s.sides[drill.Holdfast].app.processes {
		collectors = append(collectors, p.collectors...)
	}
	return drill.Registry(collectors...)
}

// Prepare fills the caches, of both sides at the same time.
func (s *Staleness) Prepare(ctx context.Context, stage *drill.Stage) error {
	s.stage = stage
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	var errs [drill.Sides]error
	var workers sync.WaitGroup
	for i, u := range s.sides {
		workers.Go(func() {
			if err := u.app.fill(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: filling the caches: %w", u.name, err)
			}
		})
	}
	workers.Wait()
	return errors.Join(errs[:]...)
}

// Begin carries out a step of the schedule on the sources or the second levels.
func (s *Staleness) Begin(ctx context.Context, i int) error {
	if s.watch == nil {
		s.watch = newWatcher(ctx, s)
	}
	s.phase.Store(int64(i))
	step := s.steps[i]
	if step.after != "" {
		s.watch.Do(step)
	}
	if step.source != nil {
		s.mu.Lock()
		s.fault = step.Fault
		s.mu.Unlock()
		for _, u := range s.sides {
			step.source(u.source)
		}
	}
	if step.second != "" {
		return s.options.Rig.Do(step.second, 0)
	}
	return nil
}

// Settle has nothing to wait for.
func (s *Staleness) Settle(context.Context, int) error { return nil }

// Release ends the calls under way, by closing the sources and the servers.
func (s *Staleness) Release() {
	for _, u := range s.sides {
		u.source.close()
	}
	_ = s.options.Rig.Close()
}

// Sweep has nothing to do: the second levels are the drill's own.
func (s *Staleness) Sweep(context.Context) {}

// Close closes the caches, the clients and the servers.
func (s *Staleness) Close() error {
	if s.watch != nil {
		s.watch.Stop()
	}
	var errs []error
	for _, u := range s.sides {
		if u == nil {
			continue
		}
		u.source.close()
		for _, p := range u.app.processes {
			errs = append(errs, p.close())
		}
	}
	return errors.Join(append(errs, s.options.Rig.Close())...)
}

// Observe adds how old the answers were and how often the source was called.
func (s *Staleness) Observe(sample *record.Sample, tallies *[drill.Sides]workload.Tally, seconds float64) {
	s.mu.Lock()
	sample.Faults = append([]string{s.fault}, s.options.Rig.Faults()...)
	s.mu.Unlock()
	for i, moment := range []*record.Moment{&sample.Plain, &sample.Holdfast} {
		t := &tallies[i]
		moment.AgeMoment = &record.AgeMoment{
			AgeP99:    drill.Milliseconds(t.Age.Quantile(.99)),
			CallsRate: float64(t.Loads) / seconds,
		}
	}
	sample.Holdfast.Breakers = s.watch.states()
}

// Summarize adds the same of a phase.
func (s *Staleness) Summarize(summary *record.Summary, side, step int, t *workload.Tally, seconds float64) {
	rate := float64(t.Loads) / max(seconds, 1e-3)
	s.mu.Lock()
	if step == 0 {
		s.usual[side] = rate
	}
	usual := s.usual[side]
	s.mu.Unlock()
	summary.AgeSummary = &record.AgeSummary{
		AgeP50: drill.Milliseconds(t.Age.Quantile(.5)), AgeP99: drill.Milliseconds(t.Age.Quantile(.99)), AgeMax: drill.Milliseconds(t.Age.Max()),
		AgeRatio: float64(t.Age.Quantile(.99)) / float64(s.options.period()),
		TooOld:   t.TooOld, TooOldPercent: drill.Percent(t.TooOld, t.Age.Count()),
		Calls: t.Loads, CallsRate: rate, CallRatio: rate / max(usual, 1),
	}
}
