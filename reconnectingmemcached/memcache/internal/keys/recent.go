package keys

import (
	"sync"
	"time"
)

const (
	// maxRecent bounds the keys of recent writes that are remembered.
	maxRecent = 65536
	// LeastRecent is for how long they are at least, if there are not more.
	LeastRecent = 10 * time.Second
)

// Recent are the keys that this process has written last. When the list of servers changes,
// other processes may have read their new owners before: what those have got from the former ones
// may be older than these writes.
type Recent struct {
	mu   sync.Mutex
	ring []recentWrite // grows up to maxRecent; guarded by mu
	next int           // where the next goes once it has; guarded by mu
}

type recentWrite struct {
	key string
	at  time.Duration
}

// Add notes a write.
func (r *Recent) Add(key string, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, recentWrite{key, now})
		return
	}
	r.ring[r.next] = recentWrite{key, now}
	r.next = (r.next + 1) % maxRecent
}

// Since are the keys that were written at a time or later, each once.
func (r *Recent) Since(at time.Duration) map[string]struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := make(map[string]struct{})
	for _, w := range r.ring {
		if w.at >= at {
			keys[w.key] = struct{}{}
		}
	}
	return keys
}
