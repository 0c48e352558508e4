package redis_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

const mymaster = "mymaster"

func TestPlannedFailover(t *testing.T) {
	t.Parallel()
	c := redis.StartCluster(t, redis.ClusterOptions{Fast: true, Password: "server pw", SentinelPassword: "sentinel pw"})
	ctx := t.Context()
	for _, s := range c.Sentinels() {
		view, err := s.View(ctx, mymaster)
		check(t, err)
		if len(view.Replicas) != 2 || len(view.Sentinels) != 2 || view.Replicas[0]["master-link-status"] != "ok" || view.Replicas[1]["master-link-status"] != "ok" {
			t.Errorf("at the start sentinel %s knows %+v", s.Addr(), view)
		}
	}
	old, err := c.Primary(ctx, mymaster)
	check(t, err)
	if servers := c.Servers(mymaster); len(servers) != 3 || servers[0] != old {
		t.Errorf("the first primary is %s", old.Addr())
	}
	check(t, c.Failover(ctx, mymaster))
	promoted, err := c.AwaitPrimary(ctx, mymaster, old)
	check(t, err)
	check(t, c.AwaitSettled(ctx))
	if now, err := c.Primary(ctx, mymaster); err != nil || now != promoted {
		t.Errorf("the primary is %v, %v, want %s", now, err, promoted.Addr())
	}
	replicas, err := c.Replicas(ctx, mymaster)
	if err != nil || len(replicas) != 2 || !slices.Contains(replicas, old) {
		t.Errorf("the replicas are %v, %v", replicas, err)
	}
	for _, s := range c.Sentinels() {
		view, err := s.View(ctx, mymaster)
		if err != nil || view.Primary != promoted.Addr() || view.Epoch != 1 || len(view.Replicas) != 2 || len(view.Sentinels) != 2 {
			t.Errorf("sentinel %s: %+v, %v", s.Addr(), view, err)
		}
	}
	check(t, c.Close())
	if err := old.Restart(); !errors.Is(err, testutil.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestCrashOfPrimaryAndSentinel(t *testing.T) {
	t.Parallel()
	c := redis.StartCluster(t, redis.ClusterOptions{Fast: true})
	ctx := t.Context()
	old, err := c.Primary(ctx, mymaster)
	check(t, err)
	broken := c.Sentinels()[0]
	id, err := broken.Do(ctx, "SENTINEL", "MYID")
	check(t, err)
	check(t, broken.Kill())
	check(t, old.Kill())
	_, err = c.AwaitPrimary(ctx, mymaster, old)
	check(t, err)
	check(t, c.AwaitSettled(ctx))
	check(t, old.Restart())
	check(t, broken.Restart())
	check(t, c.AwaitSettled(ctx))
	want(t, broken, id, "SENTINEL", "MYID")
	if replicas, err := c.Replicas(ctx, mymaster); err != nil || !slices.Contains(replicas, old) {
		t.Errorf("the replicas are %v, %v", replicas, err)
	}
}

func TestHungPrimaryIsReplaced(t *testing.T) {
	t.Parallel()
	c := redis.StartCluster(t, redis.ClusterOptions{Fast: true, Sentinels: 1})
	ctx := t.Context()
	old, err := c.Primary(ctx, mymaster)
	check(t, err)
	check(t, old.Hang())
	if _, err = c.AwaitPrimary(ctx, mymaster, old); err != nil {
		t.Fatalf("%v; the sentinel says:\n%s", err, c.Sentinels()[0].Log())
	}
	check(t, old.Release())
	check(t, c.AwaitSettled(ctx))
	if role, err := old.Role(ctx); err != nil || role.Primary {
		t.Errorf("the old primary is still one: %+v, %v", role, err)
	}
}

func TestClusterWithSeveralNames(t *testing.T) {
	t.Parallel()
	c := redis.StartCluster(t, redis.ClusterOptions{Fast: true, Names: []string{"a", "b"}, Replicas: 1, Sentinels: 2})
	ctx := t.Context()
	if len(c.SentinelAddrs()) != 2 || len(c.Servers("a")) != 2 || len(c.Servers("b")) != 2 || c.Servers("a")[0] == c.Servers("b")[0] {
		t.Errorf("sentinels %v, servers %v and %v", c.SentinelAddrs(), c.Servers("a"), c.Servers("b"))
	}
	want(t, c.Servers("a")[0], "OK", "DEBUG", "POPULATE", "3000", "key", "3") // more than one SCAN returns
	want(t, c.Servers("a")[0], int64(1), "RPUSH", "list", "x")
	if found, err := c.Snapshot(ctx, "a"); err != nil || len(found) != 3000 || found["key:2999"] != "val" {
		t.Errorf("a snapshot of %d keys, %v", len(found), err)
	}
	_, err1 := c.Primary(ctx, "c")
	_, err2 := c.Replicas(ctx, "c")
	_, err3 := c.AwaitPrimary(ctx, "c", nil)
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, redis.ErrUnknownName) {
			t.Errorf("an unknown name: %v", err)
		}
	}
	for _, s := range c.Servers("a") {
		check(t, s.Kill())
	}
	if _, err := c.Primary(ctx, "a"); !errors.Is(err, redis.ErrNoPrimary) {
		t.Errorf("without a running server: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := c.AwaitPrimary(short, "a", nil); !errors.Is(err, redis.ErrNoPrimary) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for one: %v", err)
	}
	if _, err := c.Primary(ctx, "b"); err != nil {
		t.Errorf("the other name: %v", err)
	}
}

func TestFailoverWithoutReplicaGivesUp(t *testing.T) {
	t.Parallel()
	c := redis.StartCluster(t, redis.ClusterOptions{Fast: true, Replicas: -1, Sentinels: 1})
	var err error
	var refusal redis.ReplyError
	for patience := time.Second; patience < time.Minute && refusal.Code() == ""; patience *= 2 { // a busy machine's sentinel may not answer in one
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err = c.Failover(ctx, mymaster); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("failover: %v, want it to go on until the deadline", err)
		}
		errors.As(err, &refusal)
		cancel()
	}
	if refusal.Code() != "NOGOODSLAVE" {
		t.Errorf("failover: %v, want the sentinel's refusal", err)
	}
	check(t, c.Sentinels()[0].Kill())
	if err := c.Failover(t.Context(), mymaster); !errors.Is(err, testutil.ErrNotRunning) {
		t.Errorf("failover without a sentinel: %v", err)
	}
}
