package autorefresh

import (
	"errors"
	"slices"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/breaker"
)

// worker is a goroutine that pulls what is due and refreshes it.
type worker[K comparable, V any] struct {
	entries []*entry[K, V] // of the call under way
	items   []Item[K, V]
	out     []Result[V]
	results []result[V]
	picked  []int // which entries the source is asked for
	// deadline is when the call under way has overrun, 0 if there is none.
	deadline atomic.Int64
	call     atomic.Pointer[task] // the last one
	blind    blindness
	deleted  tombs
	extra    bool // takes only what is urgent
	// lend and reclaim are those of its calls.
	lend, reclaim func(*task)

	stuck    bool // guarded by the cache's mu
	replaced bool // guarded by the cache's mu
}

// hire starts a worker. The caller holds mu.
func (c *Cache[K, V]) hire() { c.hireFor(false) }

// hireFor starts a worker, one that takes only what is urgent or not. The caller holds mu.
func (c *Cache[K, V]) hireFor(extra bool) {
	n := c.opts.BatchSize
	w := &worker[K, V]{
		extra: extra, lend: c.lendTurn, reclaim: c.reclaimTurn,
		entries: make([]*entry[K, V], 0, n), items: make([]Item[K, V], 0, n),
		out: make([]Result[V], 0, n), results: make([]result[V], n), picked: make([]int, 0, n),
	}
	c.workers[w] = struct{}{}
	c.tasks.Go(func() { c.work(w) })
}

func (c *Cache[K, V]) work(w *worker[K, V]) {
	busy := false
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.workers, w)
		if busy && !w.replaced && c.run.Err() == nil {
			c.hireFor(w.extra) // the refresh function has ended this goroutine
		}
	}()
	for c.take(w) {
		busy = true
		c.refresh(w)
		busy = false
	}
}

// take waits until something is due, and takes it. It returns false when the worker has to go.
func (c *Cache[K, V]) take(w *worker[K, V]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if w.replaced || c.run.Err() != nil {
			return false
		}
		if w.extra && c.urgent.n == 0 {
			c.extras--
			c.room.Signal() // what it was woken by may be for another
			return false
		}
		if c.isDue(w) && c.mayRun() && c.gather(w) {
			break
		}
		c.room.Wait()
	}
	c.running++
	c.flying += len(w.entries)
	if c.ready.n+c.urgent.n > 0 {
		c.room.Signal()
	}
	return true
}

// isDue tells whether there is something for a worker. The caller holds mu.
func (c *Cache[K, V]) isDue(w *worker[K, V]) bool { return c.urgent.n > 0 || c.ready.n > 0 && !w.extra }

// mayRun tells whether one more call may be made. The caller holds mu.
func (c *Cache[K, V]) mayRun() bool {
	switch {
	case c.spreads > 0:
		return false
	case !c.outage.active():
		return c.running < c.limit
	default:
		return c.outage.state == breaker.HalfOpen && c.running == 0
	}
}

// gather takes what is due and, if there is room, what will be due next: a call that has to be made is made for as many items as it
// can carry. In an outage it takes one item. The caller holds mu.
func (c *Cache[K, V]) gather(w *worker[K, V]) bool {
	w.entries = w.entries[:0]
	size := c.opts.BatchSize
	if c.outage.active() {
		size = 1
	}
	now := c.now()
	w.call.Store(&task{cache: c, lend: w.lend, reclaim: w.reclaim})
	for c.urgent.n > 0 && len(w.entries) < size {
		c.seize(w, c.urgent.pop(bySchedule), now)
	}
	for c.ready.n > 0 && !w.extra && len(w.entries) < size {
		c.seize(w, c.ready.pop(bySchedule), now)
	}
	if len(w.entries) == 0 {
		return false
	}
	c.fill(w, size, now)
	return true
}

