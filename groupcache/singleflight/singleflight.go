// Package singleflight lets many callers share one call of a function, with the API of
// github.com/mailgun/groupcache/v2/singleflight. The groups of this module do not use it: their
// loads also heed contexts.
package singleflight

import (
	"errors"
	"fmt"
	"sync"
)

// ErrPanicked is the error of callers that waited for a function that panicked, with the panic's
// value. Whose call it was has the panic itself.
var ErrPanicked = errors.New("singleflight leader panicked")

// ErrExited is the error of callers that waited for a function that ended its goroutine by
// runtime.Goexit.
var ErrExited = errors.New("singleflight leader exited")

// Group shares calls by key. Its zero value is ready for use; Do is what it is for. It is safe for
// concurrent use.
type Group struct {
	mu    sync.Mutex
	calls map[string]*call // under way; guarded by mu
}

type call struct {
	done  chan struct{}
	value interface{} // this and err are set before done is closed
	err   error
}

// Do calls fn and returns its results, unless a call with the same key is under way: then it waits
// for that and returns its results. A panic of fn goes on in the goroutine that called it; the key
// is free again, and the callers that waited get ErrPanicked.
func (g *Group) Do(key string, fn func() (interface{}, error)) (interface{}, error) {
	g.mu.Lock()
	if c, ok := g.calls[key]; ok {
		g.mu.Unlock()
		<-c.done
		return c.value, c.err
	}
	if g.calls == nil {
		g.calls = map[string]*call{}
	}
	c := &call{done: make(chan struct{}), err: ErrExited}
	g.calls[key] = c
	g.mu.Unlock()

	defer g.finish(key, c)
	c.value, c.err = fn()
	return c.value, c.err
}

// finish is deferred by the caller of the function. It frees the key before it wakes the others,
// so that later callers get nothing old.
func (g *Group) finish(key string, c *call) {
	panicked := recover()
	if panicked != nil {
		c.err = failure(panicked)
	}
	g.mu.Lock()
	delete(g.calls, key)
	g.mu.Unlock()
	close(c.done)
	if panicked != nil {
		panic(panicked)
	}
}

func failure(panicked any) error {
	if err, ok := panicked.(error); ok {
		return fmt.Errorf("%w: %w", ErrPanicked, err)
	}
	return fmt.Errorf("%w: %v", ErrPanicked, panicked)
}

// Lock calls fn while no call begins or ends: callers wait. It must not call Do or Lock.
func (g *Group) Lock(fn func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fn()
}
