package autorefresh

import (
	"log/slog"
	"math/rand/v2"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// hireLocked starts a worker, one that takes only what is urgent or not.
func (c *Cache[K, V]) hireLocked(extra bool) {
	n := c.opts.BatchSize
	w := &worker[K, V]{
		extra: extra, job: c.newJob(n), entries: make([]*timetable.Entry[K, V], 0, n), wants: make([]fetch.Want[K, V], n), all: make([]*fetch.Want[K, V], 0, n),
	}
	w.job.Timeout = c.opts.Timeout
	w.job.Begin = func(at int64) { w.deadline.Store(at + int64(source.Overrun(c.opts.Timeout))) }
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

// gatherLocked takes entries for a call, and reports whether there are any.
func (c *Cache[K, V]) gatherLocked(w *worker[K, V]) bool {
	now := c.now()
	w.entries = c.table.Take(w.entries[:0], timetable.Taking[K]{UrgentOnly: w.extra, Busy: c.loads.BusyLocked()}, now)
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
		*one = fetch.Want[K, V]{Key: e.Key, Entry: e, Newer: e.LoadedAt()}
		one.End, _ = c.table.End(e)
		if e.Has(timetable.Forced) {
			one.Newer = fetch.OnlySource
		}
		w.all = append(w.all, one)
	}
	returned := false
	defer func() {
		if !returned {
			fetch.FailAll(w.all, panicked(recover()), c.now()) //nolint:revive // it is called by the deferred function.
			c.fetch.Level.Release(w.job.Life, fetch.KeysOf(w.all))
			c.settle(w)
		}
	}()
	c.carryOut(w)
	returned = true
	c.settle(w)
}

// carryOut gets the values: the second level's, where others have refreshed them, and else the
// source's.
func (c *Cache[K, V]) carryOut(w *worker[K, V]) {
	j := w.job
	j.Ctx, j.Life, j.Task = c.life.run, c.life.run, w.call.Load()
	looked := c.fetch.Consult(j, w.all)
	for _, one := range looked.Taken {
		one.Result = fetch.Result[V]{Outcome: fetch.Leased}
	}
	if len(looked.Mine) == 0 {
		return
	}
	j.Rank, j.Standing = source.Background, c.standing(looked.Mine)
	for _, one := range looked.Mine {
		if one.Newer == fetch.OnlySource {
			j.Rank = source.Awaited
		}
	}
	defer w.deadline.Store(0)
	c.fetch.Ask(j, looked.Mine)
	w.deadline.Store(0)
	c.fetch.Share(j, func() (deleted []K) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, one := range looked.Mine {
			if one.Entry.IsDead() {
				deleted = append(deleted, one.Key)
			}
		}
		return deleted
	})
}

// standing is what is known of entries.
func (c *Cache[K, V]) standing(wants []*fetch.Want[K, V]) (s source.Standing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.table.Census()
	s.Hopeless = n.Failing == n.Items-n.Terminal-n.Cold-n.Absent
	for _, w := range wants {
		s.Fresh = s.Fresh || w.Entry.IsFresh()
		s.Proven = s.Proven || w.Entry.IsProven()
	}
	return s
}

// settle applies the results of a call.
func (c *Cache[K, V]) settle(w *worker[K, V]) {
	var over, changed []*timetable.Entry[K, V]
	luck := rand.Float64() // the same for a whole batch, whose items stay together
	c.mu.Lock()
	now := c.now()
	c.crew.endLocked(w)
	c.noteSourceLocked(now)
	good := false
	for i, e := range w.entries {
		r := &w.wants[i].Result
		good = good || r.Outcome < fetch.Failed
		if c.applyLocked(e, r, now, luck) {
			over = append(over, e)
		} else if c.opts.Weigh != nil && r.Value != nil {
			changed = append(changed, e)
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
	for _, e := range changed {
		c.storage.reweigh(e)
	}
}

// overtaken is what is left of the result of a call that began before Set has stored a value: that
// the source has answered, if it has.
func overtaken[K comparable, V any](e *timetable.Entry[K, V], r *fetch.Result[V], got timetable.Value[V]) (*fetch.Result[V], timetable.Value[V]) {
	e.Clear(timetable.Overtaken)
	if r.Outcome == fetch.Postponed || r.Outcome == fetch.Leased {
		return r, got
	}
	return &fetch.Result[V]{Outcome: fetch.Unchanged}, timetable.Value[V]{LoadedAt: e.LoadedAt(), Luck: got.Luck, Change: timetable.Unknown}
}

// applyLocked gives an entry its result and schedules it. It returns true if the entry is to be
// dropped.
func (c *Cache[K, V]) applyLocked(e *timetable.Entry[K, V], r *fetch.Result[V], now int64, luck float64) (drop bool) {
	c.meter.refreshes[r.Outcome]++
	doubted := c.table.Land(e)
	if e.IsDead() {
		c.loads.LandLocked(e.Key)
		return false
	}
	n := note{err: r.Err, started: r.LoadedAt}
	got := timetable.Value[V]{Value: r.Value, LoadedAt: r.LoadedAt, End: r.End, Luck: luck, Change: changeOf(r.Outcome)}
	if e.Has(timetable.Overtaken) {
		r, got = overtaken(e, r, got)
	}
	switch r.Outcome {
	case fetch.Postponed:
		c.table.Postpone(e)
		c.waiters.noteLocked(e, note{err: r.Err, started: now})
		return false
	case fetch.Leased:
		c.table.LookAgain(e, now)
		return false
	case fetch.Missing:
		n, drop = note{err: ErrNotFound, started: timetable.Never}, true
		e.Set(timetable.Leaving)
		c.teller.emit(Event[K]{Kind: Gone, Key: e.Key})
	case fetch.Failed:
		if !c.life.isOverLocked() {
			c.teller.emit(Event[K]{Kind: Failed, Key: e.Key, Err: r.Err})
		}
		c.table.Fail(e, got, now)
	default:
		c.meter.served.Observe(max(now-e.LoadedAt(), 0))
		switch {
		case r.Final && !doubted:
			c.table.Finish(e, got, c.opts.TerminalTTL, now)
			c.teller.emit(Event[K]{Kind: Final, Key: e.Key})
		case r.Outcome != fetch.Unchanged:
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
func changeOf(o fetch.Outcome) timetable.Change {
	switch o {
	case fetch.Updated:
		return timetable.Changed
	case fetch.Unchanged:
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

// replaceLocked replaces workers whose call is stuck, MaxStuck of them at most, and returns the
// calls.
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
