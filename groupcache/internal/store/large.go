package store

// Items that cost more than an eighth of the budget, or than the share of a shard, are in a shard
// of their own, the last one: in another they would drive out all else, and be the next to go. The
// value that was read last stays longest there. They have half of the budget at most while there
// are several, and one that was not read while as much as the whole budget has made room for other
// items gives way to these.
//
// Writers of a key hold the lock of its own shard, then that of this one: so it is never in both
// but for a moment, in which readers find the new value.

// large is the shard of large items.
func (s *Store) large() *shard { return &s.shards[len(s.shards)-1] }

// parts is how many other shards there are.
func (s *Store) parts() int64 { return int64(len(s.shards) - 1) }

// isLarge reports whether an item of such a cost is one for the shard of large items.
func (s *Store) isLarge(cost, budget int64) bool {
	return cost > budget/max(largePart, s.parts())
}

// largePart: what costs more than one in so many of the budget is large.
const largePart = 8

func (s *shard) initLarge(store *Store) {
	s.store = store
	s.index.init(0)
	s.recency = newLRU(store.costs)
	s.recency.clock = &store.turnover
	s.policy = s.recency
	s.policy.clear()
}

// findLarge looks for a large item.
func (s *Store) findLarge(hash uint64, key string) *entry {
	large := s.large()
	if large.cost.Load() == 0 {
		return nil
	}
	return large.index.find(hash, key)
}

// put stores a large item.
func (s *shard) put(e *entry, cost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.index.find(e.hash, e.key())
	if old != nil {
		s.unlink(old)
	}
	s.insert(e, old, cost)
}

// removeLarge removes a key if it is that of a large item.
func (s *Store) removeLarge(hash uint64, key string) bool {
	large := s.large()
	return large.cost.Load() > 0 && large.remove(hash, key)
}

// yields says of the shard of large items whether one of these is to make room.
func (s *shard) yields(budget int64) bool {
	if s.cost.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items > 1 && s.cost.Load() > budget/2 || s.recency.idle() > budget
}
