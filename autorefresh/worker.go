package autorefresh

import (
	"log/slog"
	"math/rand/v2"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// hireLocked starts a worker, one that takes only what is urgent or not.
func (c *Cache[K, V]) hireLocked(extra bool) {
	n := c.opts.BatchSize
	w := &worker[K, V]{
		extra: extra, job: c.fetch.newJob(n), entries: make([]*timetable.Entry[K, V], 0, n), wants: make([]want[K, V], n), all: make([]*want[K, V], 0, n),
	}
	w.job.timeout = c.opts.Timeout
	w.job.begin = func(at int64) { w.deadline.Store(at + int64(source.Overrun(c.opts.Timeout))) }
	c.crew.workers[w] = struct{}{}
	c.life.tasks.Go(func() { c.work(w) })
}

func (c *Cache[K, V]) work(w *worker[K, V]) {
	busy := false
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.crew.workers, w)
		if busy && !w.replaced && !c.life.isOverLocked() {
			c.hireLocked(w.extra) // the refresh function has ended this goroutine
		}
	}()
	for c.take(w) {
		busy = true
		c.refresh(w)
		busy = false
	}
}

// take waits until something is due, and takes it. It returns false when the worker has to go.
func (c *Cache[K, V]) take(w *worker[K, V]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if w.replaced || c.life.isOverLocked() {
			return false
		}
		if w.extra && c.table.Urgent() == 0 {
			c.crew.extras--
			c.life.room.Signal() // what it was woken by may be for another
			return false
		}
		if c.table.Due() > 0 && c.table.MayRun(c.crew.running) && c.gatherLocked(w) {
			break
		}
		c.life.room.Wait()
	}
	c.crew.beginLocked(len(w.entries))
	if c.table.Due() > 0 {
		c.life.room.Signal()
	}
	return true
}

// gatherLocked takes entries for a call, and tells whether there are any.
func (c *Cache[K, V]) gatherLocked(w *worker[K, V]) bool {
	now := c.now()
	w.entries = c.table.Take(w.entries[:0], timetable.Taking[K]{UrgentOnly: w.extra, Busy: c.loads.isBusyLocked()}, now)
	if len(w.entries) == 0 {
		return false
	}
	call := &task.Task{Cache: c, Lend: c.lendTurn, Reclaim: c.reclaimTurn}
	w.call.Store(call)
	for _, e := range w.entries {
		c.waiters.takenLocked(e, call, c.table.Source())
		c.meter.lateness.Observe(e.Lateness(now))
	}
	return true
}

// refresh gets new values for the entries taken and applies them.
func (c *Cache[K, V]) refresh(w *worker[K, V]) {
	w.all = w.all[:0]
	for i, e := range w.entries {
		one := &w.wants[i]
		*one = want[K, V]{key: e.Key, entry: e, newer: e.LoadedAt()}
		if e.Has(timetable.Forced) {
			one.newer = onlySource
		}
		w.all = append(w.all, one)
	}
	returned := false
	defer func() {
		if !returned {
			failAll(w.all, panicked(recover()), c.now()) //nolint:revive // it is called by the deferred function.
			c.fetch.level.Release(w.job.life, keysOf(w.all))
			c.settle(w)
		}
	}()
	c.carryOut(w)
	returned = true
	c.settle(w)
}

// carryOut gets the values: the second level's, where others have refreshed them, and else the source's.
func (c *Cache[K, V]) carryOut(w *worker[K, V]) {
	j := w.job
	j.ctx, j.life, j.task = c.life.run, c.life.run, w.call.Load()
	looked := c.fetch.consult(j, w.all)
	for _, one := range looked.taken {
		one.result = result[V]{outcome: leased}
	}
	if len(looked.mine) == 0 {
		return
	}
	j.rank, j.standing = source.Background, c.standing(looked.mine)
	for _, one := range looked.mine {
		if one.newer == onlySource {
			j.rank = source.Awaited
		}
	}
	defer w.deadline.Store(0)
	c.fetch.ask(j, looked.mine)
	w.deadline.Store(0)
	c.fetch.share(j, looked.mine, func() (deleted []K) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, one := range looked.mine {
			if one.entry.IsDead() {
				deleted = append(deleted, one.key)
			}
		}
		return deleted
	})
}

