package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

var errKeepsNothing = errors.New("autorefresh: unchanged, but there is no value to keep")

// runLoads makes the calls of the queues, on one place, until they are empty.
func (c *Cache[K, V]) runLoads() {
	var call *loadCall[K, V]
	defer func() {
		if call == nil {
			return
		}
		err := panicked(recover()) // or the refresh function has ended this goroutine
		c.noteReturn(call)
		c.mu.Lock()
		rest := slices.Clone(call.wishes)
		c.mu.Unlock()
		fail(rest, err)
		c.second.release(c.run, keysOf(rest))
		c.deliver(call, rest)
		if c.leavePlace(call) {
			c.mu.Lock()
			c.tasks.Go(c.runLoads)
			c.mu.Unlock()
		}
	}()
	for {
		if call = c.nextLoad(); call == nil {
			return
		}
		parked := c.carryOut(call)
		last := call
		call = nil
		if !parked && !c.leavePlace(last) {
			return
		}
	}
}

// panicked is the error of a call that did not return, with what recover says.
func panicked(v any) error {
	if v == nil {
		return ErrPanicked
	}
	return fmt.Errorf("%w: %v", ErrPanicked, v)
}

// carryOut gets the values of a call's keys: from the second level if it has young ones, from the source, or else what the second
// level still has. Keys that another process is asking for wait, without a place: parked tells that all of them do.
func (c *Cache[K, V]) carryOut(call *loadCall[K, V]) (parked bool) {
	if call.end == 0 {
		// Whoever has a lease may be gone: it ends with Timeout, and so does the wait for it.
		call.end = c.now() + int64(c.opts.Timeout)
	}
	mine, waiting, blind := c.consultLoad(call)
	switch {
	case c.now() >= call.end || call.ctx.Err() != nil:
		mine = append(mine, waiting...)
	case len(waiting) > 0 && len(mine) > 0:
		c.split(call, waiting)
	case len(waiting) > 0:
		c.park(call)
		return true
	}
	if len(mine) > 0 && call.ctx.Err() == nil {
		c.askLoad(call, mine, blind)
		c.shareLoad(call, mine)
		c.shieldLoad(mine)
	} else {
		fail(mine, context.Canceled)
		c.second.release(c.run, keysOf(mine))
	}
	c.deliver(call, mine)
	call.cancel()
	return false
}

func fail[K comparable, V any](wishes []*wish[K, V], err error) {
	for _, w := range wishes {
		w.result = result[V]{outcome: failed, err: err}
	}
}

// shieldLoad answers keys whose load has failed with what the second level knows of them.
func (c *Cache[K, V]) shieldLoad(wishes []*wish[K, V]) {
	for _, w := range wishes {
		if w.result.outcome == failed && w.known.value != nil && c.servable(w.known.loadedAt) {
			w.result = w.known.result()
			w.result.shielded = true
		}
	}
}

// servable tells whether a value from then may still be served.
func (c *Cache[K, V]) servable(loadedAt int64) bool {
	return c.opts.MaxStale == 0 || c.now()-loadedAt < int64(c.opts.MaxStale)
}

// young tells whether a value from then needs no refresh yet.
func (c *Cache[K, V]) young(loadedAt int64) bool {
	return c.now()-loadedAt < int64(c.opts.Period)/10*9
}

// consultLoad delivers the young values of the second level. It returns for which other keys the source has to be asked, and which
// another process is asking for. Blind says that the second level could not be asked.
func (c *Cache[K, V]) consultLoad(call *loadCall[K, V]) (mine, waiting []*wish[K, V], blind blindness) {
	if c.second == nil || call.ctx.Err() != nil {
		return slices.Clone(call.wishes), nil, false
	}
	found, deleted, blind := c.second.lookup(call.ctx, keysOf(call.wishes))
	call.deleted = deleted
	var there, old []*wish[K, V]
	for i, w := range call.wishes {
		if c.isGranted(w, found[i]) {
			there = append(there, w)
		} else {
			old = append(old, w)
		}
	}
	c.deliver(call, there)
	for n, taken := range c.second.lease(call.ctx, keysOf(old), c.opts.Timeout, blind) {
		if taken {
			waiting = append(waiting, old[n])
		} else {
			mine = append(mine, old[n])
		}
	}
	if c.second.leaser != nil && !blind {
		mine = c.consultAgain(call, mine)
	}
	return mine, waiting, blind
}

// isGranted takes note of what the second level has for a wish, and tells whether that is all that was wished for.
func (c *Cache[K, V]) isGranted(w *wish[K, V], f stored[K, V]) bool {
	if f.value == nil {
		return false
	}
	w.known = f
	if !f.terminal && !c.young(f.loadedAt) {
		return false
	}
	w.result = f.result()
	return true
}

// consultAgain returns for which keys the source has to be asked after all. Another process may have got the value, and ended its lease, between the look
// for the value and the lease that this one has got.
func (c *Cache[K, V]) consultAgain(call *loadCall[K, V], wishes []*wish[K, V]) (mine []*wish[K, V]) {
	found := c.second.lookAgain(call.ctx, keysOf(wishes))
	var there []*wish[K, V]
	for i, w := range wishes {
		if c.isGranted(w, found[i]) {
			there = append(there, w)
		} else {
			mine = append(mine, w)
		}
	}
	c.second.release(c.run, keysOf(there))
	c.deliver(call, there)
	return mine
}

