package ring_test

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	"github.com/holdfast-go/holdfast/groupcache/internal/ring"
)

const replicas = 50

func plainRing(peers []string, hash consistenthash.Hash) *consistenthash.Map {
	m := consistenthash.New(replicas, hash)
	m.Add(peers...)
	return m
}

func evenRing(peers ...string) *ring.Even { return ring.NewEven(plainRing(peers, nil), nil) }

// picker is a ring.
type picker interface{ Get(key string) string }

// worst is what the busiest of n peers owns of some keys, ÷ the mean.
func worst(r picker, keys []string, n int) float64 {
	owned := map[string]int{}
	for _, key := range keys {
		owned[r.Get(key)]++
	}
	most := 0
	for _, k := range owned {
		most = max(most, k)
	}
	return float64(most*n) / float64(len(keys))
}

// chance gives each key to any peer, whose shares are the same.
type chance struct {
	random *rand.Rand
	peers  []string
}

func (c chance) Get(string) string { return c.peers[c.random.IntN(len(c.peers))] }

// alike are kinds of keys as applications have them.
func alike() []struct {
	name string
	key  func(i int) string
} {
	random := rand.New(rand.NewPCG(5, 6))
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return []struct {
		name string
		key  func(i int) string
	}{
		{"k0, k1, …", func(i int) string { return fmt.Sprint("k", i) }},
		{"2026-01-01, …", func(i int) string { return day.AddDate(0, 0, i).Format(time.DateOnly) }},
		{"tenant:17:flags, …", func(i int) string { return fmt.Sprintf("tenant:%d:flags", i) }},
		{"UUIDs", func(int) string {
			a, b := random.Uint64(), random.Uint64()
			return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
		}},
	}
}

