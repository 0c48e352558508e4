package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
)

var errKeepsNothing = errors.New("autorefresh: unchanged, but there is no value to keep")

// runLoads makes the calls of the queue until it is empty.
func (c *Cache[K, V]) runLoads() {
	var call *loadCall[K, V]
	defer func() {
		if call == nil {
			return
		}
		c.mu.Lock()
		c.tasks.Go(c.runLoads) // the refresh function has ended this goroutine
		c.mu.Unlock()
		c.deliver(call, failAll[V](call, ErrPanicked))
	}()
	for {
		if call = c.nextLoad(); call == nil {
			return
		}
		c.deliver(call, c.carryOut(call))
	}
}

// nextLoad takes the newest call off the queue, nil if there is none. When there are more than can be made the oldest are those whose
// callers are about to give up: to make them first would be to make all in vain.
func (c *Cache[K, V]) nextLoad() *loadCall[K, V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := c.loads.queue.Back()
	if newest == nil {
		c.loads.running--
		return nil
	}
	c.loads.queue.Remove(newest)
	call, _ := newest.Value.(*loadCall[K, V])
	call.place = nil
	return call
}

func failAll[V any, K comparable](call *loadCall[K, V], err error) []result[V] {
	results := make([]result[V], len(call.keys))
	for i := range results {
		results[i] = result[V]{outcome: failed, err: err}
	}
	return results
}

// carryOut gets the values of a call's keys: from the second level if it has young ones, from the source, or else what the second
// level still has.
func (c *Cache[K, V]) carryOut(call *loadCall[K, V]) []result[V] {
	defer call.cancel()
	results := failAll[V](call, context.Canceled)
	known := make([]stored[K, V], len(call.keys))
	open := make([]int, len(call.keys))
	for i := range open {
		open[i] = i
	}
	// Whoever has a lease may be gone: it ends with Timeout, and so does the wait for it.
	end, wait := c.now()+int64(c.opts.Timeout), firstLook
	for len(open) > 0 && call.ctx.Err() == nil {
		mine, waiting := c.consultLoad(call, results, known, open)
		if c.now() >= end {
			mine, waiting = append(mine, waiting...), nil
		}
		if len(mine) > 0 {
			c.askLoad(call, results, mine)
			c.shareLoad(call, results, mine)
		}
		c.shield(results, known, mine)
		if open = waiting; len(open) > 0 {
			backoff.Pause(call.ctx, wait)
			wait = min(2*wait, max(firstLook, time.Duration(c.lookAgain())))
		}
	}
	return results
}

