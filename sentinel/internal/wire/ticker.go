package wire

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ticker ends the calls whose contexts have ended. It ticks only while calls are under way, on a
// timer, without a goroutine of its own; callers need neither a timer nor a select each, which
// makes a context with a deadline as cheap as one without.
type ticker struct {
	conn *Conn
	due  atomic.Int64 // when the next tick comes, on the connection's clock; 0: none is planned

	mu      sync.Mutex
	timer   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
}

// cover makes sure that a tick comes when a call with this deadline needs it.
func (t *ticker) cover(deadline int64) {
	due := t.due.Load()
	if due != 0 && (deadline == 0 || due <= deadline) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	due = t.due.Load()
	now := t.conn.sinceEpoch()
	if due == 0 {
		due = now + int64(tickInterval)
	}
	if deadline != 0 {
		due = min(due, max(deadline, now))
	}
	t.scheduleLocked(now, due)
}

func (t *ticker) scheduleLocked(now, due int64) {
	if t.stopped {
		return
	}
	t.due.Store(due)
	delay := time.Duration(due - now)
	if t.timer == nil {
		t.timer = time.AfterFunc(delay, t.run)
		return
	}
	t.timer.Reset(delay)
}

func (t *ticker) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

func (t *ticker) run() {
	c := t.conn
	next := c.expire(c.sinceEpoch())
	t.mu.Lock()
	defer t.mu.Unlock()
	if next == 0 {
		t.due.Store(0) // a call that comes from now on plans a tick itself
		if next = c.nextTick(c.sinceEpoch()); next == 0 {
			return
		}
	}
	t.scheduleLocked(c.sinceEpoch(), next)
}

// expire gives up the calls whose contexts have ended, and says when to look again; 0 is never.
func (c *Conn) expire(now int64) (next int64) {
	c.mu.Lock()
	ended := c.giveUpLocked(now)
	over := c.takeBackLocked(ended)
	interrupt := c.chooseReaderLocked() || len(ended) > 0
	stuck := c.stuckLocked(now)
	next = c.nextTickLocked(now)
	c.mu.Unlock()
	switch {
	case stuck:
		c.end(ErrStuck)
	case over:
		c.end(ErrRetired)
	}
	if interrupt {
		c.interrupt()
	}
	for _, r := range ended {
		r.done <- struct{}{}
	}
	return next
}

// giveUpLocked returns the calls whose contexts have ended, which keep their places.
func (c *Conn) giveUpLocked(now int64) (ended []*call) {
	for i := 0; i < c.waiting.size; i++ {
		r := c.waiting.peek(i)
		if r.state.Load() != pending {
			continue
		}
		err := r.ctx.Err()
		if err == nil && r.deadline != 0 && now >= r.deadline {
			err = context.DeadlineExceeded // the context's own timer is merely late
		}
		if err == nil || !r.claim(givenUp) {
			continue
		}
		r.err, r.sent = err, i < c.written
		r.letGo()
		c.abandoned++
		ended = append(ended, r)
		if r.receives() { // it has asked for nothing: the reply is for the next that comes for it
			c.waiting.remove(i)
			c.abandoned--
			if i < c.written {
				c.written--
			}
			i--
		}
	}
	return ended
}

// takeBackLocked takes the requests of calls that were given up out of the queue: they are said to
// be not sent. It reports whether the connection was to end with the last of them.
func (c *Conn) takeBackLocked(ended []*call) (over bool) {
	unsent := func(r *call) bool { return !r.sent && !r.receives() }
	if !slices.ContainsFunc(ended, unsent) {
		return false
	}
	kept, at, n := c.queued[:0], 0, c.written
	for i := c.written; i < c.waiting.size; i++ {
		r := c.waiting.peek(i)
		request := c.queued[at : at+r.size]
		if at += r.size; r.state.Load() == givenUp {
			c.abandoned--
			continue
		}
		kept = append(kept, request...) // further ahead in the same buffer, or where it was
		c.waiting.put(n, r)
		n++
	}
	c.waiting.cut(n)
	c.queued = kept
	c.makeRoomLocked()
	return c.retired && c.waiting.size == 0
}

// chooseReaderLocked judges what went on since the last tick. Callers who came one at a time read
// their own replies from now on, which saves a change of goroutines for each; an idle or shared
// connection is read by the goroutine. The result says that the reader must look up to notice.
func (c *Conn) chooseReaderLocked() (interrupt bool) {
	peak := c.peak
	c.peak = c.waiting.size
	switch {
	case c.err != nil:
	case peak == 1 && !c.alone:
		c.alone = true
		return true
	case peak != 1 && c.alone:
		c.alone = false
		if !c.reading {
			c.reading = true
			c.handed <- struct{}{}
		}
	}
	return false
}

func (c *Conn) nextTick(now int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextTickLocked(now)
}

// nextTickLocked is 0 if nothing is under way, and the goroutine reads.
func (c *Conn) nextTickLocked(now int64) int64 {
	if c.err != nil || c.waiting.size == 0 && !c.alone && c.peak == 0 {
		return 0
	}
	next := now + int64(tickInterval)
	for i := range c.waiting.size {
		if r := c.waiting.peek(i); r.deadline != 0 && r.state.Load() == pending {
			next = min(next, max(r.deadline, now))
		}
	}
	return next
}

// stuckLocked judges the silence since the last tick.
func (c *Conn) stuckLocked(now int64) bool {
	if c.options.Silence == 0 || c.err != nil {
		return false
	}
	reads := c.reads.Load()
	heard := reads != c.seen
	c.seen = reads
	if heard || c.written == 0 || !c.parked.Load() || c.mayBeLateLocked() {
		c.silence.broken(now)
		return false
	}
	transfer := time.Duration(c.waiting.peek(0).size) * time.Second / slowest
	return c.silence.goesOn(now, c.options.Witness.Load(), c.options.Silence+transfer)
}

// mayBeLateLocked reports whether the oldest request may wait for an event.
func (c *Conn) mayBeLateLocked() bool {
	oldest := c.waiting.peek(0)
	if oldest.receives() {
		return c.patient || c.owed <= 0 // a message that nobody has asked for, or the reply to what blocks
	}
	return oldest.class&Blocks != 0
}
