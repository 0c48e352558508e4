package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// Each mistake has an error of its own, which says what to do, long before the context ends.
func TestNewSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Names: []string{"bucket0", "bucket1"}, Replicas: 1, Sentinels: 1, Fast: true, DownAfter: time.Minute, Password: "right", SentinelPassword: "sesame"})
	addrs := cluster.SentinelAddrs()
	nobody, err := testutil.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dead := fmt.Sprintf("127.0.0.1:%d", nobody)
	server := sentinel.Endpoint{Password: "right"}
	door := sentinel.Endpoint{Password: "sesame"}
	for what, c := range map[string]struct {
		addrs []string
		o     sentinel.Options
		want  error
		says  string
	}{
		"nobody there":            {[]string{dead}, sentinel.Options{Names: []string{"bucket0"}}, sentinel.ErrNoSentinel, dead},
		"a server for a sentinel": {[]string{cluster.Servers("bucket0")[0].Addr()}, sentinel.Options{Names: []string{"bucket0"}, Server: server, Sentinel: server}, sentinel.ErrNotSentinel, "26379"},
		"an unknown name":         {addrs, sentinel.Options{Names: []string{"bucket0", "bucket7"}, Server: server, Sentinel: door}, sentinel.ErrUnknownPrimary, `"bucket1"`},
		"no sentinel password":    {addrs, sentinel.Options{Names: []string{"bucket0"}, Server: server}, sentinel.ErrSentinelAuth, "NOAUTH"},
		"bad sentinel password":   {addrs, sentinel.Options{Names: []string{"bucket0"}, Server: server, Sentinel: server}, sentinel.ErrSentinelAuth, "WRONGPASS"},
		"bad server password":     {addrs, sentinel.Options{Names: []string{"bucket0"}, Server: door, Sentinel: door}, sentinel.ErrServerAuth, "WRONGPASS"},
		"no server password":      {addrs, sentinel.Options{Names: []string{"bucket0"}, Sentinel: door}, sentinel.ErrServerAuth, "NOAUTH"},
	} {
		for _, startDown := range []bool{false, true} {
			if startDown && errors.Is(c.want, sentinel.ErrNoSentinel) {
				continue
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			c.o.StartDown, c.o.HeartbeatTimeout, c.o.DialTimeout = startDown, unhurried, unhurried
			client, err := sentinel.New(ctx, c.addrs, c.o)
			if err == nil {
				client.Close()
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, StartDown %v: %v; want %v that says %q", what, startDown, err, c.want, c.says)
			}
			if ctx.Err() != nil {
				t.Errorf("%s: New waited for its context to end", what)
			}
			cancel()
		}
	}
	var logged strings.Builder
	o := sentinel.Options{Names: []string{"bucket0", "bucket1"}, Server: server, Sentinel: door, Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	client, err := sentinel.New(t.Context(), append([]string{dead}, addrs...), o)
	if err != nil {
		t.Fatalf("with one sentinel of two: %v", err)
	}
	client.Close()
	if strings.Contains(logged.String(), "sesame") || strings.Contains(logged.String(), "right") {
		t.Error("a password was logged")
	}
}

// An application that restarts while everything is down must not fail for ever.
func TestStartDownHeals(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	primary := present(t, cluster)
	if err := errors.Join(primary.Kill(), cluster.Sentinels()[0].Kill()); err != nil {
		t.Fatal(err)
	}
	c := follow(t, cluster, sentinel.Options{StartDown: true})
	if err := set(t.Context(), c, "a", "1"); !errors.Is(err, sentinel.ErrNoPrimary) {
		t.Errorf("down: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, sentinel.ErrNoPrimary) {
		t.Errorf("WaitReady while down: %v", err)
	}
	if err := errors.Join(cluster.Sentinels()[0].Restart(), primary.Restart()); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), c, "a", "1"); err != nil {
		t.Error(err)
	}
}

func TestNewGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	if err := present(t, cluster).Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{Names: []string{name}})
	if !errors.Is(err, sentinel.ErrNoPrimary) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}
