package sentinel_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	lease, err := c.GetMaster(name)
	if err != nil {
		t.Fatal(err)
	}
	view := c.Primary(name)
	var blocked sync.WaitGroup
	for range 5 {
		blocked.Go(func() {
			if err := c.Do(t.Context(), name, radix.Cmd(nil, "BLPOP", "nothing", "0")); !errors.Is(err, sentinel.ErrOutcomeUnknown) {
				t.Errorf("under way: %v", err)
			}
		})
	}
	if err := c.DoReplica(t.Context(), name, radix.Cmd(nil, "GET", "a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "blocked", func() bool { return c.Stats().Primaries[name].PrivateConns == 5 })
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(c.Close)
	}
	closers.Wait()
	blocked.Wait()
	ping := radix.Cmd(nil, "PING")
	for what, err := range map[string]error{
		"Do":        c.Do(t.Context(), name, ping),
		"DoReplica": c.DoReplica(t.Context(), name, radix.Cmd(nil, "PING")),
		"Exclusive": c.Exclusive(t.Context(), name, func(radix.Conn) error { return nil }),
		"a view":    view.Do(t.Context(), ping),
		"a lease":   lease.Cmd("PING").Err,
		"GetMaster": second(c.GetMaster(name)),
		"WaitReady": c.WaitReady(t.Context()),
		"Subscribe": second(c.Subscribe(t.Context(), name, "a")),
	} {
		if !errors.Is(err, sentinel.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	c.PutMaster(name, lease)
	_, _ = c.Stats(), c.Topology(name)
	c.Close()
}

func TestAViewIsClosedAlone(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	view := c.Primary(name)
	if err := view.Do(t.Context(), radix.Cmd(nil, "PING")); err != nil {
		t.Error(err)
	}
	if err := view.Close(); err != nil {
		t.Error(err)
	}
	if err := view.Do(t.Context(), radix.Cmd(nil, "PING")); !errors.Is(err, sentinel.ErrClosed) {
		t.Errorf("a view after its Close: %v", err)
	}
	if err := c.Primary(name).Do(t.Context(), radix.Cmd(nil, "PING")); err != nil {
		t.Errorf("another view: %v", err)
	}
	if stranger, ok := c.Primary("nobody").(radix.Client); !ok || stranger.Addr().String() != "" {
		t.Error("the view of an unknown name is no radix.Client")
	}
	if err := c.Primary("nobody").Do(t.Context(), radix.Cmd(nil, "PING")); !errors.Is(err, sentinel.ErrUnknownPrimary) {
		t.Errorf("the view of an unknown name: %v", err)
	}
}

func TestTwoClientsRegisterSideBySide(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Names: []string{"a", "b"}, Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	registry := prometheus.NewPedanticRegistry()
	for range 2 {
		c := follow(t, cluster, sentinel.Options{Names: []string{"a", "b"}})
		if err := c.Do(t.Context(), "a", radix.Cmd(nil, "SET", "x", "1")); err != nil {
			t.Fatal(err)
		}
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
		problems, err := testutil.CollectAndLint(c)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	}
	n, err := testutil.GatherAndCount(registry, "holdfast_redis_primary_up", "holdfast_redis_primary_info", "holdfast_redis_sentinels_up", "holdfast_breaker_state")
	if want := 4 + 4 + 2 + 4; err != nil || n != want {
		t.Errorf("%d metrics, %v; want %d", n, err, want)
	}
}

func TestABreakerForcedOpenKeepsCommandsAway(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	c.Breaker(name).ForceOpen()
	eventually(t, "forced down", func() bool { return errors.Is(set(t.Context(), c, "a", "1"), sentinel.ErrNoPrimary) })
	c.Breaker(name).Reset()
	eventually(t, "back", func() bool { return set(t.Context(), c, "a", "1") == nil })
	if c.Breaker("nobody") != nil {
		t.Error("a breaker of an unknown name")
	}
}
