//go:build !race

package groupcache_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
)

// elsewhere is a PeerPicker with one peer, which owns the keys that end in "1".
type elsewhere struct{ value func(key string) string }

func (e elsewhere) PickPeer(key string) (groupcache.ProtoGetter, bool) {
	return e, strings.HasSuffix(key, "1")
}

func (e elsewhere) GetAll() []groupcache.ProtoGetter { return []groupcache.ProtoGetter{e} }

func (e elsewhere) Get(_ context.Context, in *pb.GetRequest, out *pb.GetResponse) error {
	out.Value = []byte(e.value(string(in.GetKey())))
	return nil
}

func (e elsewhere) Remove(context.Context, *pb.GetRequest) error { return nil }

func (e elsewhere) GetURL() string { return "http://elsewhere" }

// heapInUse is the size of the reachable heap.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// turnedOver reports whether each of the caches has let go of twice as much as it holds.
func turnedOver(g *groupcache.Group) bool {
	for _, which := range []groupcache.CacheType{groupcache.MainCache, groupcache.HotCache} {
		if s := g.CacheStats(which); s.Items == 0 || s.Evictions < 2*s.Items {
			return false
		}
	}
	return true
}

// view reads a value.
func view(ctx context.Context, t *testing.T, g *groupcache.Group, key string) {
	t.Helper()
	if _, err := g.View(ctx, key); err != nil {
		t.Fatal(err)
	}
}

// The original's heap was six times what it was allowed.
func TestTheHeapOfAGroupStaysNearItsBudget(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // the heap is measured after collections of its own
	const budget = 16 << 20
	for _, size := range []int{10, 100, 1000, 10_000} {
		for what, policy := range map[string]groupcache.Eviction{"S3-FIFO": groupcache.S3FIFO, "LRU": groupcache.LRU} {
			t.Run(fmt.Sprint(size, " bytes, ", what), func(t *testing.T) {
				value := func(key string) string { return key + strings.Repeat("v", size-len(key)) }
				i, err := groupcache.New(groupcache.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = i.Close() }()
				before := heapInUse()
				g, err := i.NewGroup("g", budget, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
					return dest.SetString(value(key), time.Time{})
				}), groupcache.WithPeerPicker(elsewhere{value}), groupcache.WithEviction(policy))
				if err != nil {
					t.Fatal(err)
				}
				ctx := context.Background() //nolint:usetesting // one that cannot end, which is quicker
				for k := 0; k%256 > 0 || !turnedOver(g); k++ {
					view(ctx, t, g, fmt.Sprintf("%08d0", k))
					if k%4 == 0 { // the hot cache is an eighth of the budget
						view(ctx, t, g, fmt.Sprintf("%08d1", k))
					}
				}
				ratio := float64(heapInUse()-before) / budget
				main, hot := g.CacheStats(groupcache.MainCache), g.CacheStats(groupcache.HotCache)
				t.Logf("%d items and %d hot ones: heap %.3f × the budget", main.Items, hot.Items, ratio)
				if ratio > 1.15 || ratio < 0.7 || hot.Items == 0 {
					t.Errorf("heap %.3f × the budget, want 0.7 to 1.15", ratio)
				}
				runtime.KeepAlive(g)
			})
		}
	}
}
