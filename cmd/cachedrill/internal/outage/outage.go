// Package outage is the scenario in which memcached servers fail: a plain client and holdfast, each
// with an application that reads through its cache to a database.
package outage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// What no flag changes.
const (
	updates   = 0.02
	grace     = time.Second
	fillTime  = time.Minute
	watchEach = 5 * time.Millisecond
)

// Options say what to drill. All fields must be set.
type Options struct {
	drill.Options
	Rig     *rig.Rig
	DBCost  time.Duration
	DBSlots int
}

// own reports whether the servers are the drill's own, so that a client may store there what it
// likes.
func (o Options) own() bool { return o.Budget == nil }

// Outage is the scenario. It has no useful zero value; New makes one.
type Outage struct {
	options Options
	steps   []step
	owners  []int
	sides   [drill.Sides]*side
	stage   *drill.Stage
	watch   *watcher
}

// side is one client with its application.
type side struct {
	client   client
	app      *workload.App
	recorder *workload.Recorder
}

// New builds the clients. It sends nothing yet. The scenario owns the rig.
func New(o Options) (*Outage, error) {
	u := &Outage{options: o, steps: schedule(o.Rig)}
	keys, owners, err := workload.Keys(o.Run, o.Keys, len(o.Rig.Kinds), sideNames()...)
	if err != nil {
		return nil, errors.Join(err, u.Close())
	}
	u.owners = owners
	for i, connect := range []func(connection) (client, error){newPlain, newHoldfast} {
		c, err := connect(connection{addrs: o.Rig.Addrs(i), timeout: o.Timeout, conns: o.Workers, own: o.own()})
		if err != nil {
			return nil, errors.Join(err, u.Close())
		}
		u.sides[i] = u.newSide(c, keys[i])
	}
	return u, nil
}

func (u *Outage) newSide(c client, keys []string) *side {
	o := u.options
	s := &side{client: c, recorder: workload.NewRecorder(len(u.steps))}
	s.app = &workload.App{AppOptions: workload.AppOptions{
		Cache: c.cache, Keys: keys, Recorder: s.recorder, ValueSize: o.ValueSize, TTL: o.TTL,
		Database: workload.NewDatabase(o.Keys, o.DBCost, o.DBSlots),
		Patience: drill.Patience, Grace: grace, Budget: o.Budget,
	}}
	return s
}

// Shape returns what both applications ask for.
func (u *Outage) Shape() workload.Shape { return u.options.Shape(updates) }

// Side returns the application of a side and where it counts.
func (u *Outage) Side(i int) (workload.Handler, *workload.Recorder) {
	return u.sides[i].app, u.sides[i].recorder
}

// Metrics returns those of the client.
func (u *Outage) Metrics() prometheus.Gatherer {
	var collectors []prometheus.Collector
	for _, s := range u.sides {
		if c, ok := s.client.cache.(prometheus.Collector); ok {
			collectors = append(collectors, c)
		}
	}
	return drill.Registry(collectors...)
}

// Prepare stores the values that the caches begin with, on both sides at the same time.
func (u *Outage) Prepare(ctx context.Context, stage *drill.Stage) error {
	u.stage = stage
	filling, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	var errs [drill.Sides]error
	var workers sync.WaitGroup
	for i, s := range u.sides {
		workers.Go(func() {
			var stored []bool
			stored, errs[i] = s.app.Fill(filling, u.owners, len(u.options.Rig.Kinds))
			s.app.Oracle = u.oracle(stored)
		})
	}
	workers.Wait()
	if err := errors.Join(errs[:]...); err != nil && u.options.Budget == nil {
		return fmt.Errorf("filling the caches: %w", err)
	}
	return nil // servers that are not ours may refuse: their keys are then loaded when they are first read
}

// oracle returns the oracle of one side, which knows the servers that were down from the start.
func (u *Outage) oracle(stored []bool) *workload.Oracle {
	faults := u.options.Rig.Faults()
	o := workload.NewOracle(u.owners, len(faults), stored)
	for i, fault := range faults {
		if fault != "" {
			o.Down(i)
		}
	}
	return o
}

// Begin carries out a step of the schedule on its server.
func (u *Outage) Begin(ctx context.Context, i int) error {
	if u.watch == nil {
		u.watch = newWatcher(ctx, u)
	}
	s := u.steps[i]
	if s.action == "" {
		return nil
	}
	u.watch.Do(s)
	if fault := s.action.Fault(); fault == "killed" || fault == "hung" {
		u.tell(func(o *workload.Oracle) { o.Down(s.Server) })
	}
	if err := u.options.Rig.Do(s.action, s.Server); err != nil {
		return err
	}
	u.repaired(s)
	return nil
}

// repaired tells the oracles of a server that answers again.
func (u *Outage) repaired(s step) {
	switch s.action {
	case rig.Restart:
		u.tell(func(o *workload.Oracle) {
			if u.options.Rig.Empties {
				o.Emptied(s.Server)
			}
			o.Up(s.Server)
		})
	case rig.Release:
		u.tell(func(o *workload.Oracle) { o.Up(s.Server) })
	}
}

func (u *Outage) tell(change func(*workload.Oracle)) {
	u.stage.Tell(func(side int) { change(u.sides[side].app.Oracle) })
}

// Settle has nothing to wait for.
func (u *Outage) Settle(context.Context, int) error { return nil }

// Release ends the calls under way, by closing the servers.
func (u *Outage) Release() { _ = u.options.Rig.Close() }

// Close closes the clients and the servers that belong to the drill.
func (u *Outage) Close() error {
	if u.watch != nil {
		u.watch.Stop()
	}
	errs := []error{u.options.Rig.Close()}
	for _, s := range u.sides {
		if s != nil {
			errs = append(errs, s.client.close())
		}
	}
	return errors.Join(errs...)
}

// Observe adds the faults of the servers, and the figures that only a cache has.
func (u *Outage) Observe(s *record.Sample, tallies *[drill.Sides]workload.Tally, seconds float64) {
	s.Faults = u.options.Rig.Faults()
	for i, moment := range []*record.Moment{&s.Plain, &s.Holdfast} {
		moment.CacheMoment = cacheMoment(&tallies[i], seconds)
	}
	s.Holdfast.Breakers = u.watch.states()
}

func cacheMoment(t *workload.Tally, seconds float64) *record.CacheMoment {
	per := func(n int) float64 { return float64(n) / seconds }
	return &record.CacheMoment{
		HitRatio: t.HitRatio(), LoadsRate: per(t.Loads), NeededRate: per(t.Needed), StaleRate: per(t.Stale), FailedWrites: per(t.FailedWrites),
	}
}

// Summarize adds what only a cache has.
func (u *Outage) Summarize(s *record.Summary, side, _ int, t *workload.Tally, _ float64) {
	var healthy workload.Tally
	u.sides[side].recorder.Phase(0, &healthy)
	s.CacheSummary = &record.CacheSummary{
		HitRatio: t.HitRatio(), Loads: t.Loads, NeededLoads: t.Needed, LoadRatio: t.LoadRatio(),
		LoadFactor: t.LoadFactor(&healthy), CacheErrors: t.CacheErrors,
		Stale: t.Stale, StalePercent: drill.Percent(t.Stale, t.Reads), FailedWrites: t.FailedWrites,
	}
}
