package autorefresh

import (
	"errors"
	"math/rand/v2"
	"time"
)

// outcome is what became of one item of a call.
type outcome uint8

const (
	updated   outcome = iota
	unchanged         // as it was
	missing           // the source has it no more
	terminal          // final
	failed            // keeps its value and backs off
	adopted           // taken from the second level
	leased            // another process is at it: to be looked at again soon
	postponed         // the source was not asked
	outcomes
)

func (o outcome) String() string {
	return [outcomes]string{"updated", "unchanged", "gone", "terminal", "failed", "adopted", "leased", "postponed"}[o]
}

// result is an outcome with what belongs to it.
type result[V any] struct {
	outcome  outcome
	final    bool  // of an adopted value
	shielded bool  // adopted although it is old
	value    *V    // nil if there is no new one
	err      error // of a failure
	loadedAt int64 // when the call began
}

// judge turns what the source has said of an item into a result.
func judge[V any](r Result[V], started int64) result[V] {
	var partial *partialError
	switch {
	case r.Err == nil:
		return result[V]{outcome: updated, value: &r.Value, loadedAt: started}
	case errors.Is(r.Err, ErrUnchanged):
		return result[V]{outcome: unchanged, loadedAt: started}
	case errors.Is(r.Err, ErrTerminal):
		return result[V]{outcome: terminal, value: &r.Value, loadedAt: started}
	case errors.Is(r.Err, ErrNotFound):
		return result[V]{outcome: missing, err: r.Err, loadedAt: started}
	case errors.As(r.Err, &partial):
		return result[V]{outcome: failed, value: &r.Value, err: partial.cause, loadedAt: started}
	}
	return result[V]{outcome: failed, err: r.Err, loadedAt: started}
}

// isFailure tells whether an error speaks against the source.
func isFailure(err error) bool {
	return err != nil && !errors.Is(err, ErrUnchanged) && !errors.Is(err, ErrTerminal) && !errors.Is(err, ErrNotFound)
}

// settle applies the results of a call.
func (c *Cache[K, V]) settle(w *worker[K, V]) {
	var over []*entry[K, V]
	luck := rand.Float64() // the same for a whole batch, whose items stay together
	c.mu.Lock()
	now := c.now()
	c.endTurn(w.call.Load())
	if w.stuck {
		w.stuck = false
		c.stuck--
	} else {
		c.running--
	}
	c.flying -= len(w.entries)
	c.noteSource(now)
	good := false
	for i, e := range w.entries {
		r := &w.results[i]
		good = good || r.outcome < failed
		if c.apply(e, r, now, luck) {
			over = append(over, e)
		}
		w.entries[i] = nil
	}
	if good && !c.outage.active() && c.limit < c.opts.Workers {
		c.limit = min(2*c.limit, c.opts.Workers)
		c.room.Broadcast()
	}
	c.mu.Unlock()
	clear(w.results)
	for _, e := range over {
		c.storage.drop(e)
	}
}

// apply gives an entry its result and schedules it. It returns true if the entry is to be dropped. The caller holds mu.
func (c *Cache[K, V]) apply(e *entry[K, V], r *result[V], now int64, luck float64) bool {
	c.counts.refreshes[r.outcome]++
	e.place = placeIdle
	if e.dead {
		c.land(e)
		return false
	}
	if r.outcome == postponed || r.outcome == leased {
		c.delay(e, r, now)
		return false
	}
	e.clear(flagForced)
	if r.outcome == missing {
		c.note(e, note{err: ErrNotFound, started: never})
		c.emit(Event[K]{Kind: Gone, Key: e.key})
		return true
	}
	if r.outcome == failed {
		c.fail(e, r, now)
		return false
	}
	c.renew(e, r, now, luck)
	return false
}

// land ends the flight of an entry that was deleted meanwhile: its key may be called for again. The caller holds mu.
func (c *Cache[K, V]) land(e *entry[K, V]) {
	if f := c.loads.busy[e.key]; f != nil && f.orphan {
		delete(c.loads.busy, e.key)
		close(f.done)
	}
}

