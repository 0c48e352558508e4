package refresh

import (
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// StartLocked begins the work, which ends with the run.
func (c *Crew[K, V]) StartLocked() {
	for range c.Workers {
		c.hireLocked(false)
	}
}

// hireLocked starts a worker; an extra one takes only urgent entries.
func (c *Crew[K, V]) hireLocked(extra bool) {
	w := newWorker(c.BatchSize, c.NewJob(c.BatchSize))
	w.extra, w.job.Timeout = extra, c.Timeout
	w.job.Begin = func(at int64) { w.deadline.Store(at + int64(source.Overrun(c.Timeout))) }
	c.turns.workers[w] = struct{}{}
	c.Life.Tasks.Go(func() { c.work(w) })
}

func (c *Crew[K, V]) work(w *worker[K, V]) {
	busy := false
	defer func() {
		c.Life.Lock()
		defer c.Life.Unlock()
		delete(c.turns.workers, w)
		if busy && !w.replaced && !c.Life.IsOverLocked() {
			c.hireLocked(w.extra) // the refresh function has ended this goroutine
		}
	}()
	for c.take(w) {
		busy = true
		c.renew(w)
		busy = false
	}
}

// take waits until something is due, and takes it. It returns false when the worker has to go.
func (c *Crew[K, V]) take(w *worker[K, V]) bool {
	c.Life.Lock()
	defer c.Life.Unlock()
	for {
		if w.replaced || c.Life.IsOverLocked() {
			return false
		}
		if w.extra && c.Table.Urgent() == 0 {
			c.turns.extras--
			c.Life.Room.Signal() // what it was woken by may be for another
			return false
		}
		if c.Table.Due() > 0 && c.Table.MayRun(c.turns.running) && c.gatherLocked(w) {
			break
		}
		c.Life.Room.Wait()
	}
	c.turns.beginLocked(len(w.entries))
	if c.Table.Due() > 0 {
		c.Life.Room.Signal()
	}
	return true
}

// gatherLocked takes entries for a call, and reports whether there are any.
func (c *Crew[K, V]) gatherLocked(w *worker[K, V]) bool {
	now := c.Life.Now()
	w.entries = c.Table.Take(w.entries[:0], timetable.Taking[K]{UrgentOnly: w.extra, Busy: c.Loads.BusyLocked()}, now)
	if len(w.entries) == 0 {
		return false
	}
	call := &task.Task{Cache: c.Cache, Lend: c.lendTurn, Reclaim: c.reclaimTurn}
	w.call.Store(call)
	for _, e := range w.entries {
		c.Waiters.takenLocked(e, call, c.Table.Source())
		c.Lateness.Observe(e.Lateness(now))
	}
	return true
}

// lendTurn lends the turn of a call that waits for another.
func (c *Crew[K, V]) lendTurn(t *task.Task) {
	c.Life.Lock()
	defer c.Life.Unlock()
	if c.turns.lendLocked(t) {
		c.staffLocked()
	}
}

// reclaimTurn is the end of lendTurn.
func (c *Crew[K, V]) reclaimTurn(t *task.Task) {
	c.Life.Lock()
	defer c.Life.Unlock()
	c.turns.reclaimLocked(t)
}

// staffLocked sees to it that a worker takes the urgent entries.
func (c *Crew[K, V]) staffLocked() {
	if c.Table.Urgent() == 0 || c.Life.IsOverLocked() {
		return
	}
	if c.turns.extras < c.turns.lent {
		c.turns.extras++
		c.hireLocked(true)
	}
	c.Life.Room.Broadcast()
}

// replaceLocked replaces workers whose call has got stuck, MaxStuck of them at most, and returns
// the calls.
func (c *Crew[K, V]) replaceLocked(now int64) (hung []*task.Task) {
	for _, w := range c.turns.overrunLocked(now) {
		hung = append(hung, w.call.Load())
		key := w.entries[0].Key
		c.counts.Overruns++
		c.Tell.Event(tell.Event[K]{Kind: tell.Stuck, Key: key})
		c.Tell.NoteLocked(tell.Overrun(key))
		if c.turns.stuck <= c.MaxStuck && !c.Life.IsOverLocked() {
			w.replaced = true
			c.hireLocked(w.extra)
		}
	}
	return hung
}
