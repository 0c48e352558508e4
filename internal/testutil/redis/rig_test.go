package redis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

var (
	_ redis.Rig = (*redis.Cluster)(nil)
	_ redis.Rig = (*redis.InProcess)(nil)
)

// fastModel are timings that keep the order of things and leave room for a busy machine.
func fastModel() redis.InProcessOptions {
	return redis.InProcessOptions{
		DownAfter: 100 * time.Millisecond, Promotion: 50 * time.Millisecond, Announcement: 300 * time.Millisecond,
		Spread: 50 * time.Millisecond, Demotion: 300 * time.Millisecond,
	}
}

// eachRig runs test on both kinds.
func eachRig(t *testing.T, test func(t *testing.T, rig redis.Rig)) {
	t.Helper()
	t.Run("in-process", func(t *testing.T) {
		t.Parallel()
		test(t, redis.StartInProcess(t, fastModel()))
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		test(t, redis.StartCluster(t, redis.ClusterOptions{Fast: true}))
	})
}

func primaryOf(t *testing.T, rig redis.Rig) string {
	t.Helper()
	addr, err := rig.PrimaryAddr(t.Context(), mymaster)
	check(t, err)
	return addr
}

// awaitOther waits until the primary is another one than old.
func awaitOther(t *testing.T, rig redis.Rig, old string) string {
	t.Helper()
	now := ""
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		addr, err := rig.PrimaryAddr(t.Context(), mymaster)
		if err == nil && addr != old {
			now = addr
			break
		}
		if time.Since(begin) > 3*patience {
			t.Fatalf("no other primary than %s within %v: %v", old, 3*patience, err)
		}
	}
	return now
}

// failOver lets the sentinels replace a primary. Just after their own restart they may elect
// nobody, and on a busy machine be too slow, and give up.
func failOver(t *testing.T, rig redis.Rig, old string) {
	t.Helper()
	for range 3 {
		check(t, rig.Failover(t.Context(), mymaster))
		for begin := time.Now(); time.Since(begin) < patience; time.Sleep(5 * time.Millisecond) {
			if addr, err := rig.PrimaryAddr(t.Context(), mymaster); err == nil && addr != old {
				return
			}
		}
	}
	t.Fatalf("no other primary than %s after three failovers", old)
}

func set(t *testing.T, addr, key string) {
	t.Helper()
	c, err := redis.Dial(t.Context(), addr, "")
	check(t, err)
	defer c.Close()
	want(t, c, "OK", "SET", key, key)
}

func wantKeys(t *testing.T, rig redis.Rig, there, gone string) {
	t.Helper()
	found, err := rig.Snapshot(t.Context(), mymaster)
	check(t, err)
	for _, key := range strings.Fields(there) {
		if found[key] != key {
			t.Errorf("%s is missing in %v", key, found)
		}
	}
	for _, key := range strings.Fields(gone) {
		if _, ok := found[key]; ok {
			t.Errorf("%s is in %v", key, found)
		}
	}
}

func TestRigLosesWritesToADemotedPrimary(t *testing.T) {
	t.Parallel()
	eachRig(t, func(t *testing.T, rig redis.Rig) {
		ctx := t.Context()
		check(t, rig.AwaitSettled(ctx))
		old := primaryOf(t, rig)
		set(t, old, "early")
		eventually(t, "replication", func() bool { return replicated(t, rig, "early") })
		check(t, rig.Failover(ctx, mymaster))
		promoted := awaitPromotion(t, rig, old)
		set(t, old, "lost")
		set(t, promoted, "kept")
		check(t, rig.AwaitSettled(ctx))
		if now := primaryOf(t, rig); now != promoted {
			t.Errorf("the primary is %s, want %s", now, promoted)
		}
		wantKeys(t, rig, "early kept", "lost")
		c, err := redis.Dial(ctx, old, "")
		check(t, err)
		defer c.Close()
		wantCode(t, c, "READONLY", "SET", "k", "v")
	})
}

// servers returns the addresses of all servers.
func servers(t *testing.T, rig redis.Rig) []string {
	t.Helper()
	var addrs []string
	switch rig := rig.(type) {
	case *redis.Cluster:
		for _, s := range rig.Servers(mymaster) {
			addrs = append(addrs, s.Addr())
		}
	case *redis.InProcess:
		for _, s := range rig.Servers() {
			addrs = append(addrs, s.Addr())
		}
	}
	return addrs
}

