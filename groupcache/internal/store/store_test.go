package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// add stores a value that does not expire.
func add(t testing.TB, s *store.Store, key, value string) {
	t.Helper()
	if !s.Put(store.Item{Key: key, Value: value}) {
		t.Fatalf("Add(%q) = false, want true", key)
	}
}

func want(t testing.TB, s *store.Store, key, value string) {
	t.Helper()
	if v, ok := s.Get(key); !ok || v.Value != value {
		t.Fatalf("Get(%q) = %.20q, %v, want %.20q", key, v.Value, ok, value)
	}
}

func wantMiss(t testing.TB, s *store.Store, key string) {
	t.Helper()
	if v, ok := s.Get(key); ok {
		t.Fatalf("Get(%q) = %.20q, want a miss", key, v.Value)
	}
}

func check(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
}

// each runs a test under both policies.
func each(t *testing.T, test func(t *testing.T, o store.Options)) {
	for name, policy := range map[string]store.Policy{"S3FIFO": store.S3FIFO, "LRU": store.LRU} {
		t.Run(name, func(t *testing.T) { test(t, store.Options{MaxBytes: 1 << 20, Policy: policy}) })
	}
}

func TestZeroOptionsStoreNothing(t *testing.T) {
	for _, bytes := range []int64{0, -1} {
		s := store.New(store.Options{MaxBytes: bytes})
		if s.Put(store.Item{Key: "a", Value: "b"}) || s.Put(store.Item{}) {
			t.Error("Add = true without a budget, want false")
		}
		wantMiss(t, s, "a")
		if got, want := s.Stats(), (store.Stats{Gets: 1}); got != want {
			t.Errorf("Stats() = %+v, want %+v", got, want)
		}
	}
}

func TestValuesComeBack(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := store.New(o)
		keys := []string{"", ".", "a b", "%2F", "\xff\x00", strings.Repeat("k", 2000)}
		for _, key := range keys {
			for _, value := range []string{"", "v", strings.Repeat("v", 1024-min(len(key), 1024)), strings.Repeat("v", 5000)} {
				add(t, s, key, value+key)
				want(t, s, key, value+key)
			}
		}
		for _, key := range keys {
			want(t, s, key, strings.Repeat("v", 5000)+key)
			if !s.Remove(key) || s.Remove(key) {
				t.Errorf("Remove(%.20q) twice, want true, then false", key)
			}
			wantMiss(t, s, key)
		}
		check(t, s)
	})
}

func TestStatsCountExactly(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := store.New(o)
		add(t, s, "key", "12345")
		add(t, s, "other", "1")
		add(t, s, "key", "1234567")
		want(t, s, "key", "1234567")
		want(t, s, "other", "1")
		wantMiss(t, s, "none")
		_, _ = s.Peek("key")
		_, _ = s.Peek("none")
		wanted := store.Stats{Bytes: 3 + 7 + 5 + 1, Cost: s.Cost(3, 7) + s.Cost(5, 1), Items: 2, Gets: 3, Hits: 2}
		if got := s.Stats(); got != wanted {
			t.Errorf("Stats() = %+v, want %+v", got, wanted)
		}
		s.Clear()
		wantMiss(t, s, "key")
		if got, want := s.Stats(), (store.Stats{Gets: 4, Hits: 2}); got != want {
			t.Errorf("Stats() after Clear = %+v, want %+v", got, want)
		}
		add(t, s, "key", "again")
		want(t, s, "key", "again")
		check(t, s)
	})
}

func TestFlagsComeBack(t *testing.T) {
	s := store.New(store.Options{MaxBytes: 1 << 20})
	s.Put(store.Item{Key: "a", Flags: 7})
	got, _ := s.Get("a")
	peeked, _ := s.Peek("a")
	if want := (store.View{Flags: 7}); got != want || peeked != want {
		t.Errorf("Get, Peek = %+v, %+v, want %+v", got, peeked, want)
	}
}

