package refresh

import (
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/breaker"
)

// noteSourceLocked takes notice of the breaker's state.
func (c *Crew[K, V]) noteSourceLocked(now int64) {
	b := c.Fetch.Source.Breaker()
	if b == nil || c.Life.IsOverLocked() {
		return
	}
	is, since := sourceOf(b.State()), c.Table.Since()
	was := c.Table.Note(is, now)
	switch {
	case was == timetable.Up && is != was:
		c.Waiters.noteIdleLocked(Note{Err: c.Fetch.Source.Refusal(), Started: now})
		c.Tell.Event(tell.Event[K]{Kind: tell.SourceDown})
		c.Tell.NoteLocked(tell.SourceFails(b))
	case is == timetable.Up && is != was:
		c.Tell.Event(tell.Event[K]{Kind: tell.SourceUp})
		c.Tell.NoteLocked(tell.SourceIsBack(time.Duration(now - since)))
	case is != timetable.Up:
		if was == timetable.Trial && is != was { // the orders of meanwhile were not the trial
			c.Waiters.noteIdleLocked(Note{Err: c.Fetch.Source.Refusal(), Started: now})
		}
		c.Life.Room.Signal()
	}
}

// sourceOf translates a state of the breaker for the timetable.
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
