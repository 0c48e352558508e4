// Package life has the background work of a cache, which begins, ends and may begin again, and the
// lock and the clock that the parts of the cache share.
package life

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
)

// farewell is how long Wait waits for a refresh function that ignores its context.
const farewell = time.Second

// Life is the background work of a cache, which may begin again once it has ended. Its lock is that
// of the cache, and guards what methods whose name ends in Locked use, of all its parts. It is a
// leaf: nothing that can wait is called under it.
type Life struct {
	sync.Mutex

	Room  sync.Cond      // workers wait for something to do; on the lock
	Tasks sync.WaitGroup // of this run

	epoch   time.Time
	closed  atomic.Bool    // for good; set under the lock
	kick    chan struct{}  // the pump is to look again
	chores  chan func()    // of the storage, for the pump
	follows sync.WaitGroup // starts that wait for the end of the last run
	gone    chan struct{}  // closed when the tasks are done after Halt
	once    sync.Once

	// All below is guarded by the lock.
	run  context.Context // ends the background work; nil before the start
	halt context.CancelFunc
	next context.Context // the next run's, while the last has not ended
}

// New makes a life that has not begun. Its clock begins now.
func New() *Life {
	l := &Life{epoch: time.Now(), kick: make(chan struct{}, 1), chores: make(chan func()), gone: make(chan struct{})}
	l.Room.L = l
	return l
}

// Now is the clock, in nanoseconds.
func (l *Life) Now() int64 { return int64(time.Since(l.epoch)) }

// At is a time of the clock.
func (l *Life) At(at int64) time.Time { return l.epoch.Add(time.Duration(at)) }

// Leap makes the clock jump ahead, as that of a process that was suspended. Nothing else may be
// going on.
func (l *Life) Leap(d time.Duration) {
	l.epoch = l.epoch.Add(-d)
	l.kick <- struct{}{}
}

// IsClosed reports whether the work has been ended for good.
func (l *Life) IsClosed() bool { return l.closed.Load() }

// IsOverLocked reports whether the background work has ended, or is about to.
func (l *Life) IsOverLocked() bool { return l.run != nil && l.run.Err() != nil }

// Run is the context of the background work, once it has begun.
func (l *Life) Run() context.Context { return l.run }

// Wake has the pump look again.
func (l *Life) Wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Woken receives after Wake.
func (l *Life) Woken() <-chan struct{} { return l.kick }

// Chore leaves work of the storage to the pump if that has nothing to do, so that readers do not
// have to do it: all goroutines here have an owner.
func (l *Life) Chore(work func()) {
	select {
	case l.chores <- work:
	default:
		work()
	}
}

// Chores are the storage's work for the pump.
func (l *Life) Chores() <-chan func() { return l.chores }

// Start has begin called, under the lock, with a run whose context ends with ctx or with Halt: now,
// or once the last run has ended. It does nothing while a run goes on.
func (l *Life) Start(ctx context.Context, begin func()) {
	l.Lock()
	defer l.Unlock()
	switch {
	case l.closed.Load():
	case l.run == nil:
		l.run, l.halt = context.WithCancel(ctx)
		begin()
	case l.next != nil && l.next.Err() != nil:
		l.next = ctx // the caller that was to be next has left
	case l.run.Err() != nil && l.next == nil:
		l.next = ctx
		l.follows.Go(func() { l.startNext(begin) })
	}
}

// startNext begins the next run once the last one has ended.
func (l *Life) startNext(begin func()) {
	l.Tasks.Wait()
	l.Lock()
	defer l.Unlock()
	ctx := l.next
	l.next = nil
	if !l.closed.Load() && ctx.Err() == nil {
		l.run, l.halt = context.WithCancel(ctx)
		begin()
	}
}

// Halt ends the work for good.
func (l *Life) Halt() {
	l.Lock()
	defer l.Unlock()
	l.closed.Store(true)
	if l.run == nil {
		l.run, l.halt = context.WithCancel(context.Background())
	}
	l.halt()
	l.Room.Broadcast()
}

// Wait waits until all that the work did has returned, then for what goes on after it; after a
// second it returns [source.ErrStuck].
func (l *Life) Wait(rest func()) error {
	l.once.Do(func() {
		go func() {
			l.Tasks.Wait()
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
		return source.ErrStuck
	}
}
