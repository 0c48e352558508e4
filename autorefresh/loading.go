package autorefresh

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// newLoadCall makes a call without keys, for a caller within another call or not.
func (c *Cache[K, V]) newLoadCall(ctx context.Context, outer *task.Task) *loader.Call[K, V] {
	j := c.newJob(0)
	j.Life, j.Rank, j.Standing, j.Twice = c.life.run, source.Awaited, source.Standing{Fresh: true}, true
	j.Timeout = max(c.opts.LoadTimeout, 0)
	return c.loads.NewCall(ctx, j, outer)
}

// runLoads makes the calls of the queues, on one place, until they are empty.
func (c *Cache[K, V]) runLoads() {
	var call *loader.Call[K, V]
	defer func() {
		if call == nil {
			return
		}
		err := panicked(recover()) // or the refresh function has ended this goroutine
		c.loads.NoteReturn(call, c.now())
		rest := c.loads.Wishes(call)
		fetch.FailAll(rest, err, c.now())
		c.fetch.Level.Release(call.Job.Life, fetch.KeysOf(rest))
		c.deliver(rest)
		if c.loads.Leave(call) {
			c.mu.Lock()
			c.life.tasks.Go(c.runLoads)
			c.mu.Unlock()
		}
	}()
	for {
		if call = c.loads.Next(); call == nil {
			return
		}
		parked := c.loadNow(call)
		last := call
		call = nil
		if !parked && !c.loads.Leave(last) {
			return
		}
	}
}

// loadNow gets the values of a call's keys: from the second level if it has young ones, from the
// source, or else what the second level still has. Keys that another process is asking for wait,
// without a place: parked tells that all of them do.
func (c *Cache[K, V]) loadNow(call *loader.Call[K, V]) (parked bool) {
	j := call.Job
	if call.End == 0 {
		// Whoever has a lease may be gone: it ends with Timeout, and so does the wait for it.
		call.End = c.now() + int64(c.opts.Timeout)
	}
	looked := c.fetch.Consult(j, c.loads.Wishes(call))
	c.deliver(looked.Granted)
	mine := looked.Mine
	switch {
	case c.now() >= call.End || j.Ctx.Err() != nil:
		mine = append(mine, looked.Taken...)
	case len(looked.Taken) > 0 && len(mine) > 0:
		c.loads.Split(call, c.newLoadCall(j.Ctx, j.Task.Outer), looked.Taken, c.table.LookAfter())
	case len(looked.Taken) > 0:
		c.loads.Park(call, c.table.LookAfter())
		return true
	}
	if len(mine) > 0 && j.Ctx.Err() == nil {
		c.askLoad(call, mine)
		c.fetch.Share(j, func() []K { return c.loads.Forgotten(call) })
		c.shield(mine)
	} else {
		fetch.FailAll(mine, context.Canceled, c.now())
		c.fetch.Level.Release(j.Life, fetch.KeysOf(mine))
	}
	c.deliver(mine)
	call.Finish()
	return false
}

// askLoad calls the source for wishes.
func (c *Cache[K, V]) askLoad(call *loader.Call[K, V], wishes []*fetch.Want[K, V]) {
	var alarm *time.Timer
	j := call.Job
	if c.fetch.Source.Paced() && c.fetch.Level == nil && c.opts.BatchSize > 1 {
		c.loads.BeginPace(call)
	}
	j.Begin = func(at int64) {
		c.loads.NoteBegin(call, at)
		if j.Timeout > 0 {
			alarm = time.AfterFunc(source.Overrun(j.Timeout), func() { c.noteOverrun(call) })
		}
	}
	c.fetch.Ask(j, wishes)
	if alarm != nil {
		alarm.Stop()
	}
	c.loads.NoteReturn(call, c.now())
	for _, w := range wishes {
		if w.Result.Outcome == fetch.Postponed { // nobody will ask again
			w.Result.Outcome = fetch.Failed
		}
	}
}

// noteOverrun answers those who wait for a call that is stuck.
func (c *Cache[K, V]) noteOverrun(call *loader.Call[K, V]) {
	c.mu.Lock()
	key, is := c.loads.OverrunLocked(call)
	if is {
		c.meter.stuck++
		c.teller.emit(Event[K]{Kind: Stuck, Key: key})
	}
	c.mu.Unlock()
	if is {
		call.Job.Task.Settle(source.ErrOverrun())
		c.teller.write(notice{slog.LevelWarn, "refresh function has overrun its timeout", []any{"key", safe.Quote(key)}})
	}
}

// shield answers keys whose load has failed with what the second level knows of them, if that may
// still be served.
func (c *Cache[K, V]) shield(wishes []*fetch.Want[K, V]) {
	for _, w := range wishes {
		now := c.now()
		servable := (c.opts.MaxStale == 0 || now-w.Known.LoadedAt < int64(c.opts.MaxStale)) && now < cmp.Or(w.Known.End, timetable.Never)
		if w.Result.Outcome == fetch.Failed && w.Known.Value != nil && servable {
			w.Result = fetch.Adoption(w.Known)
			w.Result.Shielded = true
		}
	}
}

// deliver stores the results of wishes and ends their flights.
func (c *Cache[K, V]) deliver(wishes []*fetch.Want[K, V]) {
	for _, w := range wishes {
		a := c.keep(w)
		c.mu.Lock()
		c.loads.AnswerLocked(w, a.value, a.err)
		c.mu.Unlock()
	}
}

// keep stores the result of one key, unless the key was deleted meanwhile, and returns the answer
// for those who wait.
func (c *Cache[K, V]) keep(w *fetch.Want[K, V]) (a answer[V]) {
	now, r := c.now(), &w.Result
	unwanted := func() bool { return c.loads.IsForgottenLocked(w) }
	a.err = r.Err
	switch {
	case r.Outcome == fetch.Missing:
		if c.opts.NegativeTTL > 0 {
			e := c.table.NewEntry(w.Key, new(V), now)
			e.Set(timetable.Absent)
			_, _ = c.insert(e, func() int64 { return timetable.Expiry(now, c.opts.NegativeTTL) }, unwanted)
		}
		return a
	case r.Value == nil:
		return a
	}
	a.value = *r.Value
	if r.Outcome == fetch.Failed {
		return a
	}
	e := c.table.NewEntry(w.Key, r.Value, r.LoadedAt)
	due := func() int64 {
		c.table.SetEnd(e, r.End)
		switch {
		case r.Final:
			return min(timetable.Expiry(now, c.opts.TerminalTTL), cmp.Or(r.End, timetable.Never))
		case r.Outcome == fetch.Adopted:
			return c.table.FirstDueAdopted(e, now)
		default:
			return c.table.FirstDueLoaded(e, now)
		}
	}
	if r.Final {
		e.Set(timetable.Terminal)
	}
	there, err := c.insert(e, due, unwanted)
	if err == nil && there != nil && !there.Has(timetable.Absent) {
		a.value = *there.Value.Load()
	}
	return a
}

// ownError is the error of a load as its caller is told it: one that was cancelled by Close, not by
// the caller, says so.
func (c *Cache[K, V]) ownError(err error) error {
	if c.life.run.Err() != nil && errors.Is(err, context.Canceled) {
		return ErrClosed
	}
	return err
}
