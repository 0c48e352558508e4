package store

import "sync"

// sweeper remembers where the last sweep ended.
type sweeper struct {
	mu       sync.Mutex
	shard    int    // guarded by mu
	position uint64 // among the shard's hashes; guarded by mu
}

// Sweep looks at the next entries, in the order of their hashes, and removes those that have
// expired, and for longer than Options.Stale. It looks at so many or somewhat more (whole tables of
// up to a thousand places), but at none twice, and returns how many it has removed. Where nothing
// expires it does nothing.
func (s *Store) Sweep(look int) (removed int) {
	now := s.now().UnixNano()
	s.sweep.mu.Lock()
	defer s.sweep.mu.Unlock()
	start := s.sweep.position
	for passed := 0; look > 0; {
		shard := &s.shards[s.sweep.shard]
		next := uint64(0)
		if shard.expires() {
			var t *table
			t, next = shard.index.after(s.sweep.position)
			look -= len(t.groups) * groupSize
			removed += shard.removeExpired(t, now, s.stale)
		}
		s.sweep.position = next
		if next == 0 {
			s.sweep.shard = (s.sweep.shard + 1) % len(s.shards)
			passed++
		}
		if passed > len(s.shards) || passed == len(s.shards) && next >= start {
			break // once round
		}
	}
	return removed
}

// expires reports whether any entry has an expiry.
func (s *shard) expires() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expiring > 0
}

func (s *shard) removeExpired(t *table, now, stale int64) (removed int) {
	for e := range t.all {
		if e.expire != 0 && since(now, e.expire) >= stale && s.dropExpired(e) {
			removed++
		}
	}
	return removed
}