func TestTheBudgetHolds(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		for _, shards := range []int{1, 8} {
			o.Shards = shards
			s := store.New(o)
			n := int64(cut(20_000, 4))
			for i := range int(n) {
				add(t, s, fmt.Sprint(i), strings.Repeat("v", i%700))
				if got := s.Stats().Cost; got > o.MaxBytes {
					t.Fatalf("cost %d after %d items, want at most %d", got, i, o.MaxBytes)
				}
			}
			check(t, s)
			st := s.Stats()
			if st.Evictions != n-st.Items || st.Cost < o.MaxBytes*95/100 {
				t.Errorf("Stats() = %+v, want %d evictions and the budget of %d used", st, n-st.Items, o.MaxBytes)
			}
		}
	})
}

func TestAShardLendsRoomAndGetsItBack(t *testing.T) {
	const share = 1 << 20
	s := store.New(store.Options{MaxBytes: 8 * share, Shards: 8, Payload: true})
	large, small := strings.Repeat("v", share-10), strings.Repeat("v", 1000)
	for i := range 6 { // wherever they fall, some share a shard
		add(t, s, fmt.Sprint("large", i), large)
	}
	if st := s.Stats(); st.Items != 6 || st.Evictions != 0 {
		t.Fatalf("Stats() = %+v, want all 6 large values", st)
	}
	for i := range 60_000 {
		if i%1000 == 0 && i < 20_000 { // takes the place of all else in its shard, and leaves it empty
			add(t, s, fmt.Sprint("large", i), large)
		}
		add(t, s, fmt.Sprintf("%06d", i), small)
	}
	for i, cost := range s.ShardCosts() {
		if cost < share*9/10 || cost > share*11/10 {
			t.Errorf("shard %d has %d bytes, want about its share, %d", i, cost, share)
		}
	}
	check(t, s)
}

func TestAValueOverHalfOfTheBudgetIsRefused(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := store.New(o)
		add(t, s, "stays", "here")
		add(t, s, "key", "old")
		if s.Put(store.Item{Key: "key", Value: strings.Repeat("v", 1<<19)}) {
			t.Error("Add of more than a half = true, want false")
		}
		wantMiss(t, s, "key") // the old value is out of date
		want(t, s, "stays", "here")
		if st := s.Stats(); st.Refused != 1 || st.Items != 1 || st.Evictions != 0 {
			t.Errorf("Stats() = %+v, want one refused, one left, none evicted", st)
		}
		add(t, s, "key", strings.Repeat("v", 1<<19-3))
		want(t, s, "stays", "here")
		check(t, s)
	})
}

func TestASmallBudgetIsOfUse(t *testing.T) {
	s := store.New(store.Options{MaxBytes: 1024})
	add(t, s, "key", strings.Repeat("v", 500))
	want(t, s, "key", strings.Repeat("v", 500))
	if s.Put(store.Item{Key: "key", Value: strings.Repeat("v", 1024)}) {
		t.Error("Add of a value over the budget = true, want false")
	}
}

func TestAFenceKeepsALoadOut(t *testing.T) {
	s := store.New(store.Options{MaxBytes: 1 << 20})
	fence := new(atomic.Bool)
	if !s.Put(store.Item{Key: "key", Value: "1", Fence: fence}) {
		t.Error("Add with the fence down = false, want true")
	}
	fence.Store(true)
	if s.Put(store.Item{Key: "key", Value: "2", Fence: fence}) {
		t.Error("Add with the fence up = true, want false")
	}
	if s.Put(store.Item{Key: "key", Value: strings.Repeat("v", 1<<20), Fence: fence}) {
		t.Error("Add of a large value with the fence up = true, want false")
	}
	want(t, s, "key", "1")
	if st := s.Stats(); st.Refused != 0 {
		t.Errorf("%d refused, want 0", st.Refused)
	}
}

