package task

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of a call of the source, and leads to its task. It has the deadline of
// context.WithDeadline for calls most of which end before anybody asks for Done: the timer, which
// costs more than a refresh otherwise does, is made when it is asked for.
type callContext struct {
	parent   context.Context
	task     *Task
	deadline time.Time // zero if there is none

	mu     sync.Mutex
	whole  context.Context    // nil until asked for; guarded by mu
	cancel context.CancelFunc // guarded by mu
	over   bool               // guarded by mu
}

// NewContext returns a context, and what ends it when the call has returned.
func NewContext(ctx context.Context, t *Task, deadline time.Time) (context.Context, func()) {
	d := &callContext{parent: ctx, task: t, deadline: deadline}
	return d, d.end
}

func (d *callContext) get() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.whole == nil {
		if d.deadline.IsZero() {
			d.whole, d.cancel = context.WithCancel(d.parent)
		} else {
			d.whole, d.cancel = context.WithDeadline(d.parent, d.deadline)
		}
		if d.over {
			d.cancel()
		}
	}
	return d.whole
}

func (d *callContext) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.cancel != nil {
		d.cancel()
	}
}

func (d *callContext) Deadline() (time.Time, bool) {
	at, ok := d.parent.Deadline()
	if d.deadline.IsZero() || ok && at.Before(d.deadline) {
		return at, ok
	}
	return d.deadline, true
}

func (d *callContext) Done() <-chan struct{} { return d.get().Done() }
func (d *callContext) Err() error            { return d.get().Err() }

func (d *callContext) Value(key any) any {
	if key == (taskKey{}) {
		return d.task
	}
	return d.get().Value(key)
}
