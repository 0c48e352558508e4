package workload

import (
	"sync"
	"time"
)

// queue holds the arrivals that no worker has taken yet, oldest first. It is safe for concurrent
// use.
type queue struct {
	mu     sync.Mutex
	filled sync.Cond
	items  []Arrival // guarded by mu
	closed bool      // guarded by mu
}

func newQueue() *queue {
	q := &queue{}
	q.filled.L = &q.mu
	return q
}

func (q *queue) push(r Arrival) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, r)
	q.filled.Signal()
}

// pop waits for an arrival; it returns false when the queue is closed and empty.
func (q *queue) pop() (Arrival, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 {
		if q.closed {
			return Arrival{}, false
		}
		q.filled.Wait()
	}
	r := q.items[0]
	q.items = q.items[1:]
	return r, true
}

// expire takes out the requests that arrived before t, but for firm ones.
func (q *queue) expire(t time.Time) (expired []Arrival) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 || !q.items[0].At.Before(t) {
		return nil
	}
	kept := make([]Arrival, 0, len(q.items))
	for i, r := range q.items {
		if !r.At.Before(t) {
			kept = append(kept, q.items[i:]...)
			break
		}
		if r.Firm {
			kept = append(kept, r)
			continue
		}
		expired = append(expired, r)
	}
	q.items = kept
	return expired
}

// oldest returns when the longest waiting arrival that is not firm came; false if none waits.
func (q *queue) oldest() (at time.Time, waits bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.items {
		if !r.Firm {
			return r.At, true
		}
	}
	return time.Time{}, false
}

// close lets pop return false once the queue is empty.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}