// Sixty keys k0 … k59 on three peers all had the same owner. The table is the one of
// docs/benchmarks, which says how to get it.
func TestKeysThatAreAlikeAreSpread(t *testing.T) {
	const sets = 31             // of names
	made := map[string]picker{} // making Rendezvous takes long
	median := func(name string, kind func(peers []string) picker, keys []string, n int) float64 {
		var all []float64
		for set := range sets {
			id := fmt.Sprint(name, n, " ", set)
			if made[id] == nil {
				var peers []string
				for i := range n {
					peers = append(peers, fmt.Sprintf("http://10.%d.0.%d:8080", set, i+1))
				}
				made[id] = kind(peers)
			}
			all = append(all, worst(made[id], keys, n))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	t.Log("keys | kind | peers | HashRing | EvenRing | Rendezvous | chance")
	for _, count := range []int{60, 1000} {
		for _, kind := range alike() {
			var keys []string
			for i := range count {
				keys = append(keys, kind.key(i))
			}
			for _, n := range []int{3, 5, 10} {
				even := median("even", func(p []string) picker { return evenRing(p...) }, keys, n)
				random := rand.New(rand.NewPCG(7, 8))
				byChance := median("chance", func(p []string) picker { return chance{random, p} }, keys, n)
				if testing.Verbose() { // the others are in the table alone, and take most of the time
					hashRing := median("hash", func(p []string) picker { return plainRing(p, nil) }, keys, n)
					rendezvous := median("rendezvous", func(p []string) picker { return ring.New(p) }, keys, n)
					t.Logf("%d | %s | %d | %.2f | %.2f | %.2f | %.2f", count, kind.name, n, hashRing, even, rendezvous, byChance)
				}
				target := map[int]float64{60: 1.5, 1000: 1.25}[count]
				if even > max(target, 1.1*byChance) {
					t.Errorf("%d keys %s on %d peers: largest ÷ mean is %.2f, want at most %.2f, or what chance gives, %.2f", count, kind.name, n, even, target, byChance)
				}
			}
		}
	}
}

func TestEvenSharesAreEven(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 50, 200} {
		e := evenRing(peers(n)...)
		counts := ring.PartsOf(e)
		most, total := 0, 0
		for _, c := range counts {
			most, total = max(most, c), total+c
		}
		if ratio, limit := float64(most*n)/float64(total), 1.05+float64(n)/float64(total); ratio > limit || len(counts) != n {
			t.Errorf("%d peers: max/mean of the parts is %.3f, and %d have some, want at most %.3f, all", n, ratio, len(counts), limit)
		}
	}
}

// What a peer that fails has is loaded by those that will own it when it is off the list.
func TestOnTheEvenRingTheNextOwnersInherit(t *testing.T) {
	all := peers(10)
	e, without := evenRing(all...), evenRing(all[1:]...)
	next, same, lost := map[string]int{}, 0, 0
	for i := range keys {
		owners := e.Owners(nil, key(i), 2)
		if owners[0] != all[0] {
			continue
		}
		lost++
		next[owners[1]]++
		if without.Get(key(i)) == owners[1] {
			same++
		}
	}
	t.Logf("%d keys to %d peers; %d would belong there", lost, len(next), same)
	if len(next) != 9 || same < lost*7/10 {
		t.Errorf("%d keys to %d peers, %d would belong there, want all 9 to have some, and most to belong there", lost, len(next), same)
	}
}

func TestTheEvenRingIsTheSameForAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}`), 1, 6, rapid.ID).Draw(t, "peers")
		a, b := evenRing(names...), evenRing(rapid.Permutation(names).Draw(t, "permuted")...)
		for i := range 100 {
			x, y := a.Owners(nil, key(i), 4), b.Owners([]string{"before"}, key(i), 4)
			if !slices.Equal(x, y[1:]) || y[0] != "before" || x[0] != a.Get(key(i)) || len(x) != min(4, len(names)) {
				t.Fatalf("Owners(%q) = %q and %q among %q", key(i), x, y, names)
			}
			if slices.Sort(x); len(slices.Compact(x)) != min(4, len(names)) {
				t.Fatalf("Owners(%q) = %q, want no peer twice", key(i), x)
			}
		}
	})
}

// Processes of other versions must agree: this must never change.
func TestAssignmentsOfTheEvenRingStayAsTheyAre(t *testing.T) {
	e := evenRing("http://a:1", "http://b:1", "http://c:1", "http://d:1")
	var all strings.Builder
	for i := range 2000 {
		fmt.Fprintln(&all, e.Owners(nil, key(i), 3))
	}
	if got, want := crc32.ChecksumIEEE([]byte(all.String())), uint32(0xa297fb17); got != want {
		t.Errorf("the checksum of 2000 assignments is %#x, want %#x; %q is at %q", got, want, key(0), e.Owners(nil, key(0), 3))
	}
}

// A hash of the caller's may have few bits, or keep keys together on purpose.
func TestTheEvenRingWithAHashOfTheCallers(t *testing.T) {
	group := func(data []byte) uint64 { // the part before the colon
		before, _, _ := strings.Cut(string(data), ":")
		return uint64(crc32.ChecksumIEEE([]byte(before)))
	}
	e := ring.NewEven(plainRing(peers(5), group), group)
	owned := map[string]int{}
	for i := range 5000 {
		owner := e.Get(fmt.Sprint("t", i, ":a"))
		owned[owner]++
		if other := e.Get(fmt.Sprint("t", i, ":b")); other != owner {
			t.Fatalf("keys of one group are at %q and %q", owner, other)
		}
	}
	for owner, n := range owned {
		if n > 1250 {
			t.Errorf("%s owns %d of 5000 groups", owner, n)
		}
	}
}

func TestTheEvenRingWithoutPeers(t *testing.T) {
	e := evenRing()
	if got := e.Get("key"); got != "" || len(e.Owners(nil, "key", 3)) != 0 {
		t.Errorf("Get = %q, Owners = %q, want none", got, e.Owners(nil, "key", 3))
	}
}

func TestTheEvenRingDoesNotAllocate(t *testing.T) {
	e := evenRing(peers(10)...)
	buffer := make([]string, 0, 3)
	if n := testing.AllocsPerRun(100, func() { _, _ = e.Get("key"), e.Owners(buffer, "key", 3) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkPick(b *testing.B) {
	const uuid = "01234567-89ab-4cde-8f01-23456789abcd"
	for _, n := range []int{3, 10, 100} {
		for name, r := range map[string]picker{"HashRing": plainRing(peers(n), nil), "EvenRing": evenRing(peers(n)...), "Rendezvous": ring.New(peers(n))} {
			b.Run(fmt.Sprint(name, " ", n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_ = r.Get(uuid)
				}
			})
		}
	}
}

func BenchmarkNewEven(b *testing.B) {
	for _, n := range []int{3, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := peers(n)
			for b.Loop() {
				_ = evenRing(all...)
			}
		})
	}
}
