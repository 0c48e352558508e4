package store

import "sync/atomic"

// policy says which entry goes when room is needed. Its methods are called with the shard locked.
type policy interface {
	// add takes in an entry that is nowhere.
	add(e *entry)
	// replace takes in an entry for an old one with its key, which has been removed.
	replace(e, old *entry)
	remove(e *entry)
	// victim removes and returns the entry that goes next, to make room for one of such a cost, nil
	// if there is none.
	victim(incoming int64) *entry
	clear()
}

// lru is the policy that evicts the least recently used entry.
type lru struct {
	costs costs
	queue queue
	clock *atomic.Int64    // what the others have evicted; nil if nobody wants to know how long entries were not used
	seen  map[*entry]int64 // the clock at the last use
}

func newLRU(c costs) *lru {
	l := &lru{costs: c}
	l.clear()
	return l
}

func (l *lru) add(e *entry) {
	l.queue.push(e, l.costs.ofEntry(e))
	l.see(e)
}

func (l *lru) see(e *entry) {
	if l.clock != nil {
		l.seen[e] = l.clock.Load()
	}
}

// idle is how far the clock has gone since the last use of the entry that goes next.
func (l *lru) idle() int64 {
	e := l.queue.first()
	if e == nil {
		return 0
	}
	return l.clock.Load() - l.seen[e]
}

func (l *lru) replace(e, _ *entry) { l.add(e) }

func (l *lru) remove(e *entry) {
	l.queue.remove(e, l.costs.ofEntry(e))
	delete(l.seen, e)
}

func (l *lru) victim(int64) *entry {
	e := l.queue.first()
	if e != nil {
		l.remove(e)
	}
	return e
}

func (l *lru) clear() {
	l.queue.init()
	l.seen = make(map[*entry]int64)
}

// touch notes a hit.
func (l *lru) touch(e *entry) {
	l.queue.renew(e)
	l.see(e)
}
