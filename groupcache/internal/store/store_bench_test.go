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

const benchKeys = 1 << 14

func benchNames() []string {
	keys := make([]string, benchKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("user:%08d", i)
	}
	return keys
}

// BenchmarkGet compares hits with those of a map behind a read lock, which has neither a budget nor
// counts nor an order.
func BenchmarkGet(b *testing.B) {
	keys := benchNames()
	value := strings.Repeat("v", 100)
	for name, o := range map[string]store.Options{"S3FIFO": {}, "LRU": {Policy: store.LRU}} {
		o.MaxBytes = 64 << 20
		s := store.New(o)
		for _, key := range keys {
			s.Put(store.Item{Key: key, Value: value})
		}
		benchGet(b, name, keys, func(key string) bool { _, ok := s.Get(key); return ok })
	}
	expiring := store.New(store.Options{MaxBytes: 64 << 20})
	for _, key := range keys {
		expiring.Put(store.Item{Key: key, Value: value, Expire: time.Now().Add(time.Hour).UnixNano()})
	}
	benchGet(b, "S3FIFO expiring", keys, func(key string) bool { _, ok := expiring.Get(key); return ok })
	var mu sync.RWMutex
	plain := map[string]string{}
	for _, key := range keys {
		plain[key] = value
	}
	benchGet(b, "RWMutex and map", keys, func(key string) bool {
		mu.RLock()
		defer mu.RUnlock()
		_, ok := plain[key]
		return ok
	})
}

func benchGet(b *testing.B, name string, keys []string, get func(string) bool) {
	b.Helper()
	b.Run(name+"/one key", func(b *testing.B) { runGet(b, keys[:1], get) })
	b.Run(name+"/many keys", func(b *testing.B) { runGet(b, keys, get) })
}

func runGet(b *testing.B, keys []string, get func(string) bool) {
	b.ReportAllocs()
	var misses atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(len(keys)); pb.Next(); i++ {
			if !get(keys[i&(len(keys)-1)]) {
				misses.Add(1)
			}
		}
	})
	if n := misses.Load(); n != 0 {
		b.Fatalf("%d misses", n)
	}
}

// BenchmarkAdd adds new keys to a full store, so that each evicts one.
func BenchmarkAdd(b *testing.B) {
	for name, policy := range map[string]store.Policy{"S3FIFO": store.S3FIFO, "LRU": store.LRU} {
		b.Run(name, func(b *testing.B) {
			s := store.New(store.Options{MaxBytes: 16 << 20, Policy: policy})
			value := strings.Repeat("v", 100)
			var next atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				key := make([]byte, 0, 16)
				for pb.Next() {
					key = fmt.Appendf(key[:0], "%016d", next.Add(1))
					s.Put(store.Item{Key: string(key), Value: value})
				}
			})
		})
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := store.New(o)
		add(t, s, "key", "value")
		s.Put(store.Item{Key: "expires", Expire: time.Now().Add(time.Hour).UnixNano()})
		for _, key := range []string{"key", "expires", "none"} {
			if n := testing.AllocsPerRun(100, func() { _, _ = s.Get(key) }); n != 0 {
				t.Errorf("Get(%q): %v allocations, want 0", key, n)
			}
		}
	})
}
