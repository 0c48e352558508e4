package autorefresh

// Workers take turns: as many calls are under way as there are workers. A call whose refresh function waits for another item of the cache,
// for its refresh or its load, lends its turn to an extra worker, which takes only what calls wait for. Else, when all workers wait like
// that, nobody would be left for what they wait for.

// turn is the turn of a worker's call.
type turn struct {
	blocked int  // waits of its refresh function for other calls
	lends   bool // the turn is lent
	over    bool
}

// expedite makes an entry that is due one that a call under way waits for. The caller holds mu.
func (c *Cache[K, V]) expedite(e *entry[K, V]) {
	if e.place != placeReady {
		return
	}
	c.ready.remove(e, bySchedule)
	e.place = placeUrgent
	c.urgent.unshift(e, bySchedule)
	c.staff()
}

// staff sees to it that somebody takes what is urgent. The caller holds mu.
func (c *Cache[K, V]) staff() {
	if c.urgent.n == 0 || c.run.Err() != nil {
		return
	}
	if c.extras < c.lent {
		c.extras++
		c.hireFor(true)
	}
	c.room.Broadcast()
}

// isTaken notes that a call is under way for an entry that others wait for. The caller holds mu.
func (c *Cache[K, V]) isTaken(e *entry[K, V], by *task) {
	for _, t := range c.watches[e].calls {
		t.awaits(by)
		if c.outage.active() { // the one item that the source is tried with waits for this one: it is part of the trial
			by.outer = t
		}
	}
}

// lendTurn lends the turn of a call that waits for another.
func (c *Cache[K, V]) lendTurn(t *task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.turn.blocked++; t.turn.lends || t.turn.over {
		return
	}
	t.turn.lends = true
	c.running--
	c.lent++
	c.staff()
}

// reclaimTurn is the end of lendTurn.
func (c *Cache[K, V]) reclaimTurn(t *task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.turn.blocked--; t.turn.blocked == 0 {
		c.takeBackTurn(t)
	}
}

// endTurn is the end of a turn: the call has returned, or is stuck. The caller holds mu.
func (c *Cache[K, V]) endTurn(t *task) {
	c.takeBackTurn(t)
	t.turn.over = true
}

// takeBackTurn ends the lending of a turn. The caller holds mu.
func (c *Cache[K, V]) takeBackTurn(t *task) {
	if t.turn.lends {
		t.turn.lends = false
		c.running++
		c.lent--
	}
}
