package refresh

import (
	"context"
	"math"

	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Orders are what callers want of a crew: that entries are refreshed now, and to be told when they
// have been. A caller may be within a call of the source, whose context it has then.
type Orders[K comparable, V any] struct{ Crew *Crew[K, V] }

// Order is a wait for the refresh of an entry.
type Order[K comparable, V any] struct {
	entry  *timetable.Entry[K, V]
	within *task.Task
	watch  *Watch
}

// ASAP is the since of Await for which any call will do.
const ASAP = math.MinInt64

// watchLocked registers a caller for an entry that is not dead.
func (o Orders[K, V]) watchLocked(within *task.Task, e *timetable.Entry[K, V]) Order[K, V] {
	var by *task.Task
	if within != nil {
		by = o.Crew.turns.callOfLocked(e)
	}
	return Order[K, V]{e, within, o.Crew.Waiters.watchLocked(e, within, by)}
}

// Cancel ends the wait of a caller that was not told.
func (o Orders[K, V]) Cancel(one Order[K, V]) {
	if one.watch == nil {
		return
	}
	c := o.Crew
	c.Life.Lock()
	defer c.Life.Unlock()
	var by *task.Task
	if one.within != nil {
		by = c.turns.callOfLocked(one.entry)
	}
	c.Waiters.unwatchLocked(one.entry, one.watch, one.within, by)
}

// Refresh has an entry refreshed now, unless it is terminal, and registers a caller.
func (o Orders[K, V]) Refresh(ctx context.Context, e *timetable.Entry[K, V]) (Order[K, V], error) {
	o.Crew.Life.Lock()
	defer o.Crew.Life.Unlock()
	return o.refreshLocked(task.Of(ctx), e)
}

func (o Orders[K, V]) refreshLocked(within *task.Task, e *timetable.Entry[K, V]) (one Order[K, V], err error) {
	c := o.Crew
	switch {
	case c.turns.isRefreshLocked(within, e):
		return one, task.ErrCycle
	case c.Life.IsOverLocked():
		return one, source.ErrClosed
	case e.IsDead():
		return one, source.ErrNotFound
	case e.Has(timetable.Terminal):
		return Order[K, V]{e, within, settled()}, nil
	case c.Table.Source() == timetable.Down:
		return one, c.Fetch.Source.Refusal()
	}
	e.Set(timetable.Forced)
	c.Table.Hurry(e, c.Life.Now())
	c.Life.Room.Signal()
	if within != nil && c.Table.Expedite(e) {
		c.staffLocked()
	}
	return o.watchLocked(within, e), nil
}

// Join registers a caller for the refresh of an entry under way, or has it refreshed.
func (o Orders[K, V]) Join(ctx context.Context, e *timetable.Entry[K, V]) (Order[K, V], error) {
	c, within := o.Crew, task.Of(ctx)
	c.Life.Lock()
	defer c.Life.Unlock()
	if !e.IsDead() && e.IsFlying() && !c.Life.IsOverLocked() && !c.turns.isRefreshLocked(within, e) {
		return o.watchLocked(within, e), nil
	}
	return o.refreshLocked(within, e)
}

// Await waits for the outcome of a call that began at since or later.
func (o Orders[K, V]) Await(ctx context.Context, one Order[K, V], since int64) error {
	one.within.Pause()
	defer one.within.Unpause()
	for {
		n, err := o.Next(ctx, one)
		if err != nil {
			return err
		}
		if n.Started >= since {
			return n.Err
		}
		if one, err = o.again(one); err != nil {
			return err
		}
	}
}

// Next waits for the next note on an entry. The error is that there is none, because the context or
// the run has ended.
func (o Orders[K, V]) Next(ctx context.Context, one Order[K, V]) (Note, error) {
	select {
	case <-ctx.Done():
		o.Cancel(one)
		return Note{}, ctx.Err()
	case <-o.Crew.Life.Run().Done():
		o.Cancel(one)
		return Note{}, source.ErrClosed
	case <-one.watch.done:
		return one.watch.note, nil
	}
}

// again registers a caller once more after a call that began too early, and sees to it that another
// one follows.
func (o Orders[K, V]) again(one Order[K, V]) (Order[K, V], error) {
	c := o.Crew
	c.Life.Lock()
	defer c.Life.Unlock()
	switch {
	case one.entry.IsDead():
		return one, source.ErrNotFound
	case one.entry.IsFlying() && !c.turns.isRefreshLocked(one.within, one.entry):
		return o.watchLocked(one.within, one.entry), nil
	}
	return o.refreshLocked(one.within, one.entry)
}

// Look returns an entry's value and registers a caller for the next; the error says why there will
// be none.
func (o Orders[K, V]) Look(ctx context.Context, e *timetable.Entry[K, V]) (one Order[K, V], last V, end error) {
	c := o.Crew
	c.Life.Lock()
	defer c.Life.Unlock()
	last = *e.Value.Load()
	switch {
	case e.IsDead():
		return one, last, source.ErrNotFound
	case e.Has(timetable.Terminal):
		return one, last, source.ErrTerminal
	case c.Life.IsOverLocked():
		return one, last, source.ErrClosed
	}
	return o.watchLocked(task.Of(ctx), e), last, nil
}

// Warm has an entry refreshed that rested until now.
func (o Orders[K, V]) Warm(e *timetable.Entry[K, V]) {
	c := o.Crew
	now := c.Life.Now()
	c.Life.Lock()
	defer c.Life.Unlock()
	if !e.IsDead() && e.Has(timetable.Cold) {
		c.Table.Hurry(e, now)
		c.Life.Room.Signal()
	}
}
