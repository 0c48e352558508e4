// Package process has what all groups of one process share: its life, its clock, its limits, its
// log and its tracer.
package process

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/internal/tracing"
)

// Limits bound what the groups do.
type Limits struct {
	MaxValueSize int64 // bytes
	SetOwnerOnly bool  // a Set tells only the owner
}

// A Process is one in which groups live. Make it with New. It is safe for concurrent use.
type Process struct {
	Options

	// Life is the context of all that runs in the background. It ends with Close.
	Life context.Context
	// Loads are the durations of loads in nanoseconds, and Sizes the sizes of values in bytes.
	Loads, Sizes *observe.Histogram

	limits atomic.Pointer[Limits]
	end    context.CancelFunc
	work   sync.WaitGroup

	mu     sync.RWMutex
	closed bool // guarded by mu
}

// Options are a Process's choices.
type Options struct {
	// Now is the clock by which values expire.
	Now func() time.Time
	// Log is told of Getters that panic.
	Log *slog.Logger
	// Tracer is told of operations; nil if there is none.
	Tracer *tracing.Tracer
	// Handover is how long former owners are asked, and writes are remembered; negative: never.
	Handover time.Duration
}

// New makes a Process that lives until Close.
func New(o Options, limits Limits) *Process {
	stripes := observe.NewStripes()
	p := &Process{
		Options: o,
		Loads:   observe.NewHistogram(observe.Latencies(), stripes),
		Sizes:   observe.NewHistogram(observe.Sizes(), stripes),
	}
	p.Limit(limits)
	p.Life, p.end = context.WithCancel(context.Background())
	return p
}

// Limit changes the limits.
func (p *Process) Limit(l Limits) { p.limits.Store(&l) }

// Limits are those of now.
func (p *Process) Limits() Limits { return *p.limits.Load() }

// Alive reports whether a value that expires then has not expired.
func (p *Process) Alive(expire int64) bool { return expire == 0 || expire > p.Now().UnixNano() }

// Spawn runs fn in the background, and reports whether it does: not after Close.
func (p *Process) Spawn(fn func()) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return false
	}
	p.work.Go(fn)
	return true
}

// Closed reports whether Close was called.
func (p *Process) Closed() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.closed
}

// Close refuses more work in the background, and reports whether it is the first to do so. End and
// Wait follow.
func (p *Process) Close() (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first = !p.closed
	p.closed = true
	return first
}

// End ends the context of what runs in the background.
func (p *Process) End() { p.end() }

// Wait waits until nothing runs in the background.
func (p *Process) Wait() { p.work.Wait() }

// GetterPanicked logs a panic of a Getter, and returns the error of its load. Without a cause the
// Getter has ended its goroutine.
func (p *Process) GetterPanicked(key string, cause any) error {
	if cause == nil {
		return fmt.Errorf("%w: it ended its goroutine", outcome.ErrGetterPanicked)
	}
	p.Log.Error("groupcache: a getter panicked", "key", observe.Cut(key), "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	return fmt.Errorf("%w: %v", outcome.ErrGetterPanicked, cause)
}