// delay puts off an entry whose source was not asked. The caller holds mu.
func (c *Cache[K, V]) delay(e *entry[K, V], r *result[V], now int64) {
	if r.outcome == leased {
		e.set(flagHurried)
		c.schedule(e, now+c.lookAgain())
		return
	}
	e.place = placeReady
	c.ready.push(e, bySchedule)
	c.note(e, note{err: r.err, started: now})
}

// lookAgain is after what time a value is looked for once more that another process is getting.
func (c *Cache[K, V]) lookAgain() int64 {
	return max(min(int64(c.opts.Timeout)/8, int64(c.opts.Period)/16), c.wheel.tick)
}

// fail schedules another attempt. While the source as a whole is failing, nothing is known of the item: it stays due, at the end
// of the line. The caller holds mu.
func (c *Cache[K, V]) fail(e *entry[K, V], r *result[V], now int64) {
	if r.value != nil {
		e.value.Store(r.value)
		c.rejuvenate(e, r.loadedAt)
	}
	e.again = false
	c.note(e, note{err: r.err, started: r.loadedAt})
	if c.run.Err() == nil {
		c.emit(Event[K]{Kind: Failed, Key: e.key, Err: r.err})
	}
	if c.outage.active() {
		e.due, e.place = now, placeReady
		c.ready.push(e, bySchedule)
		return
	}
	if e.failures == 0 {
		c.census.failing++
	}
	e.failures = min(e.failures, 254) + 1
	c.schedule(e, c.retryAt(e, now))
}

// renew gives an entry its new value, or confirms the old one, and schedules the next refresh. The caller holds mu.
func (c *Cache[K, V]) renew(e *entry[K, V], r *result[V], now int64, luck float64) {
	c.served.Observe(max(now-e.loadedAt.Load(), 0))
	if e.failures > 0 {
		e.failures = 0
		c.census.failing--
	}
	e.clear(flagNew)
	if r.value != nil {
		e.value.Store(r.value)
	}
	c.rejuvenate(e, r.loadedAt)
	if r.outcome == terminal || r.final {
		c.finish(e, now)
	} else {
		c.adapt(e, r.outcome)
		due := c.nextDue(e, r.loadedAt, luck)
		if c.opts.BatchSize == 1 {
			due = c.calmer(due, c.nextDue(e, r.loadedAt, rand.Float64()))
		}
		c.schedule(e, max(due, now+c.wheel.tick))
		if r.outcome != unchanged {
			c.emit(Event[K]{Kind: Updated, Key: e.key})
		}
	}
	c.note(e, note{started: r.loadedAt})
	if e.again && !e.has(flagTerminal) {
		c.hurry(e, now)
	}
	e.again = false
}

// rejuvenate notes when the value was got. The caller holds mu.
func (c *Cache[K, V]) rejuvenate(e *entry[K, V], loadedAt int64) {
	e.loadedAt.Store(loadedAt)
	if e.has(flagStale) {
		e.clear(flagStale)
		c.census.stale--
		c.watchAge(e)
	}
}

// finish makes an entry terminal. The caller holds mu.
func (c *Cache[K, V]) finish(e *entry[K, V], now int64) {
	e.set(flagTerminal)
	c.unwatchAge(e)
	c.finals.push(e, byAge)
	c.census.terminal++
	c.schedule(e, c.expiry(now, c.opts.TerminalTTL))
	c.emit(Event[K]{Kind: Final, Key: e.key})
}

func (c *Cache[K, V]) expiry(now int64, ttl time.Duration) int64 {
	if ttl == 0 {
		return never
	}
	return now + int64(ttl)
}

// adapt chooses an entry's own period. The caller holds mu.
func (c *Cache[K, V]) adapt(e *entry[K, V], o outcome) {
	switch {
	case c.opts.MaxPeriod == 0:
	case o == unchanged:
		e.every = uint32(min(2*int64(e.every), int64(c.opts.MaxPeriod)/c.wheel.tick))
	case o == updated:
		e.every = uint32(max(int64(c.opts.MinPeriod)/c.wheel.tick, 1))
	}
}
