package groupcache_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/holdfast-go/holdfast/groupcache"
)

// Gets and CacheHits are summed up from the counters of the caches, and must be exact all the same.
func TestGetsAndHitsAreExact(t *testing.T) {
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	g, err := i.NewGroup("g", 1<<20, groupcache.GetterFunc(func(_ context.Context, _ string, dest groupcache.Sink) error {
		return dest.SetString("v", time.Time{})
	}))
	if err != nil {
		t.Fatal(err)
	}
	const workers, keys, rounds = 8, 100, 50
	for key := range keys {
		_, _ = g.View(t.Context(), strconv.Itoa(key))
	}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := range keys * rounds {
				_, _ = g.View(t.Context(), strconv.Itoa(n%keys))
			}
			_, _ = g.GetMulti(t.Context(), []string{"0", "1", "0"})
		})
	}
	all.Wait()
	hits := int64(workers * (keys*rounds + 2))
	check := func(when string, gets, hits int64) {
		t.Helper()
		if s := &g.Stats; s.Gets.Get() != gets || s.CacheHits.Get() != hits {
			t.Errorf("%s: %d Gets, %d hits, want %d, %d", when, s.Gets.Get(), s.CacheHits.Get(), gets, hits)
		}
	}
	check("after all", keys+hits, hits)
	g.Stats.Gets.Store(0)
	g.Stats.CacheHits.Store(7)
	_, _ = g.View(t.Context(), "0")
	_, _ = g.View(t.Context(), "another")
	check("after Store", 2, 8)
}

// An AtomicInt was an int64 before: what prints or encodes a Stats must see numbers still.
func TestAnAtomicIntIsShownAsItsValue(t *testing.T) {
	var s groupcache.Stats
	s.Gets.Add(12)
	s.Loads.Add(-3)
	if got := fmt.Sprintf("%+v", &s); !strings.Contains(got, "Gets:12 ") || !strings.Contains(got, "Loads:-3 ") {
		t.Errorf("printed as %s", got)
	}
	for _, v := range []any{s, &s} {
		encoded, err := json.Marshal(v)
		if err != nil || !strings.Contains(string(encoded), `"Gets":12,`) {
			t.Errorf("encoded as %s, %v", encoded, err)
		}
	}
	if size := unsafe.Sizeof(s.Gets); size%8 != 0 {
		t.Errorf("an AtomicInt has %d bytes: in arrays and structs not all are at multiples of 8", size)
	}
}
