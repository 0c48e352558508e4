package store

import (
	"hash/maphash"
	"math"
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"
)

// Policy says what makes room for what.
type Policy uint8

const (
	// S3FIFO keeps what was read again soon after it came, and what comes back and was read later
	// than what would go for it. Keys read once pass through a part of the room that follows what
	// comes back. The default.
	S3FIFO Policy = iota
	// LRU keeps the entries that were read last. A hit takes the shard's lock.
	LRU
)

// Options are a store's choices. The zero value is a store that keeps nothing.
type Options struct {
	// MaxBytes is the budget; see Payload for how they are counted. With 0 or less nothing is
	// stored.
	MaxBytes int64
	// Beside is what the owner has besides MaxBytes, in other stores: an item may have half of the
	// sum of both. 0.
	Beside int64
	// Policy is what goes first; S3FIFO.
	Policy Policy
	// Payload makes the budget count keys and values alone, instead of the memory that they take
	// with all around them (see Cost); false.
	Payload bool
	// Shards is how many parts are locked separately by writers, rounded up to a power of two and
	// at most 1024; 0 means by GOMAXPROCS, but one for each 4 MiB at most.
	Shards int
	// Stale is how long an entry is still answered after its expiry, marked as stale; 0 means not
	// at all.
	Stale time.Duration
	// Now is the clock that expiries are compared with; nil means time.Now. It is asked only about
	// entries that expire.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Shards <= 0 {
		o.Shards = int(min(4*int64(runtime.GOMAXPROCS(0)), o.MaxBytes/bytesPerShard))
		o.Shards = 1 << max(0, bits.Len(uint(max(1, o.Shards)))-1)
	}
	o.Shards = 1 << bits.Len(uint(min(o.Shards, maxShards)-1))
	o.MaxBytes = max(0, o.MaxBytes)
	o.Stale = max(0, o.Stale)
	return o
}

const (
	// bytesPerShard is the least that is worth a shard: a small one would know too little of the
	// reads.
	bytesPerShard = 4 << 20
	maxShards     = 1024

	// An item may have half of the budget, so that none empties the store; where that is less than
	// smallItem, it may have that, if the budget has it.
	largestPart = 2
	smallItem   = 4 << 10
)

// View is what a store has under a key.
type View struct {
	Value  string
	Expire int64 // nanoseconds since 1970; 0 means never
	Flags  uint8
	// Stale says that the value has expired, but not longer than Options.Stale ago.
	Stale bool
}

// Store keeps values by key within a budget of bytes. Use New; Get is what it is for. It is safe
// for concurrent use, starts no goroutine and needs no closing; the owner calls Sweep now and then
// if entries expire.
type Store struct {
	seed   maphash.Seed
	shift  uint    // takes a hash to a shard
	shards []shard // the last is that of large items
	costs  costs
	lru    bool
	stale  int64 // nanoseconds
	now    func() time.Time
	counts counters
	sweep  sweeper

	_ [cacheLine]byte

	used     atomic.Int64 // the cost of all entries
	budget   atomic.Int64
	beside   int64
	turnover atomic.Int64 // the cost of all that was evicted, large items apart
}

// New returns a store.
func New(o Options) *Store {
	o = o.withDefaults()
	s := &Store{
		seed:   maphash.MakeSeed(),
		shift:  uint(64 - bits.Len(uint(o.Shards-1))),
		shards: make([]shard, o.Shards+1),
		costs:  costs{payload: o.Payload, bookkeeping: indexBytes},
		lru:    o.Policy == LRU,
		stale:  int64(o.Stale),
		now:    o.Now,
		counts: newCounters(),
	}
	if !s.lru {
		s.costs.bookkeeping += ghostBytes
	}
	s.budget.Store(o.MaxBytes)
	s.beside = max(0, o.Beside)
	for i := range o.Shards {
		s.shards[i].init(s, 64-s.shift)
	}
	s.large().initLarge(s)
	return s
}

// Get returns the value stored under key. It counts, as a hit or a miss, and a hit helps the entry
// to stay.
func (s *Store) Get(key string) (View, bool) {
	hash := maphash.String(s.seed, key)
	shard := &s.shards[hash>>s.shift]
	e, large := shard.index.find(hash, key), false
	if e == nil {
		if e, large = s.findLarge(hash, key), true; e == nil {
			s.counts.miss()
			return View{}, false
		}
		shard = s.large()
	}
	stale := false
	if e.expire != 0 {
		age := s.age(e)
		if age >= s.stale {
			shard.dropExpired(e)
			s.counts.miss()
			return View{}, false
		}
		stale = age >= 0
	}
	e.use()
	if s.counts.hit()%sampled == 0 {
		e.warm()
	}
	if s.lru || large {
		shard.touch(e)
	}
	return View{Value: e.value(), Expire: e.expire, Flags: e.flags, Stale: stale}, true
}