func TestKeysAndSmallValuesAreCopiedAndLargeOnesKept(t *testing.T) {
	for _, c := range []struct {
		value  int
		copied bool
	}{{1021, true}, {1022, false}} {
		s := store.New(store.Options{MaxBytes: 1 << 20})
		key, value := []byte("key"), slices.Repeat([]byte("v"), c.value)
		add(t, s, unsafe.String(&key[0], len(key)), unsafe.String(&value[0], len(value)))
		key[0] = 'X'
		v, _ := s.Get("key")
		if len(v.Value) != c.value || (unsafe.StringData(v.Value) != &value[0]) != c.copied {
			t.Errorf("value of %d bytes: came back %d long; copied = %v, want %v", c.value, len(v.Value), !c.copied, c.copied)
		}
	}
}

func TestRoomTellsWhetherSomethingMustGo(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		o.MaxBytes = 100_000
		s := store.New(o)
		value := strings.Repeat("v", 1000)
		for i := 0; s.Room(3, len(value)); i++ {
			add(t, s, fmt.Sprintf("%03d", i), value)
		}
		if st := s.Stats(); st.Evictions != 0 || st.Cost+s.Cost(3, len(value)) <= o.MaxBytes {
			t.Errorf("Stats() = %+v when there is no room, want no evictions and a full store", st)
		}
		if s.Room(1, 100_000) || store.New(o).Room(1, 100_000) {
			t.Error("Room for a value over its share = true, want false")
		}
	})
}

func TestSetMaxBytes(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		o.Shards = 4
		s := store.New(o)
		for i := range 10_000 {
			add(t, s, fmt.Sprint(i), "v")
		}
		before := s.Stats()
		s.SetMaxBytes(1 << 18)
		after := s.Stats()
		if after.Cost > 1<<18 || after.Cost < 1<<18-200 || after.Evictions-before.Evictions != before.Items-after.Items {
			t.Errorf("Stats() = %+v, then %+v, want what is over the new budget evicted", before, after)
		}
		check(t, s)
		s.SetMaxBytes(-1)
		if got := s.Stats(); got.Items != 0 || s.Put(store.Item{Key: "a"}) {
			t.Errorf("Stats() = %+v without a budget, want it empty and to stay so", got)
		}
		s.SetMaxBytes(1 << 20)
		add(t, s, "a", "b")
		check(t, s)
	})
}

func TestHottest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.New(store.Options{MaxBytes: 8 << 20, Shards: 2, Stale: time.Hour})
		for i := range 5000 {
			add(t, s, fmt.Sprint("cold", i), "v")
		}
		s.Put(store.Item{Key: "expired", Expire: time.Now().Add(1).UnixNano()})
		time.Sleep(time.Nanosecond)
		add(t, s, "hot", "1")
		add(t, s, "hotter", "2")
		for i := range 30_000 {
			_, _ = s.Get("expired")
			_, _ = s.Get("hotter")
			if i%3 == 0 {
				_, _ = s.Get("hot")
			}
			_, _ = s.Get(fmt.Sprint("cold", i%5000))
		}
		got := s.Hottest(2)
		if len(got) != 2 || got[0].Key != "hotter" || got[1].Key != "hot" || got[0].Value != "2" {
			t.Fatalf("Hottest(2) = %+v, want hotter and hot", got)
		}
		if got[0].Hits < 24_000 || got[0].Hits > 36_000 || got[1].Hits < 8000 || got[1].Hits > 12_000 {
			t.Errorf("hits = %d, %d, want about 30000, 10000", got[0].Hits, got[1].Hits)
		}
		if n := len(s.Hottest(10_000)); n != 5002 {
			t.Errorf("Hottest(10000) has %d, want all 5002", n)
		}
		if got := s.Hottest(0); len(got) != 0 {
			t.Errorf("Hottest(0) = %v, want none", got)
		}
	})
}

func TestUsesAreCountedUpToOne(t *testing.T) {
	s := store.New(store.Options{MaxBytes: 1 << 20})
	add(t, s, "key", "v")
	for range 6 {
		want(t, s, "key", "v")
	}
	if got := s.Hottest(1)[0].Hits; got != 1 {
		t.Errorf("hits = %d after 6, none of them sampled, want 1", got)
	}
}

