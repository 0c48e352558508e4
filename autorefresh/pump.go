package autorefresh

import (
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// pump is the goroutine that moves what falls due from the wheel to the workers. It sleeps until the next slot that is not empty, but
// for the chores of the storage.
func (c *Cache[K, V]) pump() {
	defer c.retire()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.run.Done():
			return
		case chore := <-c.chores:
			chore()
			continue
		case <-c.kick:
		case <-timer.C:
		}
		for c.turn(timer) {
			if c.run.Err() != nil {
				return
			}
		}
	}
}

// doChore leaves work of the storage to the pump if that has nothing to do, so that readers do not have to do it: all goroutines here
// have an owner.
func (c *Cache[K, V]) doChore(chore func()) {
	select {
	case c.chores <- chore:
	default:
		chore()
	}
}

// retire ends what depends on the background work. The breaker's own goroutine ends here too if it was the context that ended, not
// Close: then the work may begin again.
func (c *Cache[K, V]) retire() {
	c.mu.Lock()
	c.room.Broadcast()
	c.mu.Unlock()
	c.abandonLoads()
	switch {
	case c.closed.Load():
		c.events.Discard()
		if c.breaker != nil {
			_ = c.breaker.Close()
		}
	case c.breaker != nil && (c.breaker.State() == breaker.Open || c.breaker.State() == breaker.HalfOpen):
		c.breaker.Reset()
	}
}

// turn does what is due now and sets the timer for the next turn. It returns true if there is more to do at once.
func (c *Cache[K, V]) turn(timer *time.Timer) bool {
	var over []*entry[K, V]
	var hung []*task
	c.mu.Lock()
	now := c.now()
	window := c.lag(now)
	c.wheel.expire(now, dueAt[K, V], func(e *entry[K, V]) {
		switch {
		case !e.refreshed():
			e.place = placeIdle
			over = append(over, e)
		case c.rests(e, now):
			e.place = placeIdle
		case window > 0:
			c.schedule(e, c.spread(now, window))
		default:
			e.place = placeReady
			c.ready.push(e, bySchedule)
		}
	})
	c.expireAges(now)
	hung = c.findStuck(now, hung)
	c.noteSource(now)
	more := c.spreadSome(now)
	if c.ready.n+c.urgent.n > 0 {
		c.room.Signal()
	}
	c.wakeAt = c.nextTurn(now)
	timer.Reset(time.Duration(c.wakeAt - now))
	notices := c.notices
	c.notices = nil
	c.mu.Unlock()
	for _, e := range over {
		c.storage.drop(e)
	}
	for _, t := range hung {
		t.settle(errOverrun())
	}
	c.write(notices)
	return more
}

func dueAt[K comparable, V any](e *entry[K, V]) int64 { return e.due }

// lag tells over how long what is overdue has to be spread because the process was suspended: 0 if it was not. A backlog of L
// spread over 2 L raises the rate of refreshes by one half. The caller holds mu.
func (c *Cache[K, V]) lag(now int64) int64 {
	late := now - c.wakeAt
	if c.wakeAt == never || late < max(int64(c.opts.Period)/8, int64(100*time.Millisecond)) {
		return 0
	}
	return min(2*late, c.round())
}

// rests tells whether an entry that is due has not been read for HotFor, and marks it so. The caller holds mu.
func (c *Cache[K, V]) rests(e *entry[K, V], now int64) bool {
	if c.opts.HotFor == 0 || len(c.watches) > 0 && e.has(flagWatched) {
		return false
	}
	if !e.has(flagUnread) {
		e.set(flagUnread)
		e.readAt = now
		return false
	}
	if now-e.readAt < int64(c.opts.HotFor) {
		return false
	}
	e.set(flagCold)
	c.census.cold++
	if e.failures > 0 {
		e.failures = 0
		c.census.failing--
	}
	return true
}