func keysOf[K comparable, V any](wishes []*wish[K, V]) []K {
	keys := make([]K, len(wishes))
	for i, w := range wishes {
		keys[i] = w.key
	}
	return keys
}

// firstLook is after what time a load looks for the first time what another process has got meanwhile. Each further time it waits longer.
const firstLook = 5 * time.Millisecond

// askLoad calls the source for wishes.
func (c *Cache[K, V]) askLoad(call *loadCall[K, V], wishes []*wish[K, V], blind blindness) {
	items := make([]Item[K, V], len(wishes))
	out := make([]Result[V], len(wishes))
	for n, w := range wishes {
		items[n].Key = w.key
		out[n].Err = ErrNoResult
	}
	var alarm *time.Timer
	c.beginPace(call)
	timeout := max(c.opts.LoadTimeout, 0)
	started, err := c.call(call.ctx, order[K, V]{
		task: call.task, rank: awaited, timeout: timeout, blind: blind, standing: standing{fresh: true}, items: items, out: out,
		begin: func(at int64) {
			c.noteBegin(call, at)
			if timeout > 0 {
				alarm = time.AfterFunc(overrun(timeout), func() { c.noteOverrun(call) })
			}
		},
	})
	if alarm != nil {
		alarm.Stop()
	}
	c.noteReturn(call)
	for n, w := range wishes {
		if err != nil {
			w.result = result[V]{outcome: failed, err: err}
			continue
		}
		w.result = judge(out[n], started)
		if w.result.outcome == unchanged {
			w.result = result[V]{outcome: failed, err: fmt.Errorf("%w: %w", errKeepsNothing, ErrUnchanged)}
		}
	}
}

// shareLoad gives the second level what the source has answered, and ends the leases.
func (c *Cache[K, V]) shareLoad(call *loadCall[K, V], wishes []*wish[K, V]) {
	if c.second == nil {
		return
	}
	var fresh []stored[K, V]
	var gone []K
	for _, w := range wishes {
		switch r := &w.result; r.outcome {
		case updated, terminal:
			fresh = append(fresh, stored[K, V]{key: w.key, value: r.value, loadedAt: r.loadedAt, terminal: r.outcome == terminal})
		case missing:
			gone = append(gone, w.key)
		}
	}
	c.second.save(c.run, fresh, call.deleted)
	c.second.remove(c.run, append(gone, c.forgotten(call)...)...)
	c.second.release(c.run, keysOf(wishes))
}

// forgotten are the keys that were deleted while the call was under way, and from the second level too early.
func (c *Cache[K, V]) forgotten(call *loadCall[K, V]) []K {
	var keys []K
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range call.wishes {
		if w.flight.forgotten {
			keys = append(keys, w.key)
		}
	}
	return keys
}

// deliver stores the results of wishes and ends their flights.
func (c *Cache[K, V]) deliver(call *loadCall[K, V], wishes []*wish[K, V]) {
	if len(wishes) == 0 {
		return
	}
	for _, w := range wishes {
		f := w.flight
		c.mu.Lock()
		told := f.overrun
		c.mu.Unlock()
		answer := c.settleLoad(w)
		c.mu.Lock()
		delete(c.loads.busy, w.key)
		if !told { // else the value is kept, and whoever waited has left
			c.counts.loads[loadResultOf(&w.result)]++
			f.value, f.err = answer.value, answer.err
			close(f.done)
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	call.dropWishes(wishes)
	for _, w := range wishes {
		w.flight.left = true // nothing is left to be given up
	}
}

// settleLoad stores the result of one key, unless the key was deleted meanwhile, and returns the answer for those who wait.
func (c *Cache[K, V]) settleLoad(w *wish[K, V]) (a answer[V]) {
	now, key, r := c.now(), w.key, &w.result
	unwanted := func() bool { return w.flight.forgotten }
	switch {
	case r.outcome == missing:
		a.err = r.err
		if c.opts.NegativeTTL > 0 {
			e := c.newEntry(key, new(V), now)
			e.set(flagAbsent)
			_, _ = c.insert(e, func() int64 { return c.expiry(now, c.opts.NegativeTTL) }, unwanted)
		}
		return a
	case r.value == nil:
		a.err = r.err
		return a
	}
	a.value = *r.value
	if r.outcome == failed {
		a.err = r.err
		return a
	}
	e := c.newEntry(key, r.value, r.loadedAt)
	due := func() int64 { return c.firstDueLoaded(e, r, now) }
	if r.outcome == terminal || r.final {
		e.set(flagTerminal)
		due = func() int64 { return c.expiry(now, c.opts.TerminalTTL) }
	}
	if there, err := c.insert(e, due, unwanted); err == nil && there != nil && !there.has(flagAbsent) {
		a.value = *there.value.Load()
	}
	return a
}

// firstDueLoaded is when an entry is refreshed first that was loaded just now, or adopted. What was loaded is as fresh as can be: with
// FirstSpread its turn comes in the second half of its period. The caller holds mu.
func (c *Cache[K, V]) firstDueLoaded(e *entry[K, V], r *result[V], now int64) int64 {
	if r.outcome != adopted && c.opts.First == FirstSpread {
		half := int64(c.opts.Period) / 2
		return max(c.spread(r.loadedAt+half, max(half-c.wheel.tick, 1)), now+c.wheel.tick)
	}
	return max(c.nextDue(e, r.loadedAt, rand.Float64()), now+c.wheel.tick)
}