// Peek is Get for a caller that has already asked: it neither counts nor helps the entry to stay.
func (s *Store) Peek(key string) (View, bool) {
	hash := maphash.String(s.seed, key)
	e := s.shards[hash>>s.shift].index.find(hash, key)
	if e == nil {
		if e = s.findLarge(hash, key); e == nil {
			return View{}, false
		}
	}
	v := View{Value: e.value(), Expire: e.expire, Flags: e.flags}
	if e.expire != 0 {
		age := s.age(e)
		if age >= s.stale {
			return View{}, false
		}
		v.Stale = age >= 0
	}
	return v, true
}

// age returns how long ago an entry that expires did so; before that it is negative.
func (s *Store) age(e *entry) int64 {
	return since(s.now().UnixNano(), e.expire)
}

// since returns now - then without overflow; for whom then is far off, anything of its sign is as
// good.
func since(now, then int64) int64 {
	d := now - then
	if now >= 0 && then < 0 && d < 0 {
		return math.MaxInt64
	}
	if now < 0 && then > 0 && d > 0 {
		return math.MinInt64
	}
	return d
}

// Put stores an item in place of the one under its key, and reports whether it did. It does not if
// the item's fence is up: then nothing changes. Nor does it if the item has expired, if it is too
// large (see Fits), which Stats counts as refused, or if there is no budget: then the old value,
// which is out of date, is removed.
func (s *Store) Put(it Item) bool {
	hash := maphash.String(s.seed, it.Key)
	shard := &s.shards[hash>>s.shift]
	cost, budget := s.costs.of(len(it.Key), len(it.Value)), s.budget.Load()
	large := !s.Fits(len(it.Key), len(it.Value))
	if large || it.Expire != 0 && since(s.now().UnixNano(), it.Expire) >= 0 {
		counted := int64(0)
		if large && budget > 0 {
			counted = 1
		}
		shard.refuse(hash, it, counted)
		return false
	}
	stored := shard.add(newEntry(hash, it), it.Fence, cost, budget)
	s.settle()
	return stored
}

// Fits reports whether an item whose key and value have these lengths may be stored: it has half of
// the budget at most (or 4 KiB, in a small one), and less than 4 GiB.
func (s *Store) Fits(key, value int) bool {
	budget, size := s.budget.Load(), int64(key)+int64(value)
	return size <= max((budget+s.beside)/largestPart, smallItem) && size <= math.MaxUint32 && s.costs.of(key, value) <= budget
}

// Room reports whether an item whose key and value have these lengths would be stored without
// driving out another.
func (s *Store) Room(key, value int) bool {
	cost, budget := s.costs.of(key, value), s.budget.Load()
	return s.Fits(key, value) && s.used.Load()+cost <= budget
}

// Cost returns what an item whose key and value have these lengths takes of the budget, in bytes:
// with Options.Payload their sum, else the memory of both, rounded up as the allocator does, with
// that of the entry and its part of the index.
func (s *Store) Cost(key, value int) int64 { return s.costs.of(key, value) }

// settle evicts until the store is within its budget, from whichever shard has most: so shards that
// have lent their room get it back.
func (s *Store) settle() {
	for s.used.Load() > s.budget.Load() {
		most := &s.shards[0]
		for i := range s.parts() {
			if s.shards[i].cost.Load() > most.cost.Load() {
				most = &s.shards[i]
			}
		}
		if most.cost.Load() == 0 || s.large().yields(s.budget.Load()) {
			most = s.large()
		}
		if !most.evict() {
			return
		}
	}
}

// SetMaxBytes changes the budget and evicts what no longer has room.
func (s *Store) SetMaxBytes(n int64) {
	s.budget.Store(max(0, n))
	s.settle()
}

// Remove removes the item stored under key, and reports whether there was one.
func (s *Store) Remove(key string) bool {
	hash := maphash.String(s.seed, key)
	return s.shards[hash>>s.shift].remove(hash, key)
}

// Clear removes everything. It takes as long for many entries as for few.
func (s *Store) Clear() {
	for i := range s.shards {
		s.shards[i].clear()
	}
}

// RemovePrefix removes all items whose keys begin with a prefix.
func (s *Store) RemovePrefix(prefix string) {
	if prefix == "" {
		s.Clear()
		return
	}
	for i := range s.shards {
		s.shards[i].removePrefix(prefix)
	}
}
