//go:build !race

package memcache_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestTraceAllocations: a tracer that allocates nothing makes no operation allocate more.
func TestTraceAllocations(t *testing.T) {
	addr := testutil.StartMemcached(t).Addr()
	count := func(o memcache.Options, fall bool) float64 {
		o.Servers = []string{addr}
		c := newClient(t, o)
		if err := c.Set(&memcache.Item{Key: twentyBytes, Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
		if fall {
			c.ForceDown(addr)
		}
		return testing.AllocsPerRun(1000, func() { _, _ = c.Get(twentyBytes) })
	}
	var noop testutil.Noop
	for _, fall := range []bool{false, true} {
		if with, without := count(memcache.Options{Trace: &noop}, fall), count(memcache.Options{}, fall); with > without {
			t.Errorf("a Get (down: %v) allocates %v times with a tracer, %v without", fall, with, without)
		}
	}
	if begun := noop.Begun.Load(); begun < 2000 || begun != noop.Ended.Load() {
		t.Errorf("%d operations have begun, and %d ended", begun, noop.Ended.Load())
	}
}
