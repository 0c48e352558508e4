// Package tombstones measures what it costs that deleted values do not come back through a second
// level: a lookup asks for a tombstone beside each value, and a store looks for tombstones before
// and after, or at once.
package tombstones_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/autorefresh/redisstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
)

const (
	primary   = "mymaster"
	valueSize = 200
	ttl       = time.Minute
)

func BenchmarkMemcached(b *testing.B) {
	client := memcache.New(testutil.StartMemcached(b).Addr())
	b.Cleanup(func() { _ = client.Close() })
	store, err := memcachedstore.New(client, memcachedstore.Options{Namespace: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	measure(b, store)
}

func BenchmarkRedis(b *testing.B) {
	cluster := redis.StartCluster(b, redis.ClusterOptions{Fast: true})
	client, err := sentinel.New(b.Context(), cluster.SentinelAddrs(), sentinel.Options{Names: []string{primary}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	store, err := redisstore.New(client, redisstore.Options{Primary: primary, Namespace: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	measure(b, store)
}

// measure reports medians, in microseconds, of ways to look and to save that take turns.
func measure(b *testing.B, store autorefresh.Store) {
	b.Helper()
	for _, n := range []int{1, 100} {
		values, marked := make(map[string][]byte), make(map[string]autorefresh.Marked)
		for i := range n {
			key := fmt.Sprintf("key-%d", i)
			values[key] = make([]byte, valueSize)
			marked[key] = autorefresh.Marked{Value: values[key], Mark: key + "-deleted"}
		}
		keys := slices.Collect(maps.Keys(values))
		stones := make([]string, n)
		for i, key := range keys {
			stones[i] = key + "-deleted"
		}
		set := func(ctx context.Context) error { return store.SetMulti(ctx, values, ttl) }
		look := func(names []string) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := store.GetMulti(ctx, names)
				return err
			}
		}
		type way struct {
			name string
			do   func(context.Context) error
		}
		ways := []way{
			{"look", look(keys)},
			{"look-with-tombstones", look(append(slices.Clone(keys), stones...))},
			{"set", set},
			{"set-between-two-looks", func(ctx context.Context) error {
				for _, step := range []func(context.Context) error{look(stones), set, look(stones)} {
					if err := step(ctx); err != nil {
						return err
					}
				}
				return nil
			}},
		}
		if marker, ok := store.(autorefresh.Marker); ok {
			ways = append(ways, way{"set-unless-marked", func(ctx context.Context) error { return marker.SetUnlessMarked(ctx, marked, ttl) }})
		}
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			took := make([][]time.Duration, len(ways))
			for b.Loop() {
				for i, w := range ways {
					begin := time.Now()
					if err := w.do(b.Context()); err != nil {
						b.Fatal(err)
					}
					took[i] = append(took[i], time.Since(begin))
				}
			}
			for i, w := range ways {
				slices.Sort(took[i])
				b.ReportMetric(float64(took[i][len(took[i])/2].Nanoseconds())/1000, w.name+"-µs")
			}
		})
	}
}