// fill adds to a call what is due next: what is due within a period, if the call has something whose own period has passed; else, as such
// calls come at any time and however often, what is due within a tenth of it. The caller holds mu.
func (c *Cache[K, V]) fill(w *worker[K, V], size int, now int64) {
	ahead := int64(c.opts.Period)
	if !slices.ContainsFunc(w.entries, (*entry[K, V]).onSchedule) {
		ahead /= 10
	}
	for _, e := range w.entries {
		e.clear(flagHurried)
	}
	// Bounded, lest items that may not leave early are looked at over and over.
	visits := 4 * size
	for t, ok := c.wheel.nextUsed(c.wheel.cursor + 1); ok && len(w.entries) < size && visits > 0; t, ok = c.wheel.nextUsed(t + 1) {
		for e := c.wheel.slots[t%slots].head; e != nil && len(w.entries) < size && visits > 0; visits-- {
			next := e.links[bySchedule].next
			if c.mayLeaveEarly(e, now, ahead) {
				c.wheel.remove(e)
				c.seize(w, e, now)
			}
			e = next
		}
	}
}

// mayLeaveEarly tells whether an entry may fill up a call although it is due only after a while. The caller holds mu.
func (c *Cache[K, V]) mayLeaveEarly(e *entry[K, V], now, ahead int64) bool {
	switch {
	case c.opts.MaxPeriod > 0:
		ahead = int64(e.every) * c.wheel.tick / 10
	case e.failures > 0:
		ahead = min(ahead, int64(c.opts.Period)/10)
	}
	return e.refreshed() && e.due-now <= ahead && (c.opts.HotFor == 0 || !e.has(flagUnread))
}

// seize takes an entry for a call, unless a call for its key is under way: then it has to wait. The caller holds mu.
func (c *Cache[K, V]) seize(w *worker[K, V], e *entry[K, V], now int64) {
	if len(c.loads.busy) > 0 && c.loads.busy[e.key] != nil {
		e.set(flagHurried)
		c.schedule(e, now+max(c.wheel.tick, int64(c.opts.Period)/16))
		return
	}
	e.place = placeFlying
	w.entries = append(w.entries, e)
	if e.has(flagWatched) {
		c.isTaken(e, w.call.Load())
	}
	c.lateness.Observe(max(now-e.due, 0))
}

// refresh gets new values for the entries taken and applies them.
func (c *Cache[K, V]) refresh(w *worker[K, V]) {
	w.results = w.results[:len(w.entries)]
	clear(w.results)
	returned := false
	defer func() {
		if !returned {
			err := panicked(recover()) //nolint:revive // it is called by the deferred function.
			keys := make([]K, len(w.entries))
			for i, e := range w.entries {
				keys[i] = e.key
				w.results[i] = result[V]{outcome: failed, err: err, loadedAt: c.now()}
			}
			c.second.release(c.run, keys)
			c.settle(w)
		}
	}()
	c.consult(w)
	if len(w.picked) > 0 {
		c.ask(w)
		c.share(w)
	}
	returned = true
	c.settle(w)
}

// consult takes from the second level what others have refreshed, and picks the entries that the source has to be asked for.
func (c *Cache[K, V]) consult(w *worker[K, V]) {
	w.picked = w.picked[:0]
	if c.second == nil {
		for i := range w.entries {
			w.picked = append(w.picked, i)
		}
		return
	}
	keys := make([]K, len(w.entries))
	for i, e := range w.entries {
		keys[i] = e.key
	}
	var old []int
	var wanted []K
	var found []stored[K, V]
	found, w.deleted, w.blind = c.second.lookup(c.run, keys)
	for i, f := range found {
		e := w.entries[i]
		if f.value != nil && !e.has(flagForced) && c.young(f.loadedAt) && f.loadedAt > e.loadedAt.Load() {
			w.results[i] = f.result()
			continue
		}
		old, wanted = append(old, i), append(wanted, e.key)
	}
	for n, taken := range c.second.lease(c.run, wanted, c.opts.Timeout, w.blind) {
		if taken {
			w.results[old[n]] = result[V]{outcome: leased}
		} else {
			w.picked = append(w.picked, old[n])
		}
	}
}

