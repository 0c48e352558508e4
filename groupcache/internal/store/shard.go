package store

import (
	"strings"
	"sync"
	"sync/atomic"
)

// shard is a part of a store: the entries whose hashes begin with its number.
type shard struct {
	index index

	_ [cacheLine]byte

	store *Store
	cost  atomic.Int64

	mu        sync.Mutex
	policy    policy // guarded by mu, as is all below
	recency   *lru   // the policy if it is that one, else nil
	bytes     int64
	items     int64
	expiring  int64 // entries that have an expiry
	evictions int64
	refused   int64
	expired   int64

	_ [cacheLine]byte
}

func (s *shard) init(store *Store, bits uint) {
	s.store = store
	s.index.init(bits)
	if store.lru {
		s.recency = newLRU(store.costs)
		s.policy = s.recency
		return
	}
	s.policy = newS3FIFO(store.costs)
}

// add stores an entry unless the fence is up.
func (s *shard) add(e *entry, fence *atomic.Bool, cost, budget int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fence != nil && fence.Load() {
		return false
	}
	old := s.index.find(e.hash, e.key())
	if s.store.isLarge(cost, budget) {
		s.store.large().put(e, cost)
		if old != nil {
			s.drop(old)
		}
		return true
	}
	if old != nil {
		s.unlink(old)
	}
	s.makeRoom(cost, budget)
	s.insert(e, old, cost)
	s.store.removeLarge(e.hash, e.key())
	return true
}

// insert puts an entry into everything, in the place of an old one that is in the index only, if
// there is one.
func (s *shard) insert(e, old *entry, cost int64) {
	s.account(e, 1, cost)
	if old == nil {
		s.policy.add(e)
		s.index.insert(e)
		return
	}
	e.uses.Store(old.uses.Load())
	s.policy.replace(e, old)
	s.index.replace(old, e)
}

// makeRoom evicts until so much more fits, or the shard has no more than its share: then others
// have more, and settle sees to them.
func (s *shard) makeRoom(cost, budget int64) {
	large := s.store.large()
	for s.store.used.Load()+cost > budget {
		if large.yields(budget) {
			large.evict()
			continue
		}
		if s.cost.Load()+cost <= (budget-large.cost.Load())/s.store.parts() || !s.evictOne(cost) {
			return
		}
	}
}

// unlink takes an entry out of all but the index.
func (s *shard) unlink(e *entry) {
	s.policy.remove(e)
	s.account(e, -1, -s.store.costs.ofEntry(e))
}

// account adds an entry to the sums, or with -1 and its cost below 0 takes it out.
func (s *shard) account(e *entry, n, cost int64) {
	s.items += n
	s.bytes += n * e.bytes()
	if e.expire != 0 {
		s.expiring += n
	}
	s.cost.Add(cost)
	s.store.used.Add(cost)
}

func (s *shard) drop(e *entry) {
	s.unlink(e)
	s.index.remove(e)
}

func (s *shard) evictOne(incoming int64) bool {
	e := s.policy.victim(incoming)
	if e == nil {
		return false
	}
	cost := s.store.costs.ofEntry(e)
	s.account(e, -1, -cost)
	s.index.remove(e)
	s.evictions++
	if s != s.store.large() {
		s.store.turnover.Add(cost)
	}
	return true
}

func (s *shard) evict() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.evictOne(0)
}

// refuse removes what an item that is not stored was meant to replace.
func (s *shard) refuse(hash uint64, it Item, count int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it.Fence != nil && it.Fence.Load() {
		return
	}
	s.refused += count
	if old := s.index.find(hash, it.Key); old != nil {
		s.drop(old)
	}
	s.store.removeLarge(hash, it.Key)
}

func (s *shard) remove(hash uint64, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.index.find(hash, key)
	if e == nil {
		return s != s.store.large() && s.store.removeLarge(hash, key)
	}
	s.drop(e)
	return true
}

func (s *shard) removePrefix(prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*entry
	for e := range s.index.all {
		if strings.HasPrefix(e.key(), prefix) {
			all = append(all, e)
		}
	}
	for _, e := range all {
		s.drop(e)
	}
}

// dropExpired removes an entry that has expired, unless that has been done.
func (s *shard) dropExpired(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.has(e) {
		return false
	}
	s.drop(e)
	s.expired++
	return true
}

// touch tells the LRU policy of a hit.
func (s *shard) touch(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has(e) {
		s.recency.touch(e)
	}
}

// has reports whether an entry that a reader found is still there.
func (s *shard) has(e *entry) bool { return s.index.find(e.hash, e.key()) == e }

func (s *shard) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy.clear()
	s.index.clear()
	s.store.used.Add(-s.cost.Load())
	s.cost.Store(0)
	s.bytes, s.items, s.expiring = 0, 0, 0
}
