//go:build !race

package ring_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/groupcache/internal/ring"
)

// Keys are spread by one goroutine: the race detector would only make that slow, and `make test`
// runs all tests of this package without it, too.

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

func TestFewKeysMoveOnTheEvenRing(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 10, 20} {
		all := peers(n + 1)
		before, after := evenRing(all[:n]...), evenRing(all...)
		differ := 0
		for i := range keys {
			if before.Get(key(i)) != after.Get(key(i)) {
				differ++
			}
		}
		got, least := float64(differ)/keys, 1/float64(n+1)
		t.Logf("%2d and %2d peers: %.1f %% of the keys differ, at least %.1f %% must", n, n+1, 100*got, 100*least)
		if got > 1.5*least {
			t.Errorf("%d and %d peers: %.3f of the keys differ, want at most 1.5 of %.3f", n, n+1, got, least)
		}
	}
}
