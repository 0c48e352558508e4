package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// newLoadCall makes a call without keys, for a caller within another call or not.
func (c *Cache[K, V]) newLoadCall(ctx context.Context, outer *task.Task) *loadCall[K, V] {
	j := c.fetch.newJob(0)
	j.life, j.rank, j.standing, j.twice = c.life.run, source.Awaited, source.Standing{Fresh: true}, true
	j.timeout = max(c.opts.LoadTimeout, 0)
	return c.loads.newCall(ctx, j, outer)
}

// runLoads makes the calls of the queues, on one place, until they are empty.
func (c *Cache[K, V]) runLoads() {
	var call *loadCall[K, V]
	defer func() {
		if call == nil {
			return
		}
		err := panicked(recover()) // or the refresh function has ended this goroutine
		c.loads.noteReturn(call, c.now())
		c.mu.Lock()
		rest := slices.Clone(call.wishes)
		c.mu.Unlock()
		failAll(rest, err, c.now())
		c.fetch.level.Release(call.job.life, keysOf(rest))
		c.deliver(call, rest)
		if c.loads.leavePlace(call) {
			c.mu.Lock()
			c.life.tasks.Go(c.runLoads)
			c.mu.Unlock()
		}
	}()
	for {
		if call = c.loads.next(); call == nil {
			return
		}
		parked := c.loadNow(call)
		last := call
		call = nil
		if !parked && !c.loads.leavePlace(last) {
			return
		}
	}
}

// loadNow gets the values of a call's keys: from the second level if it has young ones, from the source, or else what the second
// level still has. Keys that another process is asking for wait, without a place: parked tells that all of them do.
func (c *Cache[K, V]) loadNow(call *loadCall[K, V]) (parked bool) {
	j := call.job
	if call.end == 0 {
		// Whoever has a lease may be gone: it ends with Timeout, and so does the wait for it.
		call.end = c.now() + int64(c.opts.Timeout)
	}
	looked := c.fetch.consult(j, slices.Clone(call.wishes))
	c.deliver(call, looked.granted)
	mine := looked.mine
	switch {
	case c.now() >= call.end || j.ctx.Err() != nil:
		mine = append(mine, looked.taken...)
	case len(looked.taken) > 0 && len(mine) > 0:
		c.loads.split(call, c.newLoadCall(j.ctx, j.task.Outer), looked.taken, c.table.LookAfter())
	case len(looked.taken) > 0:
		c.loads.park(call, c.table.LookAfter())
		return true
	}
	if len(mine) > 0 && j.ctx.Err() == nil {
		c.askLoad(call, mine)
		c.fetch.share(j, mine, func() []K { return c.loads.forgotten(call) })
		c.shield(mine)
	} else {
		failAll(mine, context.Canceled, c.now())
		c.fetch.level.Release(j.life, keysOf(mine))
	}
	c.deliver(call, mine)
	call.cancel()
	return false
}

// askLoad calls the source for wishes.
func (c *Cache[K, V]) askLoad(call *loadCall[K, V], wishes []*want[K, V]) {
	var alarm *time.Timer
	j := call.job
	if c.fetch.source.Paced() && c.fetch.level == nil && c.opts.BatchSize > 1 {
		c.loads.beginPace(call)
	}
	j.begin = func(at int64) {
		c.loads.noteBegin(call, at)
		if j.timeout > 0 {
			alarm = time.AfterFunc(source.Overrun(j.timeout), func() { c.noteOverrun(call) })
		}
	}
	c.fetch.ask(j, wishes)
	if alarm != nil {
		alarm.Stop()
	}
	c.loads.noteReturn(call, c.now())
	for _, w := range wishes {
		if w.result.outcome == postponed { // nobody will ask again
			w.result.outcome = failed
		}
	}
}

func errOverrun() error { return fmt.Errorf("%w: %w", ErrStuck, context.DeadlineExceeded) }

// noteOverrun answers those who wait for a call that is stuck.
func (c *Cache[K, V]) noteOverrun(call *loadCall[K, V]) {
	c.mu.Lock()
	key, is := c.loads.overrunLocked(call)
	if is {
		c.meter.stuck++
		c.teller.emit(Event[K]{Kind: Stuck, Key: key})
	}
	c.mu.Unlock()
	if is {
		call.job.task.Settle(errOverrun())
		c.teller.write(notice{slog.LevelWarn, "refresh function has overrun its timeout", []any{"key", safe.Quote(key)}})
	}
}

// shield answers keys whose load has failed with what the second level knows of them, if that may still be served.
func (c *Cache[K, V]) shield(wishes []*want[K, V]) {
	for _, w := range wishes {
		servable := c.opts.MaxStale == 0 || c.now()-w.known.LoadedAt < int64(c.opts.MaxStale)
		if w.result.outcome == failed && w.known.Value != nil && servable {
			w.result = adoption(w.known)
			w.result.shielded = true
		}
	}
}

// deliver stores the results of wishes and ends their flights.
func (c *Cache[K, V]) deliver(call *loadCall[K, V], wishes []*want[K, V]) {
	if len(wishes) == 0 {
		return
	}
	for _, w := range wishes {
		a := c.keep(w)
		c.mu.Lock()
		c.loads.answerLocked(w, a)
		c.mu.Unlock()
	}
	c.loads.finish(call, wishes)
}

// keep stores the result of one key, unless the key was deleted meanwhile, and returns the answer for those who wait.
func (c *Cache[K, V]) keep(w *want[K, V]) (a answer[V]) {
	now, r := c.now(), &w.result
	unwanted := func() bool { return w.flight.forgotten }
	a.err = r.err
	switch {
	case r.outcome == missing:
		if c.opts.NegativeTTL > 0 {
			e := c.table.NewEntry(w.key, new(V), now)
			e.Set(timetable.Absent)
			_, _ = c.insert(e, func() int64 { return timetable.Expiry(now, c.opts.NegativeTTL) }, unwanted)
		}
		return a
	case r.value == nil:
		return a
	}
	a.value = *r.value
	if r.outcome == failed {
		return a
	}
	e := c.table.NewEntry(w.key, r.value, r.loadedAt)
	due := func() int64 { return c.table.FirstDueLoaded(e, now) }
	switch {
	case r.final:
		e.Set(timetable.Terminal)
		due = func() int64 { return timetable.Expiry(now, c.opts.TerminalTTL) }
	case r.outcome == adopted:
		due = func() int64 { return c.table.FirstDueAdopted(e, now) }
	}
	there, err := c.insert(e, due, unwanted)
	if err == nil && there != nil && !there.Has(timetable.Absent) {
		a.value = *there.Value.Load()
	}
	return a
}

// ownError is the error of a load as its caller is told it: one that was cancelled by Close, not by the caller, says so.
func (c *Cache[K, V]) ownError(err error) error {
	if c.life.run.Err() != nil && errors.Is(err, context.Canceled) {
		return ErrClosed
	}
	return err
}
