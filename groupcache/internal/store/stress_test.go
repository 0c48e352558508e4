package store_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

func TestReadersNeverMissWhatStays(t *testing.T) {
	s := store.New(store.Options{MaxBytes: 1 << 30, Shards: 1})
	const kept, churned = 200, 5000
	for i := range kept {
		add(t, s, fmt.Sprint("kept", i), fmt.Sprint(i))
	}
	var done atomic.Bool
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for i := 0; !done.Load(); i++ {
				if v, ok := s.Get(fmt.Sprint("kept", i%kept)); !ok || v.Value != fmt.Sprint(i%kept) {
					t.Errorf("Get(kept%d) = %q, %v", i%kept, v.Value, ok)
					return
				}
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			for round := range cut(6, 3) {
				for i := range churned {
					s.Put(store.Item{Key: fmt.Sprint(w, " ", i), Value: fmt.Sprint(round)})
					if i%(churned/kept) == 0 {
						s.Put(store.Item{Key: fmt.Sprint("kept", i/(churned/kept)), Value: fmt.Sprint(i / (churned / kept))})
					}
				}
				for i := range churned {
					s.Remove(fmt.Sprint(w, " ", i))
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	check(t, s)
}

func TestAllAtOnce(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		o.MaxBytes, o.Shards = 256<<10, 4
		s := store.New(o)
		var workers sync.WaitGroup
		for seed := range uint64(4) {
			workers.Go(func() {
				random := rand.New(rand.NewPCG(seed, 1))
				for range 5000 {
					work(t, s, random)
				}
			})
		}
		workers.Wait()
		check(t, s)
		s.SetMaxBytes(o.MaxBytes)
		if got := s.Stats().Cost; got > o.MaxBytes {
			t.Errorf("cost = %d, want at most %d", got, o.MaxBytes)
		}
	})
}

// work does one thing at random. A value always begins with its key.
func work(t *testing.T, s *store.Store, random *rand.Rand) {
	key := fmt.Sprint(random.IntN(3000), ":")
	switch n := random.IntN(1000); {
	case n < 500:
		if v, ok := s.Get(key); ok && !strings.HasPrefix(v.Value, key) {
			t.Errorf("Get(%q) = %.20q", key, v.Value)
		}
	case n < 900:
		it := store.Item{Key: key, Value: key + strings.Repeat("v", random.IntN(300))}
		if n%4 == 0 {
			it.Expire = time.Now().UnixNano() + random.Int64N(int64(5*time.Millisecond))
		}
		s.Put(it)
	case n < 960:
		s.Remove(key)
	case n < 985:
		s.Sweep(random.IntN(5000))
	case n < 995:
		_ = s.Stats()
		_ = s.Hottest(3)
	case n < 998:
		s.SetMaxBytes(random.Int64N(256 << 10))
	default:
		s.Clear()
	}
}

// A load may end at any moment of a removal: what it read before must not be there after.
func TestAFencedLoadIsNeverStale(t *testing.T) {
	s := store.New(store.Options{MaxBytes: 1 << 20})
	var source atomic.Int64
	for round := range 5000 {
		fence := new(atomic.Bool)
		before := source.Load()
		var load sync.WaitGroup
		load.Go(func() { s.Put(store.Item{Key: "key", Value: fmt.Sprint(before), Fence: fence}) })
		now := source.Add(1)
		fence.Store(true)
		s.Remove("key")
		if v, ok := s.Get("key"); ok {
			t.Fatalf("round %d: %q is there after its removal, the source has %d", round, v.Value, now)
		}
		load.Wait()
		if v, ok := s.Get("key"); ok {
			t.Fatalf("round %d: %q is there after its load, the source has %d", round, v.Value, now)
		}
	}
}
