package sentinel_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

func role(ctx context.Context, do func(context.Context, radix.Action) error) (string, error) {
	var parts []any
	err := do(ctx, radix.Cmd(&parts, "ROLE"))
	if err != nil || len(parts) == 0 {
		return "", err
	}
	b, _ := parts[0].([]byte)
	return string(b), nil
}

func TestReplicasServe(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Fast: true, DownAfter: time.Minute})
	for _, policy := range []sentinel.ReplicaPolicy{sentinel.Random, sentinel.RoundRobin, sentinel.LowestLatency} {
		c := follow(t, cluster, sentinel.Options{Replicas: policy})
		replica := func(ctx context.Context, a radix.Action) error { return c.DoReplica(ctx, name, a) }
		for range 20 {
			if got, err := role(t.Context(), replica); got != "slave" || err != nil {
				t.Fatalf("policy %d: %q, %v", policy, got, err)
			}
		}
		if got, err := role(t.Context(), c.Primary(name).DoSecondary); got != "slave" || err != nil {
			t.Errorf("DoSecondary: %q, %v", got, err)
		}
		if err := c.DoReplica(t.Context(), name, radix.Cmd(nil, "SET", "a", "1")); err == nil || !strings.HasPrefix(err.Error(), "READONLY") {
			t.Errorf("a write: %v", err)
		}
		if err := c.DoReplica(t.Context(), name, radix.Cmd(nil, "SELECT", "1")); !errors.Is(err, sentinel.ErrStateful) {
			t.Errorf("SELECT: %v", err)
		}
		err := c.DoReplica(t.Context(), name, radix.WithConn("", func(ctx context.Context, conn radix.Conn) error {
			return conn.Do(ctx, radix.Cmd(nil, "SELECT", "1"))
		}))
		if err != nil {
			t.Errorf("SELECT on a connection of its own: %v", err)
		}
		eventually(t, "both replicas in use", func() bool {
			clients, err := c.Primary(name).Clients()
			return err == nil && len(clients) == 1 && len(slices.Collect(maps.Values(clients))[0].Secondaries) == 2
		})
		clients, err := c.Primary(name).Clients()
		if err != nil || len(clients) != 1 {
			t.Fatalf("Clients() = %v, %v", clients, err)
		}
		for addr, set := range clients {
			if addr != set.Primary.Addr().String() || len(set.Secondaries) != 2 {
				t.Errorf("%s: primary %s, %d secondaries", addr, set.Primary.Addr(), len(set.Secondaries))
			}
			if got, err := role(t.Context(), set.Secondaries[0].Do); got != "slave" || err != nil {
				t.Errorf("a secondary: %q, %v", got, err)
			}
		}
	}
}

func TestReplicasServeOnWithoutThePrimary(t *testing.T) {
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	read := func() error { return c.DoReplica(t.Context(), name, radix.Cmd(nil, "GET", "a")) }
	if err := read(); err != nil {
		t.Fatal(err)
	}
	if err := present(t, cluster).Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "down", func() bool { return !c.Stats().Primaries[name].Up })
	for range 100 {
		if err := read(); err != nil {
			t.Fatalf("without the primary: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // beyond the next look at the replicas
	}
}

func TestReplicasThatFailAreLeft(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Fast: true})
	primaryToo := follow(t, cluster, sentinel.Options{HeartbeatTimeout: hurried})
	only := follow(t, cluster, sentinel.Options{HeartbeatTimeout: hurried, ReplicaOnly: true})
	for _, c := range []*sentinel.Client{primaryToo, only} {
		if err := c.DoReplica(t.Context(), name, radix.Cmd(nil, "GET", "a")); err != nil {
			t.Fatal(err)
		}
	}
	replicas, err := cluster.Replicas(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(replicas[0].Kill(), replicas[1].Hang()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "left", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		return errors.Is(only.DoReplica(ctx, name, radix.Cmd(nil, "GET", "a")), sentinel.ErrNoReplica)
	})
	eventually(t, "served by the primary", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		got, err := role(ctx, func(ctx context.Context, a radix.Action) error { return primaryToo.DoReplica(ctx, name, a) })
		return got == "master" && err == nil
	})
	if err := errors.Join(replicas[0].Restart(), replicas[1].Release()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "served by a replica again", func() bool {
		return only.DoReplica(t.Context(), name, radix.Cmd(nil, "GET", "a")) == nil
	})
}
