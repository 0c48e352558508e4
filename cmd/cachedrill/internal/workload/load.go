package workload

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lateness is how late a request may be made before it is worth noting: timers are no better than that.
const lateness = 5 * time.Millisecond

// Load makes requests to an application at fixed times. A request that finds all workers busy waits in a queue; one that
// has waited longer than the patience is given up. Latencies count from the arrival, so that a blocked application
// cannot hide the requests that it kept waiting.
type Load struct {
	app     *App
	stream  *Stream
	workers int
	phase   atomic.Int64
	faults  chan func(*Oracle)
	oracle  *Oracle
	queue   *queue
}

// NewLoad returns the load of one application. Arrivals before the first SetPhase belong to no phase.
func NewLoad(app *App, shape Shape, oracle *Oracle, workers int) *Load {
	l := &Load{app: app, stream: NewStream(shape), workers: workers, oracle: oracle, queue: newQueue(), faults: make(chan func(*Oracle), 16)}
	l.phase.Store(-1)
	return l
}

// SetPhase says to which phase coming arrivals belong.
func (l *Load) SetPhase(phase int) { l.phase.Store(int64(phase)) }

// Tell has the oracle learn of a fault before the next arrivals. It may be called 16 times while Run does not run.
func (l *Load) Tell(change func(*Oracle)) { l.faults <- change }

// Run makes requests from start until stop is closed, and returns when all of them have ended; when ctx ends it leaves out
// those that still wait.
func (l *Load) Run(ctx context.Context, start time.Time, stop <-chan struct{}) {
	var workers sync.WaitGroup
	for range l.workers {
		workers.Go(func() {
			for r, ok := l.queue.pop(); ok; r, ok = l.queue.pop() {
				if ctx.Err() == nil {
					l.app.serve(ctx, r)
				}
			}
		})
	}
	l.dispatch(ctx, start, stop)
	l.queue.close()
	workers.Wait()
}

// Oldest returns how long the oldest read that no worker has taken yet has been waiting; 0 if none waits.
func (l *Load) Oldest() time.Duration {
	at, waits := l.queue.oldest()
	if !waits {
		return 0
	}
	return time.Since(at)
}

func (l *Load) dispatch(ctx context.Context, start time.Time, stop <-chan struct{}) {
	next := l.stream.Next(start)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-stop:
			return
		case change := <-l.faults:
			change(l.oracle)
			continue
		case <-timer.C:
		}
		if late := time.Since(next.At); late > lateness {
			l.app.Recorder.both(int(l.phase.Load()), func(t *Tally) { t.Late = max(t.Late, late) })
		}
		for ; !next.At.After(time.Now()); next = l.stream.Next(start) {
			l.arrive(next)
		}
		for _, r := range l.queue.expire(time.Now().Add(-l.app.Patience)) {
			l.app.giveUp(r)
		}
		timer.Reset(time.Until(next.At))
	}
}

func (l *Load) arrive(r Arrival) {
	r.Phase = int(l.phase.Load())
	if r.Update {
		l.oracle.Update(r.Key)
		l.app.Database.Change(r.Key)
	} else if l.oracle.Read(r.Key) {
		l.app.Recorder.both(r.Phase, func(t *Tally) { t.Needed++ })
	}
	l.queue.push(r)
}
