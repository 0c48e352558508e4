//go:build !race

package store_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

// heap returns the bytes that are in use, and those of the spans that they lie in.
func heap() (objects, spans int64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.HeapInuse)
}

// sizes draws the lengths of values.
func sizes(name string, random *rand.Rand) func() int {
	switch name {
	case "10":
		return func() int { return 10 }
	case "100":
		return func() int { return 100 }
	case "1000":
		return func() int { return 1000 }
	case "2000":
		return func() int { return 2000 }
	case "10000":
		return func() int { return 10_000 }
	case "10, then 10000": // what was kept for many entries must go when there are few
		n := 0
		return func() int {
			if n++; n < 300_000 {
				return 10
			}
			return 10_000
		}
	case "10 to 100":
		return func() int { return 10 + random.IntN(91) }
	default:
		return func() int { return 1 << random.IntN(16) }
	}
}

func TestAllocatedHeapStaysNearTheBudget(t *testing.T) {
	const budget = 12 << 20
	large := strings.Repeat("v", 1<<16)
	for _, policy := range []store.Policy{store.S3FIFO, store.LRU} {
		for _, name := range []string{"10", "100", "1000", "2000", "10000", "10, then 10000", "10 to 100", "1 to 32768"} {
			t.Run(fmt.Sprint(policy, " ", name), func(t *testing.T) {
				random := rand.New(rand.NewPCG(1, 2))
				size := sizes(name, random)
				objects, spans := heap()
				s := store.New(store.Options{MaxBytes: budget, Policy: policy})
				var key [8]byte
				added := int64(0)
				for i := uint64(0); added < 6*budget; i++ {
					binary.BigEndian.PutUint64(key[:], i)
					value := large[:size()]
					if len(value) > 1000 {
						value = strings.Clone(value)
					}
					s.Put(store.Item{Key: string(key[:]), Value: value})
					added += s.Cost(len(key), len(value))
					binary.BigEndian.PutUint64(key[:], i/2)
					_, _ = s.Get(string(key[:]))
				}
				objectsAfter, spansAfter := heap()
				ratio := float64(objectsAfter-objects) / budget
				st := s.Stats()
				t.Logf("%7d items, key and value %4.1f MiB: heap %.3f × the budget, spans %.3f ×", st.Items, float64(st.Bytes)/(1<<20),
					ratio, float64(spansAfter-spans)/budget)
				most := 1.05
				if strings.Contains(name, " ") { // lengths that change
					most = 1.10
				}
				if ratio > most || ratio < 0.8 {
					t.Errorf("heap = %.3f × the budget, want 0.8 to %.2f", ratio, most)
				}
				runtime.KeepAlive(s)
			})
		}
	}
}
