package store_test

import (
	"container/list"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

// simulation is a cache of keys in its plainest form; access reports a hit.
type simulation interface{ access(key uint64) bool }

// plainLRU keeps the keys that were read last.
type plainLRU struct {
	room  int
	order *list.List // the next to go is first
	at    map[uint64]*list.Element
}

func newPlainLRU(room int) *plainLRU {
	return &plainLRU{room: room, order: list.New(), at: map[uint64]*list.Element{}}
}

func (l *plainLRU) access(key uint64) bool {
	if e, ok := l.at[key]; ok {
		l.order.MoveToBack(e)
		return true
	}
	if len(l.at) == l.room {
		delete(l.at, l.order.Remove(l.order.Front()).(uint64))
	}
	l.at[key] = l.order.PushBack(key)
	return false
}

// plainS3FIFO is the algorithm as published, in one part and with an exact list of ghosts.
type plainS3FIFO struct {
	room        int
	small, main []uint64
	uses        map[uint64]int
	ghosts      []uint64
	ghost       map[uint64]int // how often it is in ghosts
}

func newPlainS3FIFO(room int) *plainS3FIFO {
	return &plainS3FIFO{room: room, uses: map[uint64]int{}, ghost: map[uint64]int{}}
}

func (f *plainS3FIFO) access(key uint64) bool {
	if n, ok := f.uses[key]; ok {
		f.uses[key] = min(n+1, 3)
		return true
	}
	for len(f.small)+len(f.main) >= f.room {
		f.evict()
	}
	f.uses[key] = 0
	if f.ghost[key] > 0 {
		delete(f.ghost, key)
		f.main = append(f.main, key)
	} else {
		f.small = append(f.small, key)
	}
	return false
}

func (f *plainS3FIFO) evict() {
	if len(f.small)*10 <= f.room && len(f.main) > 0 {
		f.evictMain()
		return
	}
	key := f.small[0]
	f.small = f.small[1:]
	if f.uses[key] > 1 {
		f.uses[key] = 0
		f.main = append(f.main, key)
		return
	}
	delete(f.uses, key)
	f.ghosts = append(f.ghosts, key)
	f.ghost[key]++
	if len(f.ghosts) > f.room {
		f.forget(f.ghosts[0])
		f.ghosts = f.ghosts[1:]
	}
}

// forget counts down what has been remembered twice, and may have been taken from the ghosts since.
func (f *plainS3FIFO) forget(key uint64) {
	if f.ghost[key]--; f.ghost[key] <= 0 {
		delete(f.ghost, key)
	}
}

func (f *plainS3FIFO) evictMain() {
	for {
		key := f.main[0]
		f.main = f.main[1:]
		if f.uses[key] == 0 {
			delete(f.uses, key)
			return
		}
		f.uses[key]--
		f.main = append(f.main, key)
	}
}

// stored runs a trace through a real store whose entries all cost the same.
type stored struct {
	store *store.Store
	key   [8]byte
}

func newStored(room, shards int, policy store.Policy) *stored {
	one := store.New(store.Options{Policy: policy}).Cost(8, 0)
	return &stored{store: store.New(store.Options{MaxBytes: int64(room) * one, Shards: shards, Policy: policy})}
}

func (s *stored) access(key uint64) bool {
	binary.BigEndian.PutUint64(s.key[:], key)
	if _, ok := s.store.Get(string(s.key[:])); ok {
		return true
	}
	s.store.Add(store.Item{Key: string(s.key[:])})
	return false
}

// hitRatio is in percent.
func hitRatio(keys []uint64, s simulation) float64 {
	hits := 0
	for _, key := range keys {
		if s.access(key) {
			hits++
		}
	}
	return 100 * float64(hits) / float64(len(keys))
}

// compare runs keys through the store, whole and in shards, and holds the result against the plain algorithms.
func compare(t *testing.T, keys []uint64) {
	t.Helper()
	n := distinct(keys)
	for _, percent := range []int{1, 5, 10, 25} {
		room := max(1, n*percent/100)
		lru, plain := hitRatio(keys, newPlainLRU(room)), hitRatio(keys, newPlainS3FIFO(room))
		for _, shards := range []int{1, 4} {
			if shards > 1 && room < 1000 {
				continue // a shard of a few entries is a matter of luck; New makes none
			}
			got := hitRatio(keys, newStored(room, shards, store.S3FIFO))
			t.Logf("%2d %%, %6d of %6d keys, %d shards: %5.2f; plain S3-FIFO %5.2f, LRU %5.2f", percent, room, n, shards, got, plain, lru)
			if got < plain-0.3 {
				t.Errorf("%d %%, %d shards: %.2f, want at least S3-FIFO's %.2f - 0.3", percent, shards, got, plain)
			}
			if got < lru-1 {
				t.Errorf("%d %%, %d shards: %.2f, want at least LRU's %.2f - 1.0", percent, shards, got, lru)
			}
		}
		if got := hitRatio(keys, newStored(room, 1, store.LRU)); got != lru {
			t.Errorf("%d %%: LRU %.2f, want %.2f", percent, got, lru)
		}
	}
}

func TestHitRatioOnTraces(t *testing.T) {
	for _, name := range []string{"cache2k-web07", "lirs-cs", "lirs-multi1", "lirs-multi3", "oltp"} {
		t.Run(name, func(t *testing.T) {
			keys := trace(t, name)
			compare(t, keys[:min(len(keys), traceLimit)])
		})
	}
}

func TestHitRatioOfPopularKeysAmongScans(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	zipf := rand.NewZipf(random, 1.01, 1, 20_000)
	var keys []uint64
	for scan := uint64(1 << 32); len(keys) < 200_000; {
		for range 2000 {
			keys = append(keys, zipf.Uint64())
		}
		for range 500 {
			scan++
			keys = append(keys, scan)
		}
	}
	compare(t, keys[:min(len(keys), traceLimit)])
}
