package store

import (
	"cmp"
	"slices"
)

// Stats is a snapshot of a store's counts. Bytes, Cost and Items are those of now; the others
// only grow.
type Stats struct {
	Bytes     int64 // of keys and values, exactly
	Cost      int64 // what they take of the budget
	Items     int64
	Gets      int64
	Hits      int64
	Evictions int64 // entries that made room for others
	Refused   int64 // values too large to be stored
	Expired   int64 // entries removed because they had expired
}

// Stats returns the store's counts.
func (s *Store) Stats() Stats {
	hits, misses := s.counts.sum()
	total := Stats{Hits: hits, Gets: hits + misses, Cost: s.used.Load()}
	for i := range s.shards {
		s.shards[i].addTo(&total)
	}
	return total
}

// Counts returns how many Gets were hits and misses. It is much cheaper than Stats.
func (s *Store) Counts() (hits, misses int64) { return s.counts.sum() }

func (s *shard) addTo(total *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	total.Bytes += s.bytes
	total.Items += s.items
	total.Evictions += s.evictions
	total.Refused += s.refused
	total.Expired += s.expired
}

// Hot is an entry and how much it is read.
type Hot struct {
	Key string
	View
	// Hits is an estimate, in which the recent past counts more.
	Hits int64
}

// Hottest returns the n entries that are read most, the most read first, without those that have
// expired. It looks at all entries, but stops neither readers nor writers.
func (s *Store) Hottest(n int) []Hot {
	if n <= 0 {
		return nil
	}
	now := s.now().UnixNano()
	hot := []Hot{}
	for i := range s.shards {
		for e := range s.shards[i].index.all {
			if e.expire != 0 && since(now, e.expire) >= 0 {
				continue
			}
			hot = append(hot, Hot{Key: e.key(), View: View{Value: e.value(), Expire: e.expire, Flags: e.flags}, Hits: e.hits()})
			if len(hot) >= 2*n {
				hot = hottest(hot, n)
			}
		}
	}
	return hottest(hot, n)
}

func hottest(all []Hot, n int) []Hot {
	slices.SortFunc(all, func(a, b Hot) int {
		if c := cmp.Compare(b.Hits, a.Hits); c != 0 {
			return c
		}
		return cmp.Compare(a.Key, b.Key)
	})
	clear(all[min(n, len(all)):])
	return all[:min(n, len(all))]
}

// all yields the entries, each once, but those that come or go meanwhile perhaps not.
func (x *index) all(yield func(*entry) bool) {
	for position, more := uint64(0), true; more; more = position != 0 {
		var t *table
		t, position = x.after(position)
		for e := range t.all {
			if !yield(e) {
				return
			}
		}
	}
}
