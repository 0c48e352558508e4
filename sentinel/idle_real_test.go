package sentinel_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// A server ends connections that are idle for its option timeout: that is no event, and no call
// notices.
func TestARealServerThatEndsIdleConnections(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	var down atomic.Int64
	c := follow(t, cluster, sentinel.Options{OnEvent: func(e sentinel.Event) {
		if e.Kind == sentinel.PrimaryDown {
			down.Add(1)
		}
	}})
	if _, err := present(t, cluster).Do(t.Context(), "CONFIG", "SET", "timeout", "2"); err != nil {
		t.Fatal(err)
	}
	began := c.Stats().Primaries[name].Unavailable
	for range 2 {
		if err := set(t.Context(), c, "a", "1"); err != nil {
			t.Fatal(err)
		}
		before := c.Stats().Primaries[name].Reconnected
		eventually(t, "the idle connection is replaced", func() bool { return c.Stats().Primaries[name].Reconnected > before })
	}
	if err := set(t.Context(), c, "a", "2"); err != nil {
		t.Error(err)
	}
	if got := c.Stats().Primaries[name]; got.Lost != 0 || got.Unavailable != began || down.Load() != 0 {
		t.Errorf("the primary was down: %+v", got)
	}
}