// nextTurn is when the pump has to look again. The caller holds mu.
func (c *Cache[K, V]) nextTurn(now int64) int64 {
	next := int64(never)
	if at, ok := c.wheel.next(); ok {
		next = at
	}
	if at, ok := c.ages.next(); ok {
		next = min(next, at)
	}
	if c.outage.active() {
		next = min(next, now+int64(pollOutage))
	}
	if c.ready.n+c.urgent.n > 0 || c.flying > 0 {
		next = min(next, now+int64(c.opts.Timeout))
	}
	for w := range c.workers {
		if deadline := w.deadline.Load(); deadline != 0 && !w.stuck {
			next = min(next, deadline)
		}
	}
	return max(next, now)
}

// findStuck replaces workers whose call has overrun, and adds the calls to hung. The caller holds mu.
func (c *Cache[K, V]) findStuck(now int64, hung []*task) []*task {
	for w := range c.workers {
		deadline := w.deadline.Load()
		if deadline == 0 || deadline > now || w.stuck {
			continue
		}
		w.stuck = true
		c.endTurn(w.call.Load())
		hung = append(hung, w.call.Load())
		c.stuck++
		c.counts.stuck++
		c.running--
		c.emit(Event[K]{Kind: Stuck, Key: w.entries[0].key})
		c.notices = append(c.notices, notice{slog.LevelWarn, "refresh function has overrun its timeout", []any{"key", quote(w.entries[0].key)}})
		if c.stuck <= c.opts.MaxStuck && c.run.Err() == nil {
			w.replaced = true
			c.hireFor(w.extra)
		}
	}
	return hung
}

// noteSource takes notice of the breaker's state. The caller holds mu.
func (c *Cache[K, V]) noteSource(now int64) {
	if c.breaker == nil || c.run.Err() != nil {
		return
	}
	was, before := c.outage.active(), c.outage.state
	c.outage.state = c.breaker.State()
	switch is := c.outage.active(); {
	case is && !was:
		c.outage.since = now
		c.noteOutage(now)
		c.wakeBy(now + int64(pollOutage))
		c.emit(Event[K]{Kind: SourceDown})
		c.notices = append(c.notices, notice{
			slog.LevelWarn, "source is failing, refreshes wait", []any{slog.Any(observe.KeyCause, lastCause{c.breaker})},
		})
	case was && !is:
		c.limit = 1
		c.spreads = c.ready.n
		c.hasten(now)
		c.wakeBy(now)
		c.emit(Event[K]{Kind: SourceUp})
		c.notices = append(c.notices, notice{slog.LevelInfo, "source is back", []any{observe.Duration(observe.KeyAfter, time.Duration(now-c.outage.since))}})
	case is:
		if before == breaker.HalfOpen && c.outage.state != before { // what was ordered meanwhile was not the trial
			c.noteOutage(now)
		}
		c.room.Signal()
	}
}

// spreadSome spreads some of what fell due in an outage, and tells whether there is more. Nobody works on the ready list meanwhile.
// The caller holds mu.
func (c *Cache[K, V]) spreadSome(now int64) bool {
	if c.spreads == 0 {
		return false
	}
	window := max(min(2*(now-c.outage.since), c.round()), 1)
	for n := 0; n < chunk && c.spreads > 0 && c.ready.n > 0; n++ {
		c.schedule(c.ready.pop(bySchedule), c.spread(now, window))
		c.spreads--
	}
	if c.ready.n == 0 {
		c.spreads = 0
	}
	return c.spreads > 0
}

// hasten brings forward what is backing off for longer than a period, because of an outage that is over. The caller holds mu.
func (c *Cache[K, V]) hasten(now int64) {
	left := c.census.failing
	horizon := now + int64(c.opts.Period)
	for i := range c.wheel.slots {
		if left <= 0 {
			return
		}
		for e := c.wheel.slots[i].head; e != nil; {
			next := e.links[bySchedule].next
			if e.failures > 0 {
				left--
				if e.due > horizon {
					c.wheel.remove(e)
					c.schedule(e, c.spread(now, c.round()))
				}
			}
			e = next
		}
	}
}
