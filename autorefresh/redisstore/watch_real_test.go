package redisstore_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/redisstore"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// watching makes two caches that watch one store, as two processes would.
func watching(t *testing.T, cluster *redis.Cluster, s *source, period time.Duration) (a, b *cache) {
	t.Helper()
	one := func() *cache {
		store, err := redisstore.New(followUnhurried(t, cluster.SentinelAddrs()), redisstore.Options{Primary: primary, Namespace: "users"})
		if err != nil {
			t.Fatal(err)
		}
		c := replica(t, nil, s, options{Period: period, Store: store, StoreTimeout: 10 * time.Second, Watch: true})
		eventually(t, "it watches", func() bool { return c.Stats().WatchGaps > 0 })
		return c
	}
	return one(), one()
}

func load(t *testing.T, c *cache, key int) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := c.Load(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestWhatOneProcessWritesTheOtherReads: a Set, deletion or invalidation in one process takes
// effect in the other a moment later, and the source is not asked because of it.
func TestWhatOneProcessWritesTheOtherReads(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	var s source
	a, b := watching(t, cluster, &s, time.Hour)
	const keys = 300
	for key := range keys {
		load(t, a, key)
		load(t, b, key)
	}
	if n := s.calls.Load(); n != keys {
		t.Fatalf("%d calls for %d keys: the second level is not shared", n, keys)
	}
	var took []time.Duration
	for key := range keys {
		want := int64(1_000_000 + key)
		began := time.Now()
		if err := a.Set(t.Context(), key, want); err != nil {
			t.Fatal(err)
		}
		eventually(t, "what was set is there", func() bool { v, ok := b.Get(key); return ok && v == want })
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("set in one, read in the other: median %v, p99 %v", took[keys/2], took[keys*99/100])
	for key := range keys {
		if v, ok := a.Get(key); !ok || v != int64(1_000_000+key) {
			t.Errorf("item %d of the process that has set it: %d, %v", key, v, ok)
		}
	}
	if n := s.calls.Load(); n != keys {
		t.Errorf("%d calls of the source because of what was set", n-keys)
	}
	if n := a.Stats().NoticesDoubted + a.Stats().NoticesDropped; n > 0 {
		t.Errorf("its own writes had %d items refreshed or dropped", n)
	}
	if !a.Delete(7) {
		t.Fatal("nothing to delete")
	}
	eventually(t, "what was deleted is gone", func() bool { _, ok := b.Get(7); return !ok })
	if _, ok := b.Get(8); !ok {
		t.Error("another item is gone as well")
	}
	n := s.calls.Load()
	if err := a.InvalidateAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is invalidated", func() bool { return b.Stats().NoticesDoubted >= keys-1 })
	if _, ok := b.Get(8); !ok {
		t.Error("an item that was invalidated is gone")
	}
	if more := s.calls.Load() - n; more > 5 {
		t.Errorf("%d calls at once after all was invalidated", more)
	}
}

// TestAGapIsMadeUpForByLooks: what changed while nobody was told is there soon after, and the
// source is not asked for it.
func TestAGapIsMadeUpForByLooks(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	var s source
	a, b := watching(t, cluster, &s, time.Hour)
	const keys = 300
	for key := range keys {
		load(t, a, key)
		load(t, b, key)
	}
	gaps, first := b.Stats().WatchGaps, int64(0)
	failOver(t, cluster, func() {
		first += 1_000_000
		for key := range keys / 2 {
			eventually(t, "it is set", func() bool { return a.Set(t.Context(), key, first+int64(key)) == nil })
		}
	})
	eventually(t, "a gap was seen", func() bool { return b.Stats().WatchGaps > gaps })
	eventually(t, "all is there", func() bool {
		for key := range keys / 2 {
			if v, _ := b.Get(key); v != first+int64(key) {
				return false
			}
		}
		return true
	})
	if n := s.calls.Load(); n > keys+keys/10 {
		t.Errorf("%d calls of the source because of a failover", n-keys)
	}
}

// failOver lets the sentinel replace the primary, and does something meanwhile. On a busy machine
// the sentinel may be too slow, and give up: then the primary stays, and all is done once more.
func failOver(t *testing.T, cluster *redis.Cluster, meanwhile func()) {
	t.Helper()
	old, err := cluster.Primary(t.Context(), primary)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := cluster.Failover(t.Context(), primary); err != nil {
			t.Fatal(err)
		}
		meanwhile()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err = cluster.AwaitPrimary(ctx, primary, old)
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatal(err)
}

// While the connection for changes was away the process heard of none, and nothing said so: it was
// told of it afterwards.
func TestThatRedisDoesNotTellIsTold(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: 10 * time.Second})
	a, _ := watching(t, cluster, new(source), time.Hour)
	if a.Stats().WatchDown {
		t.Error("it hears of changes, and says that it does not")
	}
	if err := cluster.HangPrimary(t.Context(), primary); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it says that it hears nothing", func() bool { return a.Stats().WatchDown })
	eventually(t, "it hears again, from the next primary", func() bool { return !a.Stats().WatchDown })
}