// ask calls the source for the picked entries.
func (c *Cache[K, V]) ask(w *worker[K, V]) {
	w.items, w.out = w.items[:0], w.out[:0]
	for _, i := range w.picked {
		e := w.entries[i]
		w.items = append(w.items, Item[K, V]{Key: e.key, Old: *e.value.Load(), Known: true})
		w.out = append(w.out, Result[V]{Err: ErrNoResult})
	}
	defer w.deadline.Store(0)
	started, err := c.call(c.run, order[K, V]{
		task: w.call.Load(), rank: w.rank(), timeout: c.opts.Timeout, blind: w.blind, standing: c.standing(w), items: w.items, out: w.out,
		begin: func(at int64) { w.deadline.Store(at + int64(overrun(c.opts.Timeout))) },
	})
	w.deadline.Store(0)
	for j, i := range w.picked {
		switch {
		case errors.Is(err, ErrUnavailable) || errors.Is(err, ErrClosed):
			w.results[i] = result[V]{outcome: postponed, err: err}
		case err != nil:
			w.results[i] = result[V]{outcome: failed, err: err, loadedAt: started}
		default:
			w.results[i] = judge(w.out[j], started)
		}
	}
	clear(w.items)
	clear(w.out)
}

// rank tells whether somebody has ordered one of the refreshes.
func (w *worker[K, V]) rank() rank {
	for _, i := range w.picked {
		if w.entries[i].has(flagForced) {
			return awaited
		}
	}
	return background
}

// standing is what is known of the picked entries.
func (c *Cache[K, V]) standing(w *worker[K, V]) (s standing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &c.census
	s.hopeless = n.failing == n.items-n.terminal-n.cold-n.absent
	for _, i := range w.picked {
		e := w.entries[i]
		s.fresh = s.fresh || e.failures == 0 && e.has(flagNew)
		s.proven = s.proven || e.failures == 0 && !e.has(flagNew)
	}
	return s
}

// share gives the second level what the source has answered, and ends the leases.
func (c *Cache[K, V]) share(w *worker[K, V]) {
	if c.second == nil {
		return
	}
	var fresh []stored[K, V]
	var gone, asked []K
	for _, i := range w.picked {
		e, r := w.entries[i], &w.results[i]
		asked = append(asked, e.key)
		switch r.outcome {
		case updated, terminal:
			fresh = append(fresh, stored[K, V]{key: e.key, value: r.value, loadedAt: r.loadedAt, terminal: r.outcome == terminal})
		case unchanged:
			fresh = append(fresh, stored[K, V]{key: e.key, value: e.value.Load(), loadedAt: r.loadedAt})
		case missing:
			gone = append(gone, e.key)
		}
	}
	c.second.save(c.run, fresh, w.deleted)
	c.second.remove(c.run, append(gone, c.deletedOf(w)...)...)
	c.second.release(c.run, asked)
}

// callOf returns the call that an entry is being refreshed by, nil if there is none. The caller holds mu.
func (c *Cache[K, V]) callOf(e *entry[K, V]) *task {
	for w := range c.workers {
		if slices.Contains(w.entries, e) {
			return w.call.Load()
		}
	}
	return nil
}

// refreshes tells whether a call, or one that it is part of, is the refresh of an entry. The caller holds mu.
func (c *Cache[K, V]) refreshes(t *task, e *entry[K, V]) bool {
	if t == nil || e.place != placeFlying {
		return false
	}
	by := c.callOf(e)
	return by != nil && by.reaches(t, make(map[*task]bool))
}

// deletedOf are the keys whose entries were deleted while the call was under way, and from the second level too early.
func (c *Cache[K, V]) deletedOf(w *worker[K, V]) []K {
	var keys []K
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range w.picked {
		if e := w.entries[i]; e.dead {
			keys = append(keys, e.key)
		}
	}
	return keys
}