func TestNumberOfShards(t *testing.T) {
	for _, c := range []struct {
		bytes    int64
		ask, got int
	}{{0, 0, 1}, {1 << 20, 0, 1}, {1 << 20, 3, 4}, {8 << 20, 0, 2}, {15 << 20, 0, 2}, {1, 1 << 20, 1024}, {1, 1, 1}} {
		if got := store.New(store.Options{MaxBytes: c.bytes, Shards: c.ask}).Shards(); got != c.got {
			t.Errorf("New(%d bytes, %d shards) has %d, want %d", c.bytes, c.ask, got, c.got)
		}
	}
}

func TestAllocatedIsWhatTheAllocatorTakes(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		testutil.Lack(t, "the sizes are those of 64 bits")
	}
	for n := 17; n < 100_000; n += max(1, n/300) {
		if got, want := store.Allocated(n), int64(cap(append([]byte(nil), make([]byte, n)...))); got != want {
			t.Errorf("Allocated(%d) = %d, want %d", n, got, want)
		}
	}
	if got := store.New(store.Options{Payload: true}).Cost(3, 4); got != 7 {
		t.Errorf("Cost(3, 4) of the payload = %d, want 7", got)
	}
}

func TestIndexGrowsAndShrinks(t *testing.T) {
	n := cut(100_000, 5)
	s := store.New(store.Options{MaxBytes: 1 << 30, Shards: 1})
	for i := range n {
		add(t, s, fmt.Sprint(i), fmt.Sprint(-i))
	}
	check(t, s)
	if got := s.Tables(); got < n/1024 || got > n/256 {
		t.Errorf("%d tables for %d entries", got, n)
	}
	for i := range n {
		want(t, s, fmt.Sprint(i), fmt.Sprint(-i))
		if i%50 != 0 && !s.Remove(fmt.Sprint(i)) {
			t.Fatalf("Remove(%d) = false, want true", i)
		}
	}
	check(t, s)
	for i := range n {
		if i%50 == 0 {
			want(t, s, fmt.Sprint(i), fmt.Sprint(-i))
		} else {
			wantMiss(t, s, fmt.Sprint(i))
		}
	}
}

func TestEvictionIsBoundedWhenAllIsInUse(t *testing.T) {
	s := store.New(store.Options{MaxBytes: 1 << 20, Shards: 1})
	n := 0
	for ; s.Room(8, 0); n++ {
		add(t, s, fmt.Sprintf("%08d", n), "")
	}
	readAll := func() {
		for i := range n {
			_, _ = s.Get(fmt.Sprintf("%08d", i))
		}
	}
	if main := s.MainCount(); main < n*90/100 || main > n*96/100 {
		t.Errorf("%d of %d entries are in the main queue, want all but the share of the small one", main, n)
	}
	readAll()
	before := s.MainUses()
	add(t, s, "one more", "")
	if after := s.MainUses(); after >= before || after < before-256-1 {
		t.Errorf("%d used entries in the main queue, after one eviction %d, want at most 256 entries to have gone round, and one gone", before, after)
	}
	check(t, s)
}

func TestGhostsAreHalfAsManyAgainAsEntries(t *testing.T) {
	most := int64(cut(4<<20, 4))
	s := store.New(store.Options{MaxBytes: most, Shards: 1})
	for _, budget := range []int64{most, most / 64, most / 4} {
		s.SetMaxBytes(budget)
		for i := range cut(50_000, 4) {
			add(t, s, fmt.Sprint(budget, i), "")
		}
		n := int(s.Stats().Items)
		small, _ := s.GhostPlaces()
		if wanted := n * 3 / 2; small < wanted*5/4 || small > wanted*2+80 {
			t.Errorf("room for %d ghosts with %d entries, want 1.25 to 2 times as many as the %d that are remembered", small, n, wanted)
		}
	}
}

func TestARewrittenKeyKeepsItsUses(t *testing.T) {
	s := store.New(store.Options{MaxBytes: 100, Payload: true, Shards: 1})
	add(t, s, "used", "1")
	want(t, s, "used", "1")
	want(t, s, "used", "1")
	add(t, s, "used", "2")
	for i := range 100 {
		add(t, s, fmt.Sprint(i), "v")
	}
	want(t, s, "used", "2")
}
