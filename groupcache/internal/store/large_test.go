package store_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

// sharded runs a test with a store in one part and one in sixteen, under both policies.
func sharded(t *testing.T, test func(t *testing.T, s *store.Store)) {
	each(t, func(t *testing.T, o store.Options) {
		for _, o.Shards = range []int{1, 16} {
			t.Run(fmt.Sprint(o.Shards), func(t *testing.T) { test(t, store.New(o)) })
		}
	})
}

// fill reads and writes small values until they have taken the place of all that is not used.
func fill(t *testing.T, s *store.Store, from int) {
	t.Helper()
	for i := range 3000 {
		add(t, s, fmt.Sprint("small ", from+i), strings.Repeat("v", 1000))
	}
}

// In a full store a value above its shard's share was the next to go, at once.
func TestALargeValueStaysWhileItIsRead(t *testing.T) {
	for _, part := range []int{1 << 19, 1 << 18, 1 << 17} {
		sharded(t, func(t *testing.T, s *store.Store) {
			large := strings.Repeat("L", part-100)
			fill(t, s, 0)
			add(t, s, "large", large)
			for i := range 20 {
				for k := range 100 {
					add(t, s, fmt.Sprint("other ", i, k), strings.Repeat("v", 1000))
				}
				want(t, s, "large", large)
			}
			check(t, s)
			if st := s.Stats(); st.Cost > 1<<20 || st.Items < 100 {
				t.Errorf("Stats() = %+v", st)
			}
			fill(t, s, 3000) // it is not read any more
			check(t, s)
			if part > 1<<17 {
				wantMiss(t, s, "large")
			}
		})
	}
}

// Many large values that are read once leave half of the budget to the others.
func TestLargeValuesDoNotEmptyTheStore(t *testing.T) {
	sharded(t, func(t *testing.T, s *store.Store) {
		fill(t, s, 0)
		for i := range 50 {
			add(t, s, fmt.Sprint("large ", i), strings.Repeat("L", 200_000))
		}
		check(t, s)
		if st := s.Stats(); st.Items < 400 || st.Cost > 1<<20 {
			t.Errorf("Stats() = %+v, want half of the budget left to small values", st)
		}
		want(t, s, "large 49", strings.Repeat("L", 200_000))
	})
}

// A key has one value, whatever its size was before.
func TestAValueThatGrowsOrShrinks(t *testing.T) {
	sharded(t, func(t *testing.T, s *store.Store) {
		sizes := []int{10, 300_000, 20, 400_000, 500_000, 30}
		for _, size := range sizes {
			add(t, s, "key", strings.Repeat("v", size))
			want(t, s, "key", strings.Repeat("v", size))
			check(t, s)
			if st := s.Stats(); st.Items != 1 || st.Bytes != int64(size)+3 {
				t.Errorf("%d bytes: Stats() = %+v", size, st)
			}
		}
		add(t, s, "key", strings.Repeat("v", 300_000))
		if v, ok := s.Peek("key"); !ok || len(v.Value) != 300_000 {
			t.Errorf("Peek: %d bytes, %v", len(v.Value), ok)
		}
		if s.Put(store.Item{Key: "key", Value: strings.Repeat("v", 1<<20)}) {
			t.Error("a value over the budget was stored")
		}
		wantMiss(t, s, "key")
		add(t, s, "key", strings.Repeat("v", 300_000))
		if !s.Remove("key") || s.Remove("key") {
			t.Error("Remove twice, want true, then false")
		}
		wantMiss(t, s, "key")
		fence := new(atomic.Bool)
		fence.Store(true)
		if s.Put(store.Item{Key: "key", Value: strings.Repeat("v", 300_000), Fence: fence}) {
			t.Error("Add with the fence up = true, want false")
		}
		add(t, s, "key", strings.Repeat("v", 300_000))
		s.Clear()
		wantMiss(t, s, "key")
		check(t, s)
	})
}

// An expiry counts for large values as for others.
func TestALargeValueExpires(t *testing.T) {
	now := time.Unix(1, 0)
	s := store.New(store.Options{MaxBytes: 1 << 20, Now: func() time.Time { return now }})
	for i := range 2 {
		if !s.Put(store.Item{Key: fmt.Sprint(i), Value: strings.Repeat("v", 300_000), Expire: now.Add(time.Second).UnixNano()}) {
			t.Fatal("Add = false")
		}
	}
	now = now.Add(2 * time.Second)
	wantMiss(t, s, "0")
	if n := s.Sweep(1 << 20); n != 1 {
		t.Errorf("Sweep = %d, want 1", n)
	}
	check(t, s)
}

// The bytes beside a store count for how large an item may be.
func TestTheBudgetBesideCounts(t *testing.T) {
	s := store.New(store.Options{MaxBytes: 7 << 17, Beside: 1 << 17})
	if !s.Fits(0, 1<<19) || s.Fits(1, 1<<19) {
		t.Error("half of both does not fit, or more does")
	}
	add(t, s, "key", strings.Repeat("v", 1<<19-3))
	check(t, s)
}
