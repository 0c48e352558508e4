package autorefresh

import (
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// pump is the goroutine that turns the timetable and has workers take what falls due. It sleeps
// until something does, but for the chores of the storage.
func (c *Cache[K, V]) pump() {
	defer c.retire()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.life.run.Done():
			return
		case chore := <-c.life.chores:
			chore()
			continue
		case <-c.life.kick:
		case <-timer.C:
		}
		for c.turn(timer) {
			if c.life.run.Err() != nil {
				return
			}
		}
	}
}

// retire ends what depends on the background work. The breaker's own goroutine ends here too if it
// was the context that ended, not Close: then the work may begin again.
func (c *Cache[K, V]) retire() {
	c.mu.Lock()
	c.life.room.Broadcast()
	c.loads.AbandonAllLocked()
	c.mu.Unlock()
	if c.life.closed.Load() {
		c.teller.discard()
		c.fetch.Source.Close()
	} else {
		c.fetch.Source.Reset()
	}
}

// turn does what is due now and sets the timer for the next turn. It returns true if there is more
// to do at once.
func (c *Cache[K, V]) turn(timer *time.Timer) bool {
	c.mu.Lock()
	now := c.now()
	turned := c.table.Turn(now)
	for _, e := range turned.Stale {
		c.teller.emit(Event[K]{Kind: Stale, Key: e.Key})
	}
	hung := c.replaceLocked(c.crew.overrunLocked(now))
	c.noteSourceLocked(now)
	more := c.table.SpreadSome(now)
	if c.table.Due() > 0 {
		c.life.room.Signal()
	}
	latest := c.crew.nextDeadlineLocked()
	if c.crew.flying > 0 {
		latest = min(latest, now+int64(c.opts.Timeout))
	}
	timer.Reset(time.Duration(c.table.NextTurn(now, latest) - now))
	notices := c.teller.takeLocked()
	c.mu.Unlock()
	for _, e := range turned.Over {
		e.Set(timetable.Expired)
		c.storage.drop(e)
	}
	c.dropIdle(turned.Idle)
	for _, call := range hung {
		call.Settle(source.ErrOverrun())
	}
	c.teller.write(notices...)
	return more
}

// dropIdle drops entries that nobody reads, but for those that were read at the last moment.
func (c *Cache[K, V]) dropIdle(entries []*timetable.Entry[K, V]) {
	for _, e := range entries {
		c.storage.dropIf(e, func() bool { return e.Has(timetable.Unread) })
		c.mu.Lock()
		if !e.IsDead() {
			c.table.Revive(e, c.now())
		}
		c.mu.Unlock()
	}
}

// noteSourceLocked takes notice of the breaker's state.
func (c *Cache[K, V]) noteSourceLocked(now int64) {
	b := c.fetch.Source.Breaker()
	if b == nil || c.life.isOverLocked() {
		return
	}
	is, since := sourceOf(b.State()), c.table.Since()
	was := c.table.Note(is, now)
	switch {
	case was == timetable.Up && is != was:
		c.waiters.noteIdleLocked(note{err: c.fetch.Source.Refusal(), started: now})
		c.teller.emit(Event[K]{Kind: SourceDown})
		c.teller.noticeLocked(slog.LevelWarn, "source is failing, refreshes wait", slog.Any(observe.KeyCause, lastCause{b}))
	case is == timetable.Up && is != was:
		c.teller.emit(Event[K]{Kind: SourceUp})
		c.teller.noticeLocked(slog.LevelInfo, "source is back", observe.Duration(observe.KeyAfter, time.Duration(now-since)))
	case is != timetable.Up:
		if was == timetable.Trial && is != was { // what was ordered meanwhile was not the trial
			c.waiters.noteIdleLocked(note{err: c.fetch.Source.Refusal(), started: now})
		}
		c.life.room.Signal()
	}
}

// sourceOf is what a state of the breaker is to the timetable.
func sourceOf(s breaker.State) timetable.Source {
	switch s {
	case breaker.Closed, breaker.ForcedClosed:
		return timetable.Up
	case breaker.HalfOpen:
		return timetable.Trial
	default:
		return timetable.Down
	}
}
