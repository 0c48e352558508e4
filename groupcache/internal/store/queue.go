package store

// queue is a list of entries, first in, first out, linked through the entries themselves.
type queue struct {
	root  entry // its next is the first and its prev the last
	count int
	cost  int64
}

func (q *queue) init() {
	q.root.next, q.root.prev = &q.root, &q.root
	q.count, q.cost = 0, 0
}

// push appends an entry.
func (q *queue) push(e *entry, cost int64) {
	q.link(e)
	q.count++
	q.cost += cost
}

func (q *queue) link(e *entry) {
	last := q.root.prev
	e.prev, e.next = last, &q.root
	last.next, q.root.prev = e, e
}

// remove takes an entry out. Its links are cut, so that a holder of it does not keep its
// neighbours alive.
func (q *queue) remove(e *entry, cost int64) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.next, e.prev = nil, nil
	q.count--
	q.cost -= cost
}

// renew moves an entry to the end.
func (q *queue) renew(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	q.link(e)
}

// first returns the entry that has been here longest, nil if there is none.
func (q *queue) first() *entry {
	if q.count == 0 {
		return nil
	}
	return q.root.next
}
