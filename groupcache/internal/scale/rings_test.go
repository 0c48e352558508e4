package main

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	"github.com/holdfast-go/holdfast/groupcache/internal/ring"
)

func TestSharesAndMovesOfKnownAssignments(t *testing.T) {
	owned := []string{"a", "a", "a", "b"}
	if got, want := sharesOf(owned, 3), (shares{most: 2.25, least: 0, without: 1}); got != want {
		t.Errorf("sharesOf(%q, 3) = %+v, want %+v", owned, got, want)
	}
	if got, want := sharesOf(owned, 2), (shares{most: 1.5, least: 0.5}); got != want {
		t.Errorf("sharesOf(%q, 2) = %+v, want %+v", owned, got, want)
	}
	if got := moved(owned, []string{"a", "b", "a", "a"}); got != 0.5 {
		t.Errorf("moved = %v, want 0.5", got)
	}
	if got := moved(owned, owned); got != 0 {
		t.Errorf("moved = %v, want 0", got)
	}
}

func TestPlacesAreThoseOfKeys(t *testing.T) {
	for name, hash := range map[string]consistenthash.Hash{"default": nil, "xxhash": xxhash.Sum64} {
		k := hashRing(name, 50, hash)
		real, places, sum := k.build(urls(1, 10)), k.places(urls(1, 10)), hash
		if sum == nil {
			sum = fnv1
		}
		for i := range 1000 {
			key := scattered("key", i)
			at := string(bigEndian(sum([]byte(key))))
			if got, want := ownersOf(places, []string{at})[0], ownersOf(real, []string{key})[0]; got != want {
				t.Fatalf("%s: the owner of the place of %q is %q, want %q", name, key, got, want)
			}
		}
	}
}

func bigEndian(n uint64) (b []byte) {
	for shift := 56; shift >= 0; shift -= 8 {
		b = append(b, byte(n>>shift))
	}
	return b
}

func TestEachPartitionHasItsKey(t *testing.T) {
	keys := partitionKeys()
	r := ring.New(urls(2, 60))
	for i := range 20_000 {
		key := scattered("key", i)
		if got, want := r.Get(key), r.Get(keys[xxhash.Sum64String(key)>>52]); got != want {
			t.Fatalf("%q is owned by %q, the key of its partition by %q", key, got, want)
		}
	}
	most := sharesOf(ownersOf(r, keys), 60).most * partitions / 60
	if limit := math.Ceil(partitions * 1.05 / 60); most > limit+1e-9 {
		t.Errorf("a peer has %v partitions, want %v at most", most, limit)
	}
}

// arcs are the parts of the circle that peers own, from the points where the original puts them.
func arcs(replicas int, peers []string) map[string]float64 {
	type point struct {
		at   uint64
		peer string
	}
	var points []point
	for _, peer := range peers {
		for i := range replicas {
			sum := md5.Sum([]byte(strconv.Itoa(i) + peer))
			points = append(points, point{fnv1([]byte(hex.EncodeToString(sum[:]))), peer})
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	parts := make(map[string]float64)
	before := points[len(points)-1].at
	for _, p := range points {
		parts[p.peer] += float64(p.at-before) / math.MaxUint64 // around the end of the circle it wraps
		before = p.at
	}
	return parts
}

func TestWhoOwnsHowMuchIsKnown(t *testing.T) {
	const n = 20
	s := settings{keys: 1 << 16, rounds: 0} // one set of names
	k := hashRing("", 50, nil)
	got := evennessOf(s, k, n, plainKeys(1000))
	names := urls(0, n+1)
	now := arcs(50, names[:n])
	most, sum := 0.0, 0.0
	for _, part := range now {
		most, sum = max(most, part), sum+part
	}
	if !near(sum, 1, 1e-9) {
		t.Fatalf("the parts come to %v, want 1", sum)
	}
	if !near(got.most, most*n, 0.02) {
		t.Errorf("most = %v, want %v", got.most, most*n)
	}
	if want := arcs(50, names)[names[n]] * (n + 1); !near(got.join, want, 0.02) {
		t.Errorf("join = %v, want %v: what the new peer owns", got.join, want)
	}
	if want := now[names[0]] * n; !near(got.leave, want, 0.02) {
		t.Errorf("leave = %v, want %v: what the peer owned", got.leave, want)
	}
}

func TestSharesComeToOne(t *testing.T) {
	for _, k := range kinds() {
		owned := ownersOf(k.places(urls(0, 7)), k.keys(7000))
		counts := make(map[string]int)
		for _, url := range owned {
			counts[url]++
		}
		total := 0
		for _, url := range urls(0, 7) {
			total += counts[url]
		}
		if total != len(owned) {
			t.Errorf("%s: the peers own %d of %d places", k.name, total, len(owned))
		}
	}
}

func TestNamesDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for set := range 3 {
		for _, url := range urls(set, 3001) {
			if seen[url] {
				t.Fatalf("%s is there twice", url)
			}
			seen[url] = true
		}
	}
}

func TestFewerSetsOfManyPeers(t *testing.T) {
	for peers, want := range map[int]int{3: 15, 300: 6, 1000: 2, 3000: 1} {
		if got := full().sets(peers); got != want {
			t.Errorf("sets(%d) = %d, want %d", peers, got, want)
		}
	}
	if got, want := fmt.Sprint(sizes(full().peers, 100)), "[3 10 30 100]"; got != want {
		t.Errorf("sizes = %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(sizes([]int{300, 1000}, 100)), "[100]"; got != want {
		t.Errorf("sizes = %s, want %s", got, want)
	}
}
