package store

import "fmt"

// Allocated shows what the allocator is assumed to take for n bytes.
func Allocated(n int) int64 { return allocated(n) }

// Shards is how many parts the store has.
func (s *Store) Shards() int { return int(s.parts()) }

// Tables is how many tables the index has.
func (s *Store) Tables() int {
	n := 0
	for i := range s.shards {
		for position, more := uint64(0), true; more; more = position != 0 {
			_, position = s.shards[i].index.after(position)
			n++
		}
	}
	return n
}

// Check looks for contradictions between the index, the queues and the sums.
func (s *Store) Check() error {
	total := int64(0)
	for i := range s.shards {
		shard := &s.shards[i]
		shard.mu.Lock()
		err := shard.check()
		shard.mu.Unlock()
		if err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		total += shard.cost.Load()
	}
	if used := s.used.Load(); used != total {
		return fmt.Errorf("used = %d, the shards' costs %d", used, total)
	}
	return nil
}

func (s *shard) check() error {
	items, bytes, cost, expiring := int64(0), int64(0), int64(0), int64(0)
	for e := range s.index.all {
		items++
		bytes += e.bytes()
		cost += s.store.costs.ofEntry(e)
		if e.expire != 0 {
			expiring++
		}
		if s.index.find(e.hash, e.key()) != e {
			return fmt.Errorf("%q is not found", e.key())
		}
	}
	if items != s.items || bytes != s.bytes || cost != s.cost.Load() || expiring != s.expiring {
		return fmt.Errorf("items, bytes, cost, expiring = %d, %d, %d, %d, want %d, %d, %d, %d",
			s.items, s.bytes, s.cost.Load(), s.expiring, items, bytes, cost, expiring)
	}
	queued := 0
	for _, q := range s.queues() {
		n, sum := 0, int64(0)
		for e := q.root.next; e != &q.root; e = e.next {
			n++
			sum += s.store.costs.ofEntry(e)
			if !s.has(e) {
				return fmt.Errorf("%q is in a queue, not in the index", e.key())
			}
		}
		if n != q.count || sum != q.cost {
			return fmt.Errorf("queue: count, cost = %d, %d, want %d, %d", q.count, q.cost, n, sum)
		}
		queued += n
	}
	if int64(queued) != items {
		return fmt.Errorf("%d entries in queues, %d in the index", queued, items)
	}
	return s.checkTables()
}

func (s *shard) checkTables() error {
	for position, more := uint64(0), true; more; more = position != 0 {
		var t *table
		t, position = s.index.after(position)
		live, empty := 0, 0
		for i := range t.groups {
			g := &t.groups[i]
			tags := g.tags.Load()
			for j := range g.slots {
				switch tag := tags >> (j * 8) & 0xFF; {
				case tag == emptyTag:
					empty++
				case tag != goneTag:
					live++
				}
			}
		}
		if live != t.live || empty-len(t.groups) != t.free {
			return fmt.Errorf("table: live, free = %d, %d, want %d, %d", t.live, t.free, live, empty-len(t.groups))
		}
	}
	return nil
}

func (s *shard) queues() []*queue {
	if s.recency != nil {
		return []*queue{&s.recency.queue}
	}
	f := s.policy.(*s3fifo)
	return []*queue{&f.small, &f.main}
}

// ShardCosts is the cost of what each shard holds.
func (s *Store) ShardCosts() []int64 {
	all := make([]int64, s.parts())
	for i := range all {
		all[i] = s.shards[i].cost.Load()
	}
	return all
}

// MainCount is how many entries the main queue of the first shard has.
func (s *Store) MainCount() int { return s.shards[0].policy.(*s3fifo).main.count }

// MainUses is how many of its entries were used.
func (s *Store) MainUses() int {
	n := 0
	q := &s.shards[0].policy.(*s3fifo).main
	for e := q.root.next; e != &q.root; e = e.next {
		if e.used() {
			n++
		}
	}
	return n
}

// GhostPlaces is how many ghosts the first shard has room for, of its small queue and of its main
// one.
func (s *Store) GhostPlaces() (small, main int) {
	f := s.shards[0].policy.(*s3fifo)
	return len(f.left.buckets) * bucketSize, len(f.leftMain.buckets) * bucketSize
}

// SmallShare is the share of the small queue of the first shard.
func (s *Store) SmallShare() float64 { return s.shards[0].policy.(*s3fifo).share }
