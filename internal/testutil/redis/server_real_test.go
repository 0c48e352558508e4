package redis_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

type doer interface {
	Do(ctx context.Context, args ...string) (any, error)
}

func want(t *testing.T, d doer, reply any, args ...string) {
	t.Helper()
	got, err := d.Do(t.Context(), args...)
	if err != nil || got != reply {
		t.Errorf("%q = %v, %v, want %v", args, got, err, reply)
	}
}

// wantCode checks that a command is answered with an error that begins with code.
func wantCode(t *testing.T, d doer, code string, args ...string) {
	t.Helper()
	got, err := d.Do(t.Context(), args...)
	var failure redis.ReplyError
	if !errors.As(err, &failure) || failure.Code() != code {
		t.Errorf("%q = %v, %v, want %s", args, got, err, code)
	}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func TestServerObeysItsVerbs(t *testing.T) {
	t.Parallel()
	s := redis.StartServer(t)
	if !strings.HasPrefix(s.Kind(), "redis ") || s.PID() == 0 || s.Log() == "" || !s.Running() {
		t.Errorf("kind %q, process %d, log %q", s.Kind(), s.PID(), s.Log())
	}
	want(t, s, "OK", "SET", "k", "v")
	want(t, s, "v", "GET", "k")
	want(t, s, nil, "GET", "nothing")
	want(t, s, int64(1), "DEL", "k")
	wantCode(t, s, "ERR", "NONSENSE")

	check(t, s.Hang())
	hung, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if reply, err := s.Do(hung, "PING"); err == nil || s.Running() {
		t.Errorf("a hung server answers %v", reply)
	}
	check(t, s.Release())
	want(t, s, "PONG", "PING")

	want(t, s, "OK", "SET", "k", "v")
	check(t, s.Kill())
	check(t, s.Kill())
	if _, err := net.Dial("tcp", s.Addr()); err == nil || s.Running() {
		t.Error("a killed server accepts connections")
	}
	if err := s.Hang(); !errors.Is(err, testutil.ErrNotRunning) {
		t.Errorf("hanging a killed server: %v", err)
	}
	check(t, s.Restart())
	want(t, s, nil, "GET", "k")
	check(t, s.Hang())
	check(t, s.Restart())
	want(t, s, "PONG", "PING")
	check(t, s.Hang())
	check(t, s.Close())
	check(t, s.Close())
	if err := errors.Join(s.Kill(), s.Release()); !errors.Is(err, testutil.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// awaitReplica waits until both say that the replica is one of the primary's.
func awaitReplica(t *testing.T, primary, replica *redis.Server) {
	t.Helper()
	eventually(t, "replication", func() bool {
		above, err1 := primary.Role(t.Context())
		below, err2 := replica.Role(t.Context())
		return errors.Join(err1, err2) == nil && below.LinkUp && slices.Contains(above.Replicas, replica.Addr())
	})
}

func TestServerWithPasswordAndReplica(t *testing.T) {
	t.Parallel()
	o := redis.ServerOptions{Password: `se"cret 'x`, User: "app", UserPassword: "p w", Args: []string{"--maxmemory", "20mb"}}
	primary := redis.StartServer(t, o)
	o.ReplicaOf = primary.Addr()
	replica := redis.StartServer(t, o)
	want(t, primary, "OK", "SET", "k", "v")
	eventually(t, "replication", func() bool {
		got, err := replica.Do(t.Context(), "GET", "k")
		return err == nil && got == "v"
	})
	wantCode(t, replica, "READONLY", "SET", "k", "v")
	awaitReplica(t, primary, replica)
	role, err := replica.Role(t.Context())
	check(t, err)
	if role.Primary || role.Of != primary.Addr() || !role.LinkUp {
		t.Errorf("the replica says %+v", role)
	}
	role, err = primary.Role(t.Context())
	check(t, err)
	if !role.Primary || len(role.Replicas) != 1 || role.Replicas[0] != replica.Addr() {
		t.Errorf("the primary says %+v", role)
	}
	check(t, replica.RestartAs(""))
	want(t, replica, "OK", "SET", "k", "mine")
	check(t, replica.RestartAs(primary.Addr()))
	check(t, replica.Restart())
	wantCode(t, replica, "READONLY", "SET", "k", "v")
	config, err := primary.Do(t.Context(), "CONFIG", "GET", "maxmemory")
	if items, ok := config.([]any); err != nil || !ok || items[1] != "20971520" {
		t.Errorf("maxmemory: %v, %v", config, err)
	}
}

func TestPartitionCutsOffTheUserOnly(t *testing.T) {
	t.Parallel()
	s := redis.StartServer(t, redis.ServerOptions{User: "app", UserPassword: "pw"})
	ctx := t.Context()
	c, err := redis.Dial(ctx, s.Addr(), "")
	check(t, err)
	defer c.Close()
	want(t, c, "OK", "AUTH", "app", "pw")
	check(t, s.Partition(ctx))
	if reply, err := c.Do(ctx, "PING"); err == nil {
		t.Errorf("the user is answered %v", reply)
	}
	fresh, err := redis.Dial(ctx, s.Addr(), "")
	check(t, err)
	defer fresh.Close()
	want(t, fresh, "PONG", "PING")
	wantCode(t, fresh, "WRONGPASS", "AUTH", "app", "pw")
	check(t, s.Heal(ctx))
	want(t, fresh, "OK", "AUTH", "app", "pw")
	if err := redis.StartServer(t).Partition(ctx); err == nil {
		t.Error("a server without such a user has been partitioned")
	}
}

// watchFolder makes temporary folders appear in a place of their own and fails the test if any is
// left there.
func watchFolder(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	t.Cleanup(func() {
		if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestLaunchThatFailsLeavesNothing(t *testing.T) {
	if _, err := redis.FindServer(); err != nil {
		testutil.Missing(t, "redis-server", err)
	}
	watchFolder(t)
	ctx := t.Context()
	if _, err := redis.LaunchServer(ctx, redis.ServerOptions{Args: []string{"--no-such-option", "1"}}); err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("a bad option: %v", err)
	}
	if _, err := redis.LaunchServer(ctx, redis.ServerOptions{ReplicaOf: "nonsense"}); err == nil {
		t.Error("a bad address of a primary is accepted")
	}
	if _, err := redis.LaunchServer(ctx, redis.ServerOptions{Path: "/no/such/program"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing program: %v", err)
	}
	if _, err := redis.LaunchSentinel(ctx, redis.SentinelOptions{Monitors: []redis.Monitor{{Name: "x", Primary: "nonsense"}}}); err == nil {
		t.Error("a sentinel watches a bad address")
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if _, err := redis.LaunchCluster(short, redis.ClusterOptions{}); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a cluster with too little time: %v", err)
	}
}

// skipper is a test that records how it ends.
type skipper struct {
	testutil.TB
	skipped, failed bool
}

func (s *skipper) Helper()               {}
func (s *skipper) Skipf(string, ...any)  { s.skipped = true }
func (s *skipper) Fatalf(string, ...any) { s.failed = true }

func TestMissingProgramSkipsOrFails(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, start := range []func(testutil.TB){
		func(tb testutil.TB) { redis.StartServer(tb) },
		func(tb testutil.TB) { redis.StartSentinel(tb) },
		func(tb testutil.TB) { redis.StartCluster(tb) },
	} {
		t.Setenv(testutil.RequireServersEnv, "")
		var quiet, strict skipper
		start(&quiet)
		t.Setenv(testutil.RequireServersEnv, "1")
		start(&strict)
		if !quiet.skipped || quiet.failed || !strict.failed {
			t.Errorf("skipped %v, failed %v; when required: failed %v", quiet.skipped, quiet.failed, strict.failed)
		}
	}
}
