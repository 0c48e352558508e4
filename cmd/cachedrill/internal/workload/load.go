package workload

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lateness is how late a request may be made before it is worth noting: timers are no better than
// that.
const lateness = 5 * time.Millisecond

// Handler is an application under load.
type Handler interface {
	// Arrive is called for each arrival at its time, before it waits for a worker, by one
	// goroutine. It may change r.
	Arrive(r *Arrival)
	// Serve carries an arrival out. It is called by many goroutines.
	Serve(ctx context.Context, r Arrival)
	// GiveUp counts an arrival whose caller has left before a worker took it.
	GiveUp(r Arrival)
}

// LoadOptions say how much load there is. All fields must be set.
type LoadOptions struct {
	Shape    Shape
	Workers  int
	Patience time.Duration // how long a caller waits for an answer
	Recorder *Recorder     // told when the load itself is late
}

// Load makes requests to an application at fixed times. A request that finds all workers busy waits
// in a queue; one that has waited longer than the patience is given up. Latencies count from the
// arrival, so that a blocked application cannot hide the requests that it kept waiting.
type Load struct {
	handler Handler
	options LoadOptions
	stream  *Stream
	phase   atomic.Int64
	changes chan func()
	queue   *queue
}

// NewLoad returns the load of one application. Arrivals before the first SetPhase belong to no
// phase.
func NewLoad(h Handler, o LoadOptions) *Load {
	l := &Load{handler: h, options: o, stream: NewStream(o.Shape), queue: newQueue(), changes: make(chan func(), 16)}
	l.phase.Store(-1)
	return l
}

// SetPhase says to which phase coming arrivals belong.
func (l *Load) SetPhase(phase int) { l.phase.Store(int64(phase)) }

// Tell has change called before the next arrivals, by the goroutine that calls Arrive. It may be
// called 16 times while Run does not run.
func (l *Load) Tell(change func()) { l.changes <- change }

// Run makes requests from start until stop is closed, and returns when all of them have ended; when
// ctx ends it leaves out those that still wait.
func (l *Load) Run(ctx context.Context, start time.Time, stop <-chan struct{}) {
	var workers sync.WaitGroup
	for range l.options.Workers {
		workers.Go(func() {
			for r, ok := l.queue.pop(); ok; r, ok = l.queue.pop() {
				if ctx.Err() == nil {
					l.handler.Serve(ctx, r)
				}
			}
		})
	}
	l.dispatch(ctx, start, stop)
	l.queue.close()
	workers.Wait()
}

// Oldest returns how long the oldest read that no worker has taken yet has been waiting; 0 if none
// waits.
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
		case change := <-l.changes:
			change()
			continue
		case <-timer.C:
		}
		if late := time.Since(next.At); late > lateness {
			l.options.Recorder.Count(int(l.phase.Load()), func(t *Tally) { t.Late = max(t.Late, late) })
		}
		for ; !next.At.After(time.Now()); next = l.stream.Next(start) {
			next.Phase = int(l.phase.Load())
			l.handler.Arrive(&next)
			l.queue.push(next)
		}
		for _, r := range l.queue.expire(time.Now().Add(-l.options.Patience)) {
			l.handler.GiveUp(r)
		}
		timer.Reset(time.Until(next.At))
	}
}
