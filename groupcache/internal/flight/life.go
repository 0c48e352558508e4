package flight

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// life is a context with the values of another one, and an end of its own. Having AfterFunc, the
// contexts that are made from it need no goroutine to wait for its end.
type life struct {
	values context.Context
	over   atomic.Bool // written with mu

	mu    sync.Mutex
	done  chan struct{}        // made when it is asked for; guarded by mu
	after map[*func()]struct{} // guarded by mu
}

// Deadline implements context.Context: there is none.
func (l *life) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Done implements context.Context.
func (l *life) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.over.Load() {
			close(l.done)
		}
	}
	return l.done
}

// Err implements context.Context.
func (l *life) Err() error {
	if !l.over.Load() {
		return nil
	}
	<-l.Done() // what has an error is done
	return context.Canceled
}

// Value implements context.Context.
func (l *life) Value(key any) any { return l.values.Value(key) }

// AfterFunc calls fn in a goroutine of its own when the context has ended. It returns what prevents
// that, and reports whether it did. Package context looks for this method.
func (l *life) AfterFunc(fn func()) (stop func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over.Load() {
		go fn()
		return func() bool { return false }
	}
	if l.after == nil {
		l.after = make(map[*func()]struct{}, 1)
	}
	l.after[&fn] = struct{}{}
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		_, stopped := l.after[&fn]
		delete(l.after, &fn)
		return stopped
	}
}

// end ends the context.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over.Load() {
		return
	}
	l.over.Store(true)
	if l.done != nil {
		close(l.done)
	}
	for fn := range l.after {
		go (*fn)()
	}
	l.after = nil
}
