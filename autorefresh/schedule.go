package autorefresh

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

const (
	never    = math.MaxInt64
	ageSlots = 128
	// chunk is how many entries are moved under one hold of mu.
	chunk = 4096
	// pollOutage is how often the pump looks whether the breaker lets a trial through.
	pollOutage = 20 * time.Millisecond
	// farewell is how long Close waits for a refresh function that ignores its context.
	farewell = time.Second
)

// outage is the time from when the breaker opens until it has closed again.
type outage struct {
	state breaker.State
	since int64
}

func (o outage) active() bool { return o.state != breaker.Closed && o.state != breaker.ForcedClosed }

// enter counts an entry that is being stored and schedules it. The caller holds mu.
func (c *Cache[K, V]) enter(e *entry[K, V], due int64) {
	c.census.items++
	switch {
	case e.has(flagAbsent):
		c.census.absent++
		c.absents.push(e, byAge)
	case e.has(flagTerminal):
		c.census.terminal++
		c.finals.push(e, byAge)
	default:
		e.set(flagUnread)
		e.readAt = c.now()
		c.watchAge(e)
	}
	c.schedule(e, due)
}

// removed unlinks an entry that leaves the storage, for good.
func (c *Cache[K, V]) removed(e *entry[K, V], why evicted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.dead = true
	c.unschedule(e)
	c.unwatchAge(e)
	c.discount(e)
	if e.place == placeFlying {
		c.loads.busy[e.key] = &flight[V]{done: make(chan struct{}), orphan: true, task: c.callOf(e)}
	}
	c.note(e, note{err: ErrNotFound, started: never})
	if why {
		c.counts.evictions++
		c.emit(Event[K]{Kind: Evicted, Key: e.key})
	}
}

// discount takes an entry that leaves out of the census. The caller holds mu.
func (c *Cache[K, V]) discount(e *entry[K, V]) {
	c.census.items--
	switch flags := e.flags.Load(); {
	case flags&flagAbsent != 0:
		c.census.absent--
		c.absents.remove(e, byAge)
	case flags&flagTerminal != 0:
		c.census.terminal--
		c.finals.remove(e, byAge)
	default:
		if flags&flagCold != 0 {
			c.census.cold--
		}
		if flags&flagStale != 0 {
			c.census.stale--
		}
		if e.failures > 0 {
			c.census.failing--
		}
	}
}

// schedule makes an entry due at a time. The caller holds mu.
func (c *Cache[K, V]) schedule(e *entry[K, V], due int64) {
	e.due = due
	if due == never {
		e.place = placeIdle
		return
	}
	e.place = placeWaiting
	c.wheel.add(e, due)
	c.wakeBy(due)
}

// unschedule takes an entry out of where it waits. The caller holds mu.
func (c *Cache[K, V]) unschedule(e *entry[K, V]) {
	switch e.place {
	case placeWaiting:
		c.wheel.remove(e)
	case placeReady:
		c.ready.remove(e, bySchedule)
	case placeUrgent:
		c.urgent.remove(e, bySchedule)
	default:
		return
	}
	e.place = placeIdle
}

// hurry makes an entry due now, or once more when its present call ends. The caller holds mu.
func (c *Cache[K, V]) hurry(e *entry[K, V], now int64) {
	switch e.place {
	case placeFlying:
		e.again = true
		return
	case placeUrgent:
		return
	case placeReady:
		c.ready.remove(e, bySchedule)
	default:
		c.unschedule(e)
	}
	c.thaw(e, now)
	e.set(flagHurried)
	e.due, e.place = now, placeReady
	c.ready.push(e, bySchedule)
	c.room.Signal()
	c.wakeBy(now + int64(c.opts.Timeout))
}

// thaw ends the rest of an entry. The caller holds mu.
func (c *Cache[K, V]) thaw(e *entry[K, V], now int64) {
	if !e.has(flagCold) {
		return
	}
	e.clear(flagCold)
	e.readAt = now
	c.census.cold--
}

// warm has an entry refreshed that rested until now.
func (c *Cache[K, V]) warm(e *entry[K, V]) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !e.dead && e.has(flagCold) {
		c.hurry(e, now)
	}
}

// watchAge has an entry marked when its MaxStale passes. The caller holds mu.
func (c *Cache[K, V]) watchAge(e *entry[K, V]) {
	if c.opts.MaxStale > 0 {
		c.ages.add(e, c.staleAt(e))
		c.wakeBy(c.staleAt(e))
	}
}

func (c *Cache[K, V]) unwatchAge(e *entry[K, V]) {
	if e.slots[byAge] != notSlotted {
		c.ages.remove(e)
	}
}

func (c *Cache[K, V]) staleAt(e *entry[K, V]) int64 {
	return e.loadedAt.Load() + int64(c.opts.MaxStale)
}

// expireAges marks what has grown older than MaxStale. The caller holds mu.
func (c *Cache[K, V]) expireAges(now int64) {
	if c.opts.MaxStale == 0 {
		return
	}
	c.ages.expire(now, c.staleAt, func(e *entry[K, V]) {
		e.set(flagStale)
		c.census.stale++
		c.emit(Event[K]{Kind: Stale, Key: e.key})
	})
}

// firstDue is when a new entry is refreshed first. The caller holds mu.
func (c *Cache[K, V]) firstDue(e *entry[K, V], now int64) int64 {
	switch c.opts.First {
	case FirstImmediate:
		return now
	case FirstAfterPeriod:
		return c.nextDue(e, now, rand.Float64())
	default:
		return c.spread(now, c.round())
	}
}

// round is over how long many refreshes are spread that could begin at once. They come again after nine tenths of a period at the
// earliest: were the round longer, its end would meet the beginning of the next.
func (c *Cache[K, V]) round() int64 { return int64(c.opts.Period) - int64(c.opts.Period)/10 }

// nextDue is when an entry is due again whose value was got at a time: luck, from 0 to 1, makes it up to 10 % early.
func (c *Cache[K, V]) nextDue(e *entry[K, V], loadedAt int64, luck float64) int64 {
	period := int64(e.every) * c.wheel.tick
	if c.opts.MaxPeriod == 0 {
		period = int64(c.opts.Period)
	}
	return loadedAt + period - int64(luck*float64(period)/10)
}

// spread returns a random time within a window. Of two it takes the one when less is due. The caller holds mu.
func (c *Cache[K, V]) spread(now, window int64) int64 {
	return c.calmer(now+rand.Int64N(window)+1, now+rand.Int64N(window)+1)
}

func (c *Cache[K, V]) calmer(a, b int64) int64 {
	if c.wheel.slots[c.wheel.slotOf(b)].n < c.wheel.slots[c.wheel.slotOf(a)].n {
		return b
	}
	return a
}

// retryAt is when an entry is tried again that has failed. The caller holds mu.
func (c *Cache[K, V]) retryAt(e *entry[K, V], now int64) int64 {
	step := int64(c.backoff.Delay(int(e.failures) - 1))
	return now + max(rand.Int64N(step+1), c.wheel.tick)
}

// wakeBy has the pump look at a time at the latest. The caller holds mu.
func (c *Cache[K, V]) wakeBy(at int64) {
	if at >= c.wakeAt {
		return
	}
	c.wakeAt = at
	select {
	case c.kick <- struct{}{}:
	default:
	}
}
