package stampede

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
)

// drainEach is how often a drain looks whether it is done.
const drainEach = time.Millisecond

// rotation gives requests to processes in turn, as a load balancer does that knows which of them
// are up. It is safe for concurrent use.
type rotation struct {
	mu    sync.Mutex
	up    []int // guarded by mu
	turn  int   // guarded by mu
	under []int // guarded by mu; requests under way, per process
}

func newRotation(count int) *rotation {
	r := &rotation{under: make([]int, count)}
	for i := range count {
		r.up = append(r.up, i)
	}
	return r
}

// take returns whose turn it is; done must be called.
func (r *rotation) take() (process int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn++
	process = r.up[r.turn%len(r.up)]
	r.under[process]++
	return process
}

func (r *rotation) done(process int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.under[process]--
}

// all returns those that are up.
func (r *rotation) all() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.up)
}

func (r *rotation) add(process int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.up, process) {
		r.up = append(r.up, process)
	}
}

// drain takes a process out and waits for the requests under way, but not longer than the limit.
func (r *rotation) drain(ctx context.Context, process int, limit time.Duration) {
	r.mu.Lock()
	r.up = slices.DeleteFunc(r.up, func(i int) bool { return i == process })
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for r.busy(process) && backoff.Pause(ctx, drainEach) {
		continue
	}
}

func (r *rotation) busy(process int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.under[process] > 0
}
