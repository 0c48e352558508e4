package ring_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/groupcache/internal/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const keys = 50_000

func key(i int) string { return fmt.Sprint("user:", i) }

func peers(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("http://10.0.%d.%d:8080", i/250, i%250))
	}
	return all
}

// loads returns how many of the keys each peer owns.
func loads(r *ring.Rendezvous) map[string]int {
	owned := map[string]int{}
	for i := range keys {
		owned[r.Get(key(i))]++
	}
	return owned
}

func TestKeysAreSpreadEvenly(t *testing.T) {
	for _, c := range []struct {
		n    int
		most float64
	}{{1, 1}, {2, 1.06}, {3, 1.06}, {10, 1.08}, {50, 1.13}} {
		owned := loads(ring.New(peers(c.n)))
		most := 0
		for _, n := range owned {
			most = max(most, n)
		}
		ratio := float64(most*c.n) / keys
		parts := float64(ring.MostPartitions(ring.New(peers(c.n)))*c.n) / 4096
		t.Logf("%2d peers: max/mean %.3f of the keys, %.3f of the partitions", c.n, ratio, parts)
		if ratio > c.most || len(owned) != c.n {
			t.Errorf("%d peers: max/mean %.3f, %d have keys, want at most %.2f, all", c.n, ratio, len(owned), c.most)
		}
		if limit := 1.05 + float64(c.n)/4096; parts > limit {
			t.Errorf("%d peers: max/mean of the partitions %.3f, want at most %.3f", c.n, parts, limit)
		}
	}
}

// moved returns which part of the keys has another owner.
func moved(a, b *ring.Rendezvous) float64 {
	n := 0
	for i := range keys {
		if a.Get(key(i)) != b.Get(key(i)) {
			n++
		}
	}
	return float64(n) / keys
}

func TestFewKeysMoveWhenAPeerComesOrGoes(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 10, 20} {
		all := peers(n + 1)
		before, after := ring.New(all[:n]), ring.New(all)
		got, least := moved(before, after), 1/float64(n+1)
		t.Logf("%2d and %2d peers: %.1f %% of the keys differ, at least %.1f %% must", n, n+1, 100*got, 100*least)
		if got > 1.25*least {
			t.Errorf("%d and %d peers: %.3f of the keys differ, want at most 1.25 of %.3f", n, n+1, got, least)
		}
	}
}

func TestTheOrderOfThePeersDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,3}`), 1, 5).Draw(t, "peers")
		a := ring.New(names)
		b := ring.New(rapid.Permutation(append(names, names[0])).Draw(t, "permuted"))
		for i := range 100 {
			if x, y := a.Owners(nil, key(i), 4), b.Owners(nil, key(i), 4); !slices.Equal(x, y) {
				t.Fatalf("Owners(%q) = %q and %q", key(i), x, y)
			}
		}
	})
}

// Processes of other versions must agree: this must never change.
func TestAssignmentsStayAsTheyAre(t *testing.T) {
	r := ring.New([]string{"http://a:1", "http://b:1", "http://c:1", "http://d:1"})
	for k, want := range map[string][]string{
		"":       {"http://d:1", "http://a:1", "http://c:1"},
		"a":      {"http://d:1", "http://b:1", "http://c:1"},
		"user:1": {"http://c:1", "http://d:1", "http://a:1"},
		"\xff":   {"http://a:1", "http://c:1", "http://b:1"},
	} {
		if got := r.Owners(nil, k, 3); !slices.Equal(got, want) {
			t.Errorf("Owners(%q) = %q, want %q", k, got, want)
		}
	}
}

func TestOwnersAreDistinctAndBeginWithTheOwner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,5}`), 0, 8, rapid.ID).Draw(t, "peers")
		n := rapid.IntRange(-1, 10).Draw(t, "n")
		k := rapid.String().Draw(t, "key")
		r := ring.New(names)
		got := r.Owners([]string{"before"}, k, n)
		if len(got) != 1+max(0, min(n, len(names))) || got[0] != "before" {
			t.Fatalf("Owners(%q, %d) among %q = %q", k, n, names, got)
		}
		got = got[1:]
		if len(got) > 0 && got[0] != r.Get(k) {
			t.Fatalf("Owners(%q) = %q, Get = %q", k, got, r.Get(k))
		}
		slices.Sort(got)
		if len(slices.Compact(got)) != min(max(0, n), len(names)) {
			t.Fatalf("Owners(%q) = %q, want no peer twice", k, got)
		}
	})
}

// When a peer fails, its keys go to the next owners: all of them, and most to where they would
// belong without it.
func TestNextOwnersShareTheLoadOfAFailedPeer(t *testing.T) {
	all := peers(10)
	r, without := ring.New(all), ring.New(all[1:])
	next, same, lost := map[string]int{}, 0, 0
	for i := range keys {
		owners := r.Owners(nil, key(i), 2)
		if owners[0] != all[0] {
			continue
		}
		lost++
		next[owners[1]]++
		if without.Get(key(i)) == owners[1] {
			same++
		}
	}
	most := 0
	for _, n := range next {
		most = max(most, n)
	}
	t.Logf("%d keys to %d peers, %d at most to one; %d would belong there", lost, len(next), most, same)
	if len(next) != 9 || most > 2*lost/9 || same < lost*7/10 {
		t.Errorf("%d keys to %d peers, %d at most to one, %d would belong there, want all 9 to have some", lost, len(next), most, same)
	}
}

func TestWithoutPeers(t *testing.T) {
	for _, r := range []*ring.Rendezvous{{}, ring.New(nil)} {
		if got := r.Get("key"); got != "" {
			t.Errorf("Get = %q, want none", got)
		}
		if got := r.Owners(nil, "key", 3); len(got) != 0 {
			t.Errorf("Owners = %q, want none", got)
		}
	}
}

func TestReadersMayBeManyAndDoNotAllocate(t *testing.T) {
	r := ring.New(peers(10))
	buffer := make([]string, 0, 3)
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Get("key"), r.Owners(buffer, "key", 3) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 500 {
				k := key(rand.IntN(keys))
				if owners := r.Owners(nil, k, 2); owners[0] != r.Get(k) {
					t.Errorf("Owners(%q) = %q", k, owners)
				}
			}
		})
	}
	readers.Wait()
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{3, 10, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := peers(n)
			for b.Loop() {
				_ = ring.New(all)
			}
		})
	}
}

func BenchmarkOwners(b *testing.B) {
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprint(n, " of 10"), func(b *testing.B) {
			r := ring.New(peers(10))
			buffer := make([]string, 0, 3)
			b.ReportAllocs()
			for b.Loop() {
				_ = r.Owners(buffer, "user:00012345", n)
			}
		})
	}
}
