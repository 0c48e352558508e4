package autorefresh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// farewell is how long Close waits for a refresh function that ignores its context.
const farewell = time.Second

// life is the background work of a cache, which may begin again once it has ended.
type life struct {
	closed  atomic.Bool    // for good; set under the cache's mu
	kick    chan struct{}  // the pump is to look again
	chores  chan func()    // of the storage, for the pump
	room    sync.Cond      // workers wait for something to do; on the cache's mu
	tasks   sync.WaitGroup // of this run
	follows sync.WaitGroup // starts that wait for the end of the last run
	gone    chan struct{}  // closed when the tasks are done after Close
	once    sync.Once

	// All below is guarded by the cache's mu.
	run  context.Context // ends the background work; nil before the start
	halt context.CancelFunc
	next context.Context // the next run's, while the last has not ended
}

// isOverLocked reports whether the background work has ended, or is about to.
func (l *life) isOverLocked() bool { return l.run != nil && l.run.Err() != nil }

// wake has the pump look again.
func (l *life) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// chore leaves work of the storage to the pump if that has nothing to do, so that readers do not
// have to do it: all goroutines here have an owner.
func (l *life) chore(work func()) {
	select {
	case l.chores <- work:
	default:
		work()
	}
}

// startLocked has begin called with a context that ends with ctx or with haltLocked: now, or once
// the last run has ended. It does nothing while a run goes on.
func (l *life) startLocked(ctx context.Context, begin func()) {
	switch {
	case l.closed.Load():
	case l.run == nil:
		l.run, l.halt = context.WithCancel(ctx)
		begin()
	case l.next != nil && l.next.Err() != nil:
		l.next = ctx // whoever was to be next has left
	case l.run.Err() != nil && l.next == nil:
		l.next = ctx
		l.follows.Go(func() {
			l.tasks.Wait()
			l.room.L.Lock()
			defer l.room.L.Unlock()
			ctx := l.next
			l.next = nil
			if !l.closed.Load() && ctx.Err() == nil {
				l.run, l.halt = context.WithCancel(ctx)
				begin()
			}
		})
	}
}

// haltLocked ends the work for good.
func (l *life) haltLocked() {
	l.closed.Store(true)
	if l.run == nil {
		l.run, l.halt = context.WithCancel(context.Background())
	}
	l.halt()
	l.room.Broadcast()
}

// wait waits until all that the work did has returned, then for what goes on after it; but not for
// long.
func (l *life) wait(rest func()) error {
	l.once.Do(func() {
		go func() {
			l.tasks.Wait()
			l.follows.Wait()
			rest()
			close(l.gone)
		}()
	})
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-l.gone:
		return nil
	case <-timer.C:
		return ErrStuck
	}
}
