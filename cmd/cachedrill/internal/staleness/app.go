package staleness

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

const fillers = 16

// app is an application of several processes, which take turns. It is safe for concurrent use,
// Arrive excepted.
type app struct {
	options   Options
	prefix    string
	processes []process
	recorder  *workload.Recorder
	turn      int // owned by Arrive
}

func (a *app) key(rank int) string { return fmt.Sprintf("%s:%d", a.prefix, rank) }

// fill has each process load all keys, the most popular last: these stay where there is no room for
// all.
func (a *app) fill(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, p := range a.processes {
		ranks := make(chan int)
		var workers sync.WaitGroup
		for range fillers {
			workers.Go(func() {
				for rank := range ranks {
					err := workload.Persistently(ctx, func() error {
						_, err := p.get(ctx, a.key(rank))
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
	}
	return context.Cause(ctx)
}

// Arrive says which process an arrival goes to: its Key is then the rank times the number of
// processes, and the process added.
func (a *app) Arrive(r *workload.Arrival) {
	r.Key = r.Key*len(a.processes) + a.turn
	a.turn = (a.turn + 1) % len(a.processes)
}

// GiveUp counts a request whose caller has left.
func (a *app) GiveUp(r workload.Arrival) {
	a.count(r, drill.Patience, value{}, context.DeadlineExceeded)
}

// Serve carries an arrival out.
func (a *app) Serve(ctx context.Context, r workload.Arrival) {
	if time.Since(r.At) > drill.Patience {
		a.GiveUp(r)
		return
	}
	limited, cancel := context.WithTimeout(ctx, a.options.Timeout)
	defer cancel()
	v, err := a.processes[r.Key%len(a.processes)].get(limited, a.key(r.Key/len(a.processes)))
	if ctx.Err() == nil { // what ends because the drill was stopped says nothing
		a.count(r, time.Since(r.At), v, err)
	}
}

func (a *app) count(r workload.Arrival, latency time.Duration, v value, err error) {
	age := time.Since(time.Unix(0, v.At))
	a.recorder.Count(r.Phase, func(t *workload.Tally) {
		t.Latency.Add(latency)
		t.Reads++
		if err != nil || latency > drill.Patience {
			t.Errors++
			t.Unanswered++
			return
		}
		t.Age.Add(age)
		if age > a.options.tolerated() {
			t.TooOld++
		}
	})
}
