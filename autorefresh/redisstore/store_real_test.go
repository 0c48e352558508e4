package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

type (
	options = autorefresh.Options[int, int64]
	cache   = autorefresh.Cache[int, int64]
)

// source counts its calls, which give their number.
type source struct{ calls atomic.Int64 }

func (s *source) load(ctx context.Context, _ int, _ int64) (int64, error) {
	n := s.calls.Add(1)
	select {
	case <-time.After(2 * time.Millisecond):
		return n, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// replica makes a cache as a process of its own would: with its own client.
func replica(t *testing.T, cluster *redis.Cluster, s *source, o options) *cache {
	t.Helper()
	if cluster != nil {
		o.Store = newStore(t, follow(t, cluster.SentinelAddrs(), sentinel.Endpoint{}))
	}
	c, err := autorefresh.New(s.load, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestLeasesOnARealServer(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute})
	mine := newStore(t, followUnhurried(t, cluster.SentinelAddrs()))
	others := newStore(t, followUnhurried(t, cluster.SentinelAddrs()))
	ctx := t.Context()
	for range 20 {
		if taken, err := mine.Lease(ctx, []string{"1", "2"}, time.Hour); err != nil || len(taken) > 0 {
			t.Fatalf("Lease() = %v, %v", taken, err)
		}
		if err := others.Release(ctx, "1", "2"); err != nil {
			t.Fatal(err)
		}
		if taken, err := others.Lease(ctx, []string{"1", "2"}, time.Hour); err != nil || len(taken) != 2 {
			t.Fatalf("Lease() by another = %v, %v, want both taken", taken, err)
		}
		if err := mine.Release(ctx, "1", "2", "never had"); err != nil {
			t.Fatal(err)
		}
	}
	const ttl = 300 * time.Millisecond
	began := time.Now()
	if _, err := mine.Lease(ctx, []string{"3"}, ttl); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lease ends", func() bool {
		taken, err := others.Lease(ctx, []string{"3"}, ttl)
		return err == nil && !taken["3"]
	})
	if d := time.Since(began); d < ttl {
		t.Errorf("a lease for %v ended after %v", ttl, d)
	}
}

// TestReplicasShareRefreshesThroughAFailover: three replicas cost the source hardly more than one,
// while the primary is replaced by plan or after a crash.
func TestReplicasShareRefreshesThroughAFailover(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*redis.Cluster, context.Context, string) error{
		"planned failover": (*redis.Cluster).Failover, "crash": (*redis.Cluster).KillPrimary,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			shareThrough(t, func(c *redis.Cluster) error { return change(c, t.Context(), primary) })
		})
	}
}

