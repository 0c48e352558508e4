package sentinel_test

import (
	"context"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// tracked waits for a message of a subscription to keys.
func tracked(t *testing.T, s *sentinel.Subscription) sentinel.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTrackTellsOfKeysThroughAFailover(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	for _, protocol := range []int{2, 3} {
		c := follow(t, cluster, sentinel.Options{Protocol: protocol})
		s, err := c.Track(t.Context(), name, "users:", "prices:")
		if err != nil {
			t.Fatal(err)
		}
		do := func(args ...string) {
			t.Helper()
			if err := c.Do(t.Context(), name, radix.Cmd(nil, args[0], args[1:]...)); err != nil {
				t.Fatal(err)
			}
		}
		told := func(want string) {
			t.Helper()
			if m := tracked(t, s); len(m.Changed) != 1 || m.Changed[0] != want || m.Flushed {
				t.Fatalf("protocol %d: told %+v, want %q", protocol, m, want)
			}
		}
		do("SET", "others:1", "v")
		do("SET", "users:1", "v")
		told("users:1")
		do("DEL", "users:1")
		told("users:1")
		do("SET", "prices:1", "v")
		told("prices:1")
		do("FLUSHDB")
		if m := tracked(t, s); !m.Flushed || len(m.Changed) > 0 {
			t.Fatalf("protocol %d: told %+v after FLUSHDB", protocol, m)
		}
		old := present(t, cluster)
		failOver(t, cluster, old)
		settle(t, cluster, c, old)
		if m := tracked(t, s); m.Lost == nil || m.Resubscribed {
			t.Fatalf("protocol %d: told %+v when the primary was left", protocol, m)
		}
		if m := tracked(t, s); !m.Resubscribed {
			t.Fatalf("protocol %d: told %+v after a failover", protocol, m)
		}
		do("SET", "users:2", "v")
		told("users:2")
		c.Close()
	}
}
