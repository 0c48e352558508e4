//go:build !race

package groupcache_test

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// TestTraceAllocations: a tracer that allocates nothing makes no View allocate more, be it a hit or
// a miss.
func TestTraceAllocations(t *testing.T) {
	count := func(o groupcache.Options, cacheBytes int64) float64 {
		i, err := groupcache.New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = i.Close() }()
		g, err := i.NewGroup("g", cacheBytes, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
			return dest.SetString(key, time.Time{})
		}))
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		return testing.AllocsPerRun(1000, func() { _, _ = g.View(ctx, "k") })
	}
	noop := new(testutil.Noop)
	if got := count(groupcache.Options{Trace: noop}, 1<<20); got != 0 {
		t.Errorf("a hit allocates %v times with a tracer, want 0", got)
	}
	if with, without := count(groupcache.Options{Trace: noop}, 0), count(groupcache.Options{}, 0); with > without {
		t.Errorf("a miss allocates %v times with a tracer, %v without", with, without)
	}
	if begun := noop.Begun.Load(); begun < 2000 || begun != noop.Ended.Load() {
		t.Errorf("%d operations have begun, and %d ended", begun, noop.Ended.Load())
	}
}
