package groupcache_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// Values above an eighth of the budget, or of peers above a 64th, were loaded for each Get. The
// table is the one of docs/benchmarks, which says how to get it.
func TestLargeValuesAreKept(t *testing.T) {
	const budget = 8 << 20
	gets := cut(10, 3)
	size := 0
	source := newSource()
	source.answer = func(context.Context, string) (string, error) { return strings.Repeat("v", size), nil }
	c := &cluster{source: source}
	for range 2 {
		n := startNode(t, source, patient)
		g, err := n.instance.NewGroup("large", budget, source)
		if err != nil {
			t.Fatal(err)
		}
		n.group = g
		c.nodes = append(c.nodes, n)
	}
	setPeers(t, c.nodes...)
	here, there := c.nodes[0], c.nodes[1]
	t.Log("value, % of cacheBytes | own key: loads of all Gets | a peer's key: requests of all Gets")
	for _, percent := range []float64{1, 2, 5, 10, 15, 25, 40, 49.9, 60} {
		size = int(budget * percent / 100)
		own, others := c.ownedBy(t, here, fmt.Sprint(percent)), c.ownedBy(t, there, fmt.Sprint(percent, "there"))
		before, asked := source.loads.Load(), there.group.Stats.ServerRequests.Get()
		for _, key := range []string{own, others} {
			for range gets {
				if v, err := here.group.View(t.Context(), key); v.Len() != size || err != nil {
					t.Fatalf("%d bytes, %v", v.Len(), err)
				}
			}
		}
		requests := there.group.Stats.ServerRequests.Get() - asked
		source.mu.Lock()
		loads := source.byKey[own]
		source.mu.Unlock()
		t.Logf("%.1f | %d | %d", percent, loads, requests)
		if percent < 50 && (loads != 1 || requests != 1 || source.loads.Load() != before+2) {
			t.Errorf("%.1f %%: %d loads, and %d requests to the peer, want 1 of each", percent, loads, requests)
		}
		if percent > 50 && loads != gets {
			t.Errorf("%.1f %%: %d loads: it was kept", percent, loads)
		}
		for _, key := range []string{own, others} { // all would not fit
			if err := here.group.Remove(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A peer's large value is dropped by a removal, and replaced by a small one, like any other.
func TestALargeValueOfAPeerIsRemoved(t *testing.T) {
	c := startCluster(t, 2, patient)
	key := c.ownedBy(t, c.nodes[1])
	here := c.nodes[0].group
	var source atomic.Pointer[string]
	load := func(value string) string {
		source.Store(&value)
		return value
	}
	value := load(strings.Repeat("v", 400_000))
	c.source.answer = func(context.Context, string) (string, error) { return *source.Load(), nil }
	want := func(what string) {
		t.Helper()
		for range 2 {
			if v, err := get(t.Context(), here, key); v != value || err != nil {
				t.Fatalf("%s: %d bytes, %v, want %d", what, len(v), err, len(value))
			}
		}
	}
	want("at first")
	if here.CacheStats(groupcache.MainCache).Items != 1 {
		t.Fatal("the value is not kept where it has room")
	}
	value = load("small")
	if err := c.nodes[1].group.Remove(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	want("after a removal")
	value = load(strings.Repeat("w", 300_000))
	if err := here.Set(t.Context(), key, []byte(value), time.Time{}, true); err != nil {
		t.Fatal(err)
	}
	want("after a Set that keeps it here")
	value = load("small again")
	if err := here.Set(t.Context(), key, []byte(value), time.Time{}, true); err != nil {
		t.Fatal(err)
	}
	want("after a small one")
	if here.CacheStats(groupcache.MainCache).Items != 0 {
		t.Error("the large value is still there")
	}
}