// shield answers keys whose load has failed with what the second level knows of them.
func (c *Cache[K, V]) shield(results []result[V], known []stored[K, V], keys []int) {
	for _, i := range keys {
		if f := known[i]; results[i].outcome == failed && f.value != nil && c.servable(f.loadedAt) {
			results[i] = f.result()
			results[i].shielded = true
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

// consultLoad takes young values from the second level, for the open keys. It returns for which others the source has to be asked, and
// which another process is asking for.
func (c *Cache[K, V]) consultLoad(call *loadCall[K, V], results []result[V], known []stored[K, V], open []int) (mine, waiting []int) {
	if c.second == nil {
		return open, nil
	}
	keys := make([]K, len(open))
	for n, i := range open {
		keys[n] = call.keys[i]
	}
	var old []int
	var wanted []K
	for n, f := range c.second.lookup(call.ctx, keys) {
		i := open[n]
		known[i] = f
		if f.value != nil && (f.terminal || c.young(f.loadedAt)) {
			results[i] = f.result()
			continue
		}
		old, wanted = append(old, i), append(wanted, keys[n])
	}
	for n, taken := range c.second.lease(call.ctx, wanted, c.opts.Timeout) {
		if taken {
			waiting = append(waiting, old[n])
		} else {
			mine = append(mine, old[n])
		}
	}
	return mine, waiting
}

// firstLook is after what time a load looks for the first time what another process has got meanwhile. Each further time it waits longer.
const firstLook = 5 * time.Millisecond

// askLoad calls the source for the picked keys.
func (c *Cache[K, V]) askLoad(call *loadCall[K, V], results []result[V], picked []int) {
	items := make([]Item[K, V], len(picked))
	out := make([]Result[V], len(picked))
	for n, i := range picked {
		items[n].Key = call.keys[i]
		out[n].Err = ErrNoResult
	}
	started, err := c.call(call.ctx, c.opts.LoadTimeout, items, out, nil)
	for n, i := range picked {
		if err != nil {
			results[i] = result[V]{outcome: failed, err: err}
			continue
		}
		results[i] = judge(out[n], started)
		if results[i].outcome == unchanged {
			results[i] = result[V]{outcome: failed, err: fmt.Errorf("%w: %w", errKeepsNothing, ErrUnchanged)}
		}
	}
}

// shareLoad gives the second level what the source has answered, and ends the leases.
func (c *Cache[K, V]) shareLoad(call *loadCall[K, V], results []result[V], picked []int) {
	if c.second == nil {
		return
	}
	var fresh []stored[K, V]
	var gone, asked []K
	for _, i := range picked {
		key, r := call.keys[i], &results[i]
		asked = append(asked, key)
		switch r.outcome {
		case updated, terminal:
			fresh = append(fresh, stored[K, V]{key: key, value: r.value, loadedAt: r.loadedAt, terminal: r.outcome == terminal})
		case missing:
			gone = append(gone, key)
		}
	}
	c.second.save(c.run, fresh)
	c.second.remove(c.run, append(gone, c.forgotten(call)...)...)
	c.second.release(c.run, asked)
}

// forgotten are the keys that were deleted while the call was under way, and from the second level too early.
func (c *Cache[K, V]) forgotten(call *loadCall[K, V]) []K {
	var keys []K
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, f := range call.flights {
		if f.forgotten {
			keys = append(keys, call.keys[i])
		}
	}
	return keys
}

// deliver stores the results of a call and ends its flights.
func (c *Cache[K, V]) deliver(call *loadCall[K, V], results []result[V]) {
	for i, f := range call.flights {
		c.settleLoad(call.keys[i], f, &results[i])
		c.mu.Lock()
		delete(c.loads.busy, call.keys[i])
		c.counts.loads[loadResultOf(&results[i])]++
		c.mu.Unlock()
		close(f.done)
	}
}

// settleLoad stores the result of one key, unless the key was deleted meanwhile, and sets the flight's answer.
func (c *Cache[K, V]) settleLoad(key K, f *flight[V], r *result[V]) {
	now := c.now()
	unwanted := func() bool { return f.forgotten }
	switch {
	case r.outcome == missing:
		f.err = r.err
		if c.opts.NegativeTTL > 0 {
			e := c.newEntry(key, new(V), now)
			e.set(flagAbsent)
			_, _ = c.insert(e, func() int64 { return c.expiry(now, c.opts.NegativeTTL) }, unwanted)
		}
		return
	case r.value == nil:
		f.err = r.err
		return
	}
	f.value = *r.value
	if r.outcome == failed {
		f.err = r.err
		return
	}
	e := c.newEntry(key, r.value, r.loadedAt)
	due := func() int64 { return c.firstDueLoaded(e, r, now) }
	if r.outcome == terminal || r.final {
		e.set(flagTerminal)
		due = func() int64 { return c.expiry(now, c.opts.TerminalTTL) }
	}
	if there, err := c.insert(e, due, unwanted); err == nil && there != nil && !there.has(flagAbsent) {
		f.value = *there.value.Load()
	}
}

// firstDueLoaded is when an entry is refreshed first that was loaded just now, or adopted. The caller holds mu.
func (c *Cache[K, V]) firstDueLoaded(e *entry[K, V], r *result[V], now int64) int64 {
	if r.outcome != adopted && c.opts.First == FirstSpread {
		return c.firstDue(e, now)
	}
	return max(c.nextDue(e, r.loadedAt, rand.Float64()), now+c.wheel.tick)
}
