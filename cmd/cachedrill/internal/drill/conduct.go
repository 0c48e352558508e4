package drill

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
	"github.com/holdfast-go/holdfast/internal/backoff"
)

// conduct plays the phases and takes the samples.
func (d *Drill) conduct(ctx context.Context) error {
	if !backoff.Pause(ctx, warmUp) {
		return ctx.Err()
	}
	start := time.Now()
	d.started.Store(&start)
	var discarded workload.Tally
	for _, r := range d.recorders {
		r.Window(&discarded)
	}
	sampler := sampler{drill: d, last: start}
	end := start
	for i := range d.steps {
		if err := d.begin(ctx, i); err != nil {
			return err
		}
		end = end.Add(d.options.Duration / time.Duration(len(d.steps)))
		if !sampler.until(ctx, i, end) {
			return ctx.Err()
		}
		if err := sampler.settle(ctx, i); err != nil {
			return d.failed(i, err)
		}
		if over := time.Since(end); over > d.options.interval()/2 {
			end = end.Add(over)
			d.postpone(i+1, over)
		}
	}
	return nil
}

// begin announces phase i and has the scenario carry it out.
func (d *Drill) begin(ctx context.Context, i int) error {
	p := d.journal.Phase(i)
	p.Begun, p.Start = true, d.elapsed()
	d.journal.SetPhase(i, p)
	for _, l := range d.loads {
		l.SetPhase(i)
	}
	if err := d.scenario.Begin(ctx, i); err != nil {
		return d.failed(i, err)
	}
	return nil
}

func (d *Drill) failed(i int, err error) error {
	return fmt.Errorf("phase %q: %w", d.steps[i].Title, err)
}

// postpone moves the phases from the given one on, because the one before took longer.
func (d *Drill) postpone(first int, by time.Duration) {
	for i := first; i < len(d.steps); i++ {
		p := d.journal.Phase(i)
		p.Start, p.End = p.Start+by.Seconds(), p.End+by.Seconds()
		d.journal.SetPhase(i, p)
	}
}

// elapsed returns the seconds since the first phase began; 0 before.
func (d *Drill) elapsed() float64 {
	started := d.started.Load()
	if started == nil {
		return 0
	}
	return time.Since(*started).Seconds()
}

// noteBudget says once that nothing is stored any more.
func (d *Drill) noteBudget(t float64) {
	if d.broke || d.options.Budget == nil || d.options.Budget.Load() >= 0 {
		return
	}
	d.broke = true
	d.journal.AddEvent(record.Event{T: t, Text: "as many bytes are stored as is allowed; from now on nothing more is stored"})
}

// sampler turns windows of the recorders into samples.
type sampler struct {
	drill *Drill
	last  time.Time
}

// until takes samples of phase i until its end, and reports whether it came so far.
func (s *sampler) until(ctx context.Context, i int, end time.Time) bool {
	for {
		next := s.last.Add(s.drill.options.interval())
		if end.Sub(next) < s.drill.options.interval()/2 {
			next = end
		}
		going := backoff.Pause(ctx, time.Until(next))
		if going || s.isDue() {
			s.take(i)
		}
		if !going || next.Equal(end) {
			return going
		}
	}
}

// settle takes samples of phase i until its scenario has finished it.
func (s *sampler) settle(ctx context.Context, i int) error {
	settled := make(chan error, 1)
	go func() { settled <- s.drill.scenario.Settle(ctx, i) }()
	ticker := time.NewTicker(s.drill.options.interval())
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.take(i)
		case err := <-settled:
			if s.isDue() {
				s.take(i)
			}
			s.drill.refresh(i, s.drill.elapsed())
			return err
		}
	}
}

// isDue reports whether the present window is long enough for rates: in the last moment of a drill
// that is interrupted, many calls end at once.
func (s *sampler) isDue() bool { return time.Since(s.last) > s.drill.options.interval()/2 }

func (s *sampler) take(i int) {
	d := s.drill
	now := time.Now()
	seconds := now.Sub(s.last).Seconds()
	s.last = now
	sample := record.Sample{T: d.elapsed(), Phase: i}
	var tallies [Sides]workload.Tally
	for side, moment := range []*record.Moment{&sample.Plain, &sample.Holdfast} {
		d.recorders[side].Window(&tallies[side])
		*moment = momentOf(&tallies[side], d.loads[side].Oldest(), seconds)
	}
	d.scenario.Observe(&sample, &tallies, seconds)
	d.journal.AddSample(sample)
	d.noteBudget(sample.T)
	d.refresh(i, sample.T)
}

// refresh adds the measurements of phase i up to a time to the journal.
func (d *Drill) refresh(i int, elapsed float64) {
	p := d.journal.Phase(i)
	p.End = max(p.End, elapsed)
	d.summarize(&p, i)
	d.journal.SetPhase(i, p)
}
