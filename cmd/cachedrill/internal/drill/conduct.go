package drill

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// conduct plays the phases and takes the samples.
func (d *Drill) conduct(ctx context.Context) error {
	if !pause(ctx, warmUp) {
		return ctx.Err()
	}
	d.started = time.Now()
	watch := newWatcher(ctx, d)
	defer watch.stop()
	var discarded workload.Tally
	for _, s := range d.sides {
		s.recorder.Window(&discarded)
	}
	sampler := sampler{drill: d, last: d.started, watch: watch}
	for i := range d.steps {
		if err := d.begin(i, watch); err != nil {
			return err
		}
		end := d.started.Add(time.Duration(i+1) * d.options.Duration / time.Duration(len(d.steps)))
		if !sampler.until(ctx, i, end) {
			return ctx.Err()
		}
	}
	return nil
}

// begin announces phase i and does to its server what the schedule says.
func (d *Drill) begin(i int, watch *watcher) error {
	p := d.journal.Phase(i)
	p.Begun, p.Start = true, d.elapsed()
	d.journal.SetPhase(i, p)
	for _, s := range d.sides {
		s.load.SetPhase(i)
	}
	step := d.steps[i]
	if step.action == "" {
		return nil
	}
	watch.fault(step)
	if fault := step.action.Fault(); fault == "killed" || fault == "hung" {
		d.tell(func(o *workload.Oracle) { o.Down(step.server) })
	}
	if err := d.options.Rig.Do(step.action, step.server); err != nil {
		return fmt.Errorf("phase %q: %w", step.title, err)
	}
	d.repaired(step)
	return nil
}

// repaired tells the oracles of a server that answers again.
func (d *Drill) repaired(s step) {
	switch s.action {
	case rig.Restart:
		d.tell(func(o *workload.Oracle) {
			if d.options.Rig.Empties {
				o.Emptied(s.server)
			}
			o.Up(s.server)
		})
	case rig.Release:
		d.tell(func(o *workload.Oracle) { o.Up(s.server) })
	}
}

func (d *Drill) tell(change func(*workload.Oracle)) {
	for _, s := range d.sides {
		s.load.Tell(change)
	}
}

// elapsed returns the seconds since the first phase began; 0 before.
func (d *Drill) elapsed() float64 {
	if d.started.IsZero() {
		return 0
	}
	return time.Since(d.started).Seconds()
}

func pause(ctx context.Context, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// noteBudget says once that nothing is stored any more.
func (d *Drill) noteBudget(t float64) {
	if d.broke || d.options.Budget == nil || d.options.Budget.Load() >= 0 {
		return
	}
	d.broke = true
	d.journal.AddEvent(record.Event{T: t, Text: "as many bytes are stored as is allowed; from now on loaded values are not stored"})
}

// sampler turns windows of the recorders into samples.
type sampler struct {
	drill *Drill
	watch *watcher
	last  time.Time
}

// until takes samples of phase i until its end, and reports whether it came so far.
func (s *sampler) until(ctx context.Context, i int, end time.Time) bool {
	for {
		next := s.last.Add(s.drill.options.interval())
		if end.Sub(next) < s.drill.options.interval()/2 {
			next = end
		}
		going := pause(ctx, time.Until(next))
		s.take(i)
		if !going || next.Equal(end) {
			return going
		}
	}
}

func (s *sampler) take(i int) {
	d := s.drill
	now := time.Now()
	seconds := now.Sub(s.last).Seconds()
	s.last = now
	sample := record.Sample{T: d.elapsed(), Phase: i, Faults: d.options.Rig.Faults()}
	var tally workload.Tally
	for side, moment := range map[int]*record.Moment{plain: &sample.Plain, holdfast: &sample.Holdfast} {
		d.sides[side].recorder.Window(&tally)
		*moment = momentOf(&tally, d.sides[side].load.Oldest(), seconds)
	}
	sample.Holdfast.Breakers = s.watch.states()
	d.journal.AddSample(sample)
	d.noteBudget(sample.T)
	p := d.journal.Phase(i)
	p.End = max(p.End, sample.T)
	d.summarize(&p, i)
	d.journal.SetPhase(i, p)
}
