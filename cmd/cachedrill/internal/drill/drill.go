package drill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// Drill is one rehearsal. It has no useful zero value; New makes one, Run carries it out. Close must be called.
type Drill struct {
	options Options
	steps   []step
	journal *record.Journal
	owners  []int
	sides   [rig.Sides]*side
	started time.Time // of the first phase

	broke bool // the budget was spent, and an event said so
}

// side is one client with its application.
type side struct {
	client   client
	app      *workload.App
	load     *workload.Load
	recorder *workload.Recorder
}

// New builds the clients and the journal. It sends nothing yet.
func New(o Options) (*Drill, error) {
	d := &Drill{options: o, steps: schedule(o.Rig)}
	keys, owners, err := workload.Keys(o.Run, o.Keys, len(o.Rig.Kinds), sideNames()...)
	if err != nil {
		return nil, err
	}
	d.owners = owners
	for i, connect := range []func([]string, time.Duration, int) (client, error){newPlain, newHoldfast} {
		c, err := connect(o.Rig.Addrs(i), o.Timeout, o.Workers)
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		d.sides[i] = d.newSide(c, keys[i])
	}
	d.journal = record.NewJournal(d.firstPage())
	return d, nil
}

func (d *Drill) newSide(c client, keys []string) *side {
	o := d.options
	s := &side{client: c, recorder: workload.NewRecorder(len(d.steps))}
	s.app = &workload.App{AppOptions: workload.AppOptions{
		Cache: c.cache, Keys: keys, Recorder: s.recorder, ValueSize: o.ValueSize, TTL: o.TTL,
		Database: workload.NewDatabase(o.Keys, o.DBCost, o.DBSlots),
		Patience: patience, Grace: grace, Budget: o.Budget,
	}}
	return s
}

// Journal returns the record as it grows.
func (d *Drill) Journal() *record.Journal { return d.journal }

// Run fills the caches, warms up and plays all phases. It returns when all requests have ended and the journal is
// finished, also when ctx ends early; then it closes the servers first, so that nothing waits for them.
func (d *Drill) Run(ctx context.Context) error {
	err := d.run(ctx)
	if ctx.Err() != nil {
		err = nil // the journal says that it was interrupted
	}
	d.sweep(ctx)
	d.finish(ctx, err)
	return errors.Join(err, d.Close())
}

func (d *Drill) run(ctx context.Context) error {
	stopWaking := context.AfterFunc(ctx, func() { _ = d.options.Rig.Close() }) // or calls to a hung server would go on
	defer stopWaking()
	stored, err := d.fill(ctx)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	var loads sync.WaitGroup
	start := time.Now()
	for i, s := range d.sides {
		s.load = workload.NewLoad(s.app, d.options.shape(), d.oracle(stored[i]), d.options.Workers)
		loads.Go(func() { s.load.Run(ctx, start, stop) })
	}
	err = d.conduct(ctx)
	close(stop)
	loads.Wait()
	return err
}

// fill stores the values that the caches begin with, on both sides at the same time.
func (d *Drill) fill(ctx context.Context) (stored [rig.Sides][]bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	var errs [rig.Sides]error
	var workers sync.WaitGroup
	for i, s := range d.sides {
		workers.Go(func() { stored[i], errs[i] = s.app.Fill(ctx, d.owners, len(d.options.Rig.Kinds)) })
	}
	workers.Wait()
	if err := errors.Join(errs[:]...); err != nil && d.options.Budget == nil {
		return stored, fmt.Errorf("filling the caches: %w", err)
	}
	return stored, nil // servers that are not ours may refuse: their keys are then loaded when they are first read
}

// oracle returns the oracle of one side, which knows the servers that were down from the start.
func (d *Drill) oracle(stored []bool) *workload.Oracle {
	faults := d.options.Rig.Faults()
	o := workload.NewOracle(d.owners, len(faults), stored)
	for i, fault := range faults {
		if fault != "" {
			o.Down(i)
		}
	}
	return o
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
			r.Verdict = record.Interrupted
		case kept:
			r.Verdict = record.Kept
		default:
			r.Verdict = record.Broken
		}
	})
}

// Close closes the clients and the servers that belong to the drill. It is idempotent. It must not be called during Run.
func (d *Drill) Close() error {
	errs := []error{d.options.Rig.Close()}
	for _, s := range d.sides {
		if s != nil {
			errs = append(errs, s.client.close())
		}
	}
	return errors.Join(errs...)
}
