package refresh

import (
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Pump turns the timetable and has a crew take the entries that fall due.
type Pump[K comparable, V any] struct{ Crew *Crew[K, V] }

// Run turns the timetable until the end of the run. It sleeps until something falls due, but for
// the chores of the storage.
func (p Pump[K, V]) Run() {
	l := p.Crew.Life
	defer p.retire()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.Run().Done():
			return
		case chore := <-l.Chores():
			chore()
			continue
		case <-l.Woken():
		case <-timer.C:
		}
		for p.turn(timer) {
			if l.Run().Err() != nil {
				return
			}
		}
	}
}

// retire ends what depends on the background work. The breaker's own goroutine ends here too if it
// was the context that ended, not Close: then the work may begin again.
func (p Pump[K, V]) retire() {
	c := p.Crew
	c.Life.Lock()
	c.Life.Room.Broadcast()
	c.Loads.AbandonAllLocked()
	c.Life.Unlock()
	if c.Life.IsClosed() {
		c.Tell.Discard()
		c.Fetch.Source.Close()
	} else {
		c.Fetch.Source.Reset()
	}
}

// turn does the work due now and sets the timer for the next turn. It returns true if there is more
// to do at once.
func (p Pump[K, V]) turn(timer *time.Timer) bool {
	c := p.Crew
	c.Life.Lock()
	now := c.Life.Now()
	turned := c.Table.Turn(now)
	for _, e := range turned.Stale {
		c.Tell.Event(tell.Event[K]{Kind: tell.Stale, Key: e.Key})
	}
	hung := c.replaceLocked(now)
	c.noteSourceLocked(now)
	more := c.Table.SpreadSome(now)
	if c.Table.Due() > 0 {
		c.Life.Room.Signal()
	}
	latest := c.turns.nextDeadlineLocked()
	if c.turns.flying > 0 {
		latest = min(latest, now+int64(c.Timeout))
	}
	timer.Reset(time.Duration(c.Table.NextTurn(now, latest) - now))
	lines := c.Tell.TakeLocked()
	c.Life.Unlock()
	for _, e := range turned.Over {
		e.Set(timetable.Expired)
		c.Storage.Drop(e)
	}
	p.dropIdle(turned.Idle)
	for _, call := range hung {
		call.Settle(source.ErrOverrun())
	}
	c.Tell.Write(lines...)
	return more
}

// dropIdle drops entries that nobody reads, but for those that were read at the last moment.
func (p Pump[K, V]) dropIdle(entries []*timetable.Entry[K, V]) {
	c := p.Crew
	for _, e := range entries {
		c.Storage.DropIf(e, func() bool { return e.Has(timetable.Unread) })
		c.Life.Lock()
		if !e.IsDead() {
			c.Table.Revive(e, c.Life.Now())
		}
		c.Life.Unlock()
	}
}
