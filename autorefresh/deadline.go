package autorefresh

import (
	"context"
	"sync"
	"time"
)

// deadlineContext is context.WithDeadline for calls most of which end before anybody asks for Done: the timer, which costs more than
// a refresh otherwise does, is made when it is asked for.
type deadlineContext struct {
	parent   context.Context
	deadline time.Time

	mu     sync.Mutex
	whole  context.Context    // nil until asked for; guarded by mu
	cancel context.CancelFunc // guarded by mu
	over   bool               // guarded by mu
}

// withDeadline returns a context, and what ends it when the call has returned.
func withDeadline(ctx context.Context, deadline time.Time) (context.Context, func()) {
	d := &deadlineContext{parent: ctx, deadline: deadline}
	return d, d.end
}

func (d *deadlineContext) get() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.whole == nil {
		d.whole, d.cancel = context.WithDeadline(d.parent, d.deadline)
		if d.over {
			d.cancel()
		}
	}
	return d.whole
}

func (d *deadlineContext) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.cancel != nil {
		d.cancel()
	}
}

func (d *deadlineContext) Deadline() (time.Time, bool) {
	if at, ok := d.parent.Deadline(); ok && at.Before(d.deadline) {
		return at, true
	}
	return d.deadline, true
}

func (d *deadlineContext) Done() <-chan struct{} { return d.get().Done() }
func (d *deadlineContext) Err() error            { return d.get().Err() }
func (d *deadlineContext) Value(key any) any     { return d.get().Value(key) }