func shareThrough(t *testing.T, change func(*redis.Cluster) error) {
	t.Helper()
	const items, period = 150, time.Second
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true})
	var alone, together source
	all := []*cache{replica(t, nil, &alone, options{Period: period})}
	for range 3 {
		all = append(all, replica(t, cluster, &together, options{Period: period, ShieldRate: items / period.Seconds()}))
	}
	for key := range items {
		for _, c := range all {
			if _, _, err := c.GetOrCreate(key, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(2 * period)
	measure := func(what string, d time.Duration) {
		t.Helper()
		for range 3 { // other processes may have spoiled one
			one, three := alone.calls.Load(), together.calls.Load()
			time.Sleep(d)
			ratio := float64(together.calls.Load()-three) / float64(alone.calls.Load()-one)
			t.Logf("%s: three replicas: %.3f times the calls of one", what, ratio)
			if ratio <= 1.1 {
				return
			}
		}
		t.Errorf("%s: three times more than 1.1 times the calls of one", what)
	}
	measure("healthy", 4*period)
	old, err := cluster.Primary(t.Context(), primary)
	if err != nil {
		t.Fatal(err)
	}
	if err := change(cluster); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.AwaitPrimary(t.Context(), primary, old); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		eventually(t, "used again", func() bool { return !c.Stats().StoreDown })
	}
	time.Sleep(2 * period)
	measure("afterwards", 4*period)
	for _, c := range all {
		for key := range items {
			eventually(t, fmt.Sprintf("key %d is refreshed afterwards", key), func() bool {
				e, ok := c.Lookup(key)
				return ok && time.Since(e.LoadedAt) <= 3*period
			})
		}
	}
}

// TestPrimaryThatHangsIsShielded: while there is no primary all values are served, and the source
// sees no more than the shield's rate.
func TestPrimaryThatHangsIsShielded(t *testing.T) {
	t.Parallel()
	const items, rate = 300, 20.0
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, Replicas: -1})
	var s source
	c := replica(t, cluster, &s, options{Period: time.Second, ShieldRate: rate})
	for key := range items {
		if _, err := c.Load(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.HangPrimary(t.Context(), primary); err != nil {
		t.Fatal(err)
	}
	eventually(t, "found down", func() bool { return c.Stats().StoreDown })
	before, began := s.calls.Load(), time.Now()
	for time.Since(began) < 2*time.Second {
		for key := range items {
			if _, err := c.Load(t.Context(), key); err != nil {
				t.Fatalf("Load(%d): %v", key, err)
			}
		}
		time.Sleep(time.Millisecond)
	}
	calls, seconds := float64(s.calls.Load()-before), time.Since(began).Seconds()
	t.Logf("%.0f calls of the source in %.1f s", calls, seconds)
	// Calls under way when it was found down are not held back.
	if calls > rate*seconds+8+16 {
		t.Errorf("%.0f calls of the source in %.1f s, want %v a second at most", calls, seconds, rate)
	}
	if err := cluster.ReleaseHung(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "used again", func() bool { return !c.Stats().StoreDown })
}

func TestContextEndsTheWait(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute})
	s := newStore(t, followUnhurried(t, cluster.SentinelAddrs()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.GetMulti(ctx, []string{"1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("GetMulti() = %v, want the context's error", err)
	}
}

// The look at the mark and the write are one step.
func TestMarkedKeysAreNotStoredOnARealServer(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true})
	s := newStore(t, follow(t, cluster.SentinelAddrs(), sentinel.Endpoint{}))
	ctx := t.Context()
	if err := s.SetMulti(ctx, map[string][]byte{"mark\x00": {0xaf, 0}, "old": []byte("0")}, time.Minute); err != nil {
		t.Fatal(err)
	}
	values := map[string]autorefresh.Marked{
		"no mark":      {Value: []byte{0xff, 0, '\n'}, Mark: "none"},
		"mark is gone": {Value: []byte("1"), Mark: "none", Seen: []byte("seen")},
		"same mark":    {Value: nil, Mark: "mark\x00", Seen: []byte{0xaf, 0}},
		"new mark":     {Value: []byte("1"), Mark: "mark\x00"},
		"old":          {Value: []byte("1"), Mark: "mark\x00", Seen: []byte{0xaf}},
	}
	for i := range 600 {
		values[fmt.Sprint(i)] = autorefresh.Marked{Value: make([]byte, 10_000), Mark: "none"}
	}
	if err := s.SetUnlessMarked(ctx, values, time.Minute); err != nil {
		t.Fatal(err)
	}
	found, err := s.GetMulti(ctx, slices.Collect(maps.Keys(values)))
	if err != nil || len(found) != 604 {
		t.Errorf("%d values are there, %v, want 604", len(found), err)
	}
	for key, want := range map[string]string{"no mark": "\xff\x00\n", "mark is gone": "1", "same mark": "", "old": "0"} {
		if got, ok := found[key]; !ok || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", key, got, ok, want)
		}
	}
	if _, ok := found["new mark"]; ok {
		t.Error("a value is there whose mark is new")
	}
	if err := s.SetUnlessMarked(ctx, map[string]autorefresh.Marked{"brief": {Value: []byte("1"), Mark: "none"}}, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has ended", func() bool {
		found, err := s.GetMulti(ctx, []string{"brief"})
		return err == nil && len(found) == 0
	})
}
