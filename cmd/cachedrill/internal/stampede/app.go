package stampede

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

const fillers = 16

// app stands for all processes of a side, as behind a load balancer. It is safe for
// concurrent use, Arrive excepted.
type app struct {
	options  Options
	keys     []string
	family   *family
	database *database
	oracle   *workload.Oracle // owned by Arrive
	recorder *workload.Recorder
}

// fill has the owners load all keys.
func (a *app) fill(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ranks := make(chan int)
	var workers sync.WaitGroup
	for range fillers {
		workers.Go(func() {
			for rank := range ranks {
				err := workload.Persistently(ctx, func() error {
					_, err := a.family.get(ctx, a.keys[rank])
					return err
				})
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for rank := a.options.Keys - 1; rank >= 0 && ctx.Err() == nil; rank-- {
		ranks <- rank
	}
	close(ranks)
	workers.Wait()
	return context.Cause(ctx)
}

// Arrive has the oracle and the database learn of an arrival.
func (a *app) Arrive(r *workload.Arrival) {
	if r.Update {
		r.Firm = true // what a reader gives up, a writer must still do
		a.oracle.Update(r.Key)
		a.database.values.Change(r.Key)
	} else if a.oracle.Read(r.Key) {
		a.recorder.Count(r.Phase, func(t *workload.Tally) { t.Needed++ })
	}
}

// GiveUp counts a request whose caller has left.
func (a *app) GiveUp(r workload.Arrival) {
	a.recorder.Count(r.Phase, func(t *workload.Tally) { count(t, drill.Patience, context.DeadlineExceeded) })
}

// Serve carries an arrival out.
func (a *app) Serve(ctx context.Context, r workload.Arrival) {
	limited, cancel := context.WithTimeout(ctx, a.options.Timeout+drill.Patience) // the process keeps the time limit itself
	defer cancel()
	if r.Update {
		if err := a.family.remove(limited, a.keys[r.Key]); err != nil && ctx.Err() == nil {
			a.recorder.Count(r.Phase, func(t *workload.Tally) { t.FailedWrites++ })
		}
		return
	}
	if time.Since(r.At) > drill.Patience {
		a.GiveUp(r)
		return
	}
	value, err := a.family.get(limited, a.keys[r.Key])
	if ctx.Err() != nil {
		return // what ends because the drill was stopped says nothing
	}
	latency, outdated := time.Since(r.At), err == nil && a.database.outdated(r.Key, value, grace)
	a.recorder.Count(r.Phase, func(t *workload.Tally) {
		count(t, latency, err)
		if outdated {
			t.Stale++
		}
	})
}

// count counts a read.
func count(t *workload.Tally, latency time.Duration, err error) {
	t.Reads++
	t.Latency.Add(latency)
	if err != nil || latency > drill.Patience {
		t.Errors++
		t.Unanswered++
	}
}

var errHerd = errors.New("a caller of a herd got an error")

// herd lets many callers ask for a key that was not asked for before, at all processes that are up,
// and counts.
func (a *app) herd(ctx context.Context, phase, rank int) {
	a.recorder.Count(phase, func(t *workload.Tally) { t.Needed++ })
	up := a.family.rotation.all()
	limited, cancel := context.WithTimeout(ctx, a.options.Timeout+drill.Patience)
	defer cancel()
	var calling sync.WaitGroup
	for _, i := range up {
		calling.Go(func() {
			callers := herdCallers / len(up)
			h, err := a.family.herd(limited, i, a.keys[rank], callers)
			if ctx.Err() != nil {
				return
			}
			a.recorder.Count(phase, func(t *workload.Tally) {
				for _, took := range h.Answered {
					count(t, took, nil)
				}
				for _, took := range h.Failed {
					count(t, took, errHerd)
				}
				for range callers - len(h.Answered) - len(h.Failed) {
					count(t, drill.Patience, err)
				}
			})
		})
	}
	calling.Wait()
	loads := int(a.database.loads[rank].Load())
	if ctx.Err() == nil {
		a.recorder.Count(phase, func(t *workload.Tally) {
			t.Herds++
			t.HerdLoads += loads
			t.WorstHerd = max(t.WorstHerd, loads)
		})
	}
}