// replicated reports whether all servers have a key.
func replicated(t *testing.T, rig redis.Rig, key string) bool {
	t.Helper()
	for _, addr := range servers(t, rig) {
		if got := ask(t, addr, "GET", key); got != key {
			return false
		}
	}
	return true
}

// ask sends one command; an error is nil.
func ask(t *testing.T, addr string, args ...string) any {
	t.Helper()
	c, err := redis.Dial(t.Context(), addr, "")
	if err != nil {
		return nil
	}
	defer c.Close()
	reply, err := c.Do(t.Context(), args...)
	if err != nil {
		return nil
	}
	return reply
}

// awaitPromotion waits until another server than old says that it is a primary.
func awaitPromotion(t *testing.T, rig redis.Rig, old string) string {
	t.Helper()
	promoted := ""
	eventually(t, "the promotion", func() bool {
		for _, addr := range servers(t, rig) {
			role, _ := ask(t, addr, "ROLE").([]any)
			if addr != old && len(role) > 0 && role[0] == "master" {
				promoted = addr
			}
		}
		return promoted != ""
	})
	return promoted
}

func TestRigReplacesABrokenPrimary(t *testing.T) {
	t.Parallel()
	breaks := map[string]struct {
		broken func(redis.Rig, context.Context) error
		repair func(redis.Rig) error
	}{
		"killed": {func(r redis.Rig, ctx context.Context) error { return r.KillPrimary(ctx, mymaster) }, redis.Rig.RestartKilled},
		"hung":   {func(r redis.Rig, ctx context.Context) error { return r.HangPrimary(ctx, mymaster) }, redis.Rig.ReleaseHung},
	}
	for name, way := range breaks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachRig(t, func(t *testing.T, rig redis.Rig) {
				ctx := t.Context()
				old := primaryOf(t, rig)
				set(t, old, "early")
				eventually(t, "replication", func() bool { return replicated(t, rig, "early") })
				check(t, way.broken(rig, ctx))
				promoted := awaitOther(t, rig, old)
				check(t, rig.AwaitSettled(ctx))
				set(t, promoted, "kept")
				check(t, way.repair(rig))
				check(t, rig.AwaitSettled(ctx))
				if now := primaryOf(t, rig); now != promoted {
					t.Errorf("the primary is %s, want %s", now, promoted)
				}
				wantKeys(t, rig, "early kept", "")
				eventually(t, "replication", func() bool { return replicated(t, rig, "kept") })
			})
		})
	}
}

func TestRigSentinelsCanBeBroken(t *testing.T) {
	t.Parallel()
	eachRig(t, func(t *testing.T, rig redis.Rig) {
		ctx := t.Context()
		check(t, rig.KillSentinel(0))
		check(t, rig.HangSentinel(1))
		if rig.KillSentinel(3) == nil || rig.HangSentinel(-1) == nil {
			t.Error("there is no such sentinel")
		}
		addrs := rig.SentinelAddrs()
		if ask(t, addrs[0], "PING") != nil || ask(t, addrs[2], "PING") != "PONG" {
			t.Error("the first sentinel answers, or the last does not")
		}
		check(t, rig.RestartKilled())
		check(t, rig.ReleaseHung())
		check(t, rig.AwaitSettled(ctx))
		for _, addr := range addrs {
			if ask(t, addr, "PING") != "PONG" {
				t.Errorf("sentinel %s does not answer", addr)
			}
		}
		old := primaryOf(t, rig)
		failOver(t, rig, old)
		check(t, rig.AwaitSettled(ctx))
	})
}

func TestRigRefusesUnknownNames(t *testing.T) {
	t.Parallel()
	eachRig(t, func(t *testing.T, rig redis.Rig) {
		ctx := t.Context()
		_, err1 := rig.PrimaryAddr(ctx, "x")
		_, err2 := rig.Snapshot(ctx, "x")
		for _, err := range []error{err1, err2, rig.KillPrimary(ctx, "x"), rig.HangPrimary(ctx, "x"), rig.Failover(ctx, "x")} {
			if !errors.Is(err, redis.ErrUnknownName) {
				t.Errorf("an unknown name: %v", err)
			}
		}
		check(t, rig.Close())
		check(t, rig.Close())
	})
}