// standing is what is known of entries.
func (c *Cache[K, V]) standing(wants []*want[K, V]) (s source.Standing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.table.Census()
	s.Hopeless = n.Failing == n.Items-n.Terminal-n.Cold-n.Absent
	for _, w := range wants {
		s.Fresh = s.Fresh || w.entry.IsFresh()
		s.Proven = s.Proven || w.entry.IsProven()
	}
	return s
}

// settle applies the results of a call.
func (c *Cache[K, V]) settle(w *worker[K, V]) {
	var over []*timetable.Entry[K, V]
	luck := rand.Float64() // the same for a whole batch, whose items stay together
	c.mu.Lock()
	now := c.now()
	c.crew.endLocked(w)
	c.noteSourceLocked(now)
	good := false
	for i, e := range w.entries {
		r := &w.wants[i].result
		good = good || r.outcome < failed
		if c.applyLocked(e, r, now, luck) {
			over = append(over, e)
		}
		w.entries[i] = nil
	}
	if good && c.table.Ramp() {
		c.life.room.Broadcast()
	}
	c.mu.Unlock()
	clear(w.wants)
	for _, e := range over {
		c.storage.drop(e)
	}
}

// applyLocked gives an entry its result and schedules it. It returns true if the entry is to be dropped.
func (c *Cache[K, V]) applyLocked(e *timetable.Entry[K, V], r *result[V], now int64, luck float64) (drop bool) {
	c.meter.refreshes[r.outcome]++
	c.table.Land(e)
	if e.IsDead() {
		c.loads.landLocked(e.Key)
		return false
	}
	got := timetable.Value[V]{Value: r.value, LoadedAt: r.loadedAt, Luck: luck, Change: changeOf(r.outcome)}
	n := note{err: r.err, started: r.loadedAt}
	switch r.outcome {
	case postponed:
		c.table.Postpone(e)
		c.waiters.noteLocked(e, note{err: r.err, started: now})
		return false
	case leased:
		c.table.LookAgain(e, now)
		return false
	case missing:
		n, drop = note{err: ErrNotFound, started: timetable.Never}, true
		c.teller.emit(Event[K]{Kind: Gone, Key: e.Key})
	case failed:
		if !c.life.isOverLocked() {
			c.teller.emit(Event[K]{Kind: Failed, Key: e.Key, Err: r.err})
		}
		c.table.Fail(e, got, now)
	default:
		c.meter.served.Observe(max(now-e.LoadedAt(), 0))
		switch {
		case r.final:
			c.table.Finish(e, got, c.opts.TerminalTTL, now)
			c.teller.emit(Event[K]{Kind: Final, Key: e.Key})
		case r.outcome != unchanged:
			c.teller.emit(Event[K]{Kind: Updated, Key: e.Key})
			fallthrough
		default:
			c.table.Renew(e, got, now)
		}
	}
	e.Clear(timetable.Forced)
	c.waiters.noteLocked(e, n)
	return drop
}

// changeOf is what an outcome says of whether the value is another one.
func changeOf(o outcome) timetable.Change {
	switch o {
	case updated:
		return timetable.Changed
	case unchanged:
		return timetable.Same
	default:
		return timetable.Unknown
	}
}

// lendTurn lends the turn of a call that waits for another.
func (c *Cache[K, V]) lendTurn(t *task.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.crew.lendLocked(t) {
		c.staffLocked()
	}
}

// reclaimTurn is the end of lendTurn.
func (c *Cache[K, V]) reclaimTurn(t *task.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crew.reclaimLocked(t)
}

// staffLocked sees to it that somebody takes what is urgent.
func (c *Cache[K, V]) staffLocked() {
	if c.table.Urgent() == 0 || c.life.isOverLocked() {
		return
	}
	if c.crew.extras < c.crew.lent {
		c.crew.extras++
		c.hireLocked(true)
	}
	c.life.room.Broadcast()
}

// replaceLocked replaces workers whose call is stuck, MaxStuck of them at most, and returns the calls.
func (c *Cache[K, V]) replaceLocked(late []*worker[K, V]) (hung []*task.Task) {
	for _, w := range late {
		hung = append(hung, w.call.Load())
		key := w.entries[0].Key
		c.meter.stuck++
		c.teller.emit(Event[K]{Kind: Stuck, Key: key})
		c.teller.noticeLocked(slog.LevelWarn, "refresh function has overrun its timeout", "key", safe.Quote(key))
		if c.crew.stuck <= c.opts.MaxStuck && !c.life.isOverLocked() {
			w.replaced = true
			c.hireLocked(w.extra)
		}
	}
	return hung
}
