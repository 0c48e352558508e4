package refresh

import (
	"math/rand/v2"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// renew gets new values for the entries that a worker has taken, and applies them.
func (c *Crew[K, V]) renew(w *worker[K, V]) {
	w.want(c.Table.End)
	returned := false
	defer func() {
		if !returned {
			fetch.FailAll(w.all, source.Panicked(recover()), c.Life.Now()) //nolint:revive // it is called by the deferred function.
			c.Fetch.Level.Release(w.job.Life, fetch.KeysOf(w.all))
			c.settle(w)
		}
	}()
	c.carryOut(w)
	returned = true
	c.settle(w)
}

// carryOut gets the values: the second level's, where others have refreshed them, and else the
// source's.
func (c *Crew[K, V]) carryOut(w *worker[K, V]) {
	j := w.job
	j.Ctx, j.Life, j.Task = c.Life.Run(), c.Life.Run(), w.call.Load()
	looked := c.Fetch.Consult(j, w.all)
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
	c.Fetch.Ask(j, looked.Mine)
	w.deadline.Store(0)
	c.Fetch.Share(j, func() (deleted []K) {
		c.Life.Lock()
		defer c.Life.Unlock()
		for _, one := range looked.Mine {
			if one.Entry.IsDead() {
				deleted = append(deleted, one.Key)
			}
		}
		return deleted
	})
}

// standing sums up the state of entries.
func (c *Crew[K, V]) standing(wants []*fetch.Want[K, V]) (s source.Standing) {
	c.Life.Lock()
	defer c.Life.Unlock()
	n := c.Table.Census()
	s.Hopeless = n.Failing == n.Items-n.Terminal-n.Cold-n.Absent
	for _, w := range wants {
		s.Fresh = s.Fresh || w.Entry.IsFresh()
		s.Proven = s.Proven || w.Entry.IsProven()
	}
	return s
}

// settle applies the results of a call.
func (c *Crew[K, V]) settle(w *worker[K, V]) {
	var over, changed []*timetable.Entry[K, V]
	luck := rand.Float64() // the same for a whole batch, whose items stay together
	c.Life.Lock()
	now := c.Life.Now()
	c.turns.endLocked(w)
	c.noteSourceLocked(now)
	good := false
	for i, e := range w.entries {
		r := &w.wants[i].Result
		good = good || r.Outcome < fetch.Failed
		if c.applyLocked(e, r, now, luck) {
			over = append(over, e)
		} else if c.Weighed && r.Value != nil {
			changed = append(changed, e)
		}
		w.entries[i] = nil
	}
	if good && c.Table.Ramp() {
		c.Life.Room.Broadcast()
	}
	c.Life.Unlock()
	clear(w.wants)
	for _, e := range over {
		c.Storage.Drop(e)
	}
	for _, e := range changed {
		c.Storage.Reweigh(e)
	}
}

// overtaken is the rest of the result of a call that began before Set has stored a value: that
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
func (c *Crew[K, V]) applyLocked(e *timetable.Entry[K, V], r *fetch.Result[V], now int64, luck float64) (drop bool) {
	c.counts.Outcomes[r.Outcome]++
	doubted := c.Table.Land(e)
	if e.IsDead() {
		c.Loads.LandLocked(e.Key)
		return false
	}
	n := Note{Err: r.Err, Started: r.LoadedAt}
	got := timetable.Value[V]{Value: r.Value, LoadedAt: r.LoadedAt, End: r.End, Luck: luck, Change: changeOf(r.Outcome)}
	if e.Has(timetable.Overtaken) {
		r, got = overtaken(e, r, got)
	}
	switch r.Outcome {
	case fetch.Postponed:
		c.Table.Postpone(e)
		c.Waiters.NoteLocked(e, Note{Err: r.Err, Started: now})
		return false
	case fetch.Leased:
		c.Table.LookAgain(e, now)
		return false
	case fetch.Missing:
		n, drop = Note{Err: source.ErrNotFound, Started: timetable.Never}, true
		e.Set(timetable.Leaving)
		c.Tell.Event(tell.Event[K]{Kind: tell.Gone, Key: e.Key})
	case fetch.Failed:
		if !c.Life.IsOverLocked() {
			c.Tell.Event(tell.Event[K]{Kind: tell.Failed, Key: e.Key, Err: r.Err})
		}
		c.Table.Fail(e, got, now)
	default:
		c.Served.Observe(max(now-e.LoadedAt(), 0))
		switch {
		case r.Final && !doubted:
			c.Table.Finish(e, got, c.TerminalTTL, now)
			c.Tell.Event(tell.Event[K]{Kind: tell.Final, Key: e.Key})
		case r.Outcome != fetch.Unchanged:
			c.Tell.Event(tell.Event[K]{Kind: tell.Updated, Key: e.Key})
			fallthrough
		default:
			c.Table.Renew(e, got, now)
		}
	}
	e.Clear(timetable.Forced)
	c.Waiters.NoteLocked(e, n)
	return drop
}

// changeOf tells of an outcome whether the value is another one, if that is known.
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
