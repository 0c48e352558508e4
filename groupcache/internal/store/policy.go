package store

// policy says which entry goes when room is needed. Its methods are called with the shard locked.
type policy interface {
	// add takes in an entry that is nowhere.
	add(e *entry)
	// replace takes in an entry for one that has been removed, and has its key and place.
	replace(e *entry, was place)
	remove(e *entry)
	// victim removes and returns the entry that goes next, nil if there is none.
	victim() *entry
	clear()
}

// lru is the policy that evicts what was not used for longest.
type lru struct {
	costs costs
	queue queue
}

func newLRU(c costs) *lru {
	l := &lru{costs: c}
	l.clear()
	return l
}

func (l *lru) add(e *entry) {
	l.queue.push(e, l.costs.ofEntry(e))
}

func (l *lru) replace(e *entry, _ place) { l.add(e) }

func (l *lru) remove(e *entry) {
	l.queue.remove(e, l.costs.ofEntry(e))
}

func (l *lru) victim() *entry {
	e := l.queue.first()
	if e != nil {
		l.remove(e)
	}
	return e
}

func (l *lru) clear() { l.queue.init() }

// touch notes a hit.
func (l *lru) touch(e *entry) { l.queue.renew(e) }
