package redisclients_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"

	servers "github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
	"github.com/holdfast-go/holdfast/sentinel/goredis"
)

// invalidated counts what a server says over RESP3 without being asked.
type invalidated struct{ n atomic.Int64 }

func (i *invalidated) HandlePushNotification(context.Context, push.NotificationHandlerContext, []any) error {
	i.n.Add(1)
	return nil
}

// silence is go-redis' log, which has a line for each message that comes while a connection is
// idle.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// What a connection of go-redis has besides commands and replies goes with it to the next primary:
// with client tracking the server's messages come between replies, on each connection; and a script
// that the last primary had is not at the next.
func TestPushesAndScriptsFollow(t *testing.T) {
	redis.SetLogger(silence{})
	cluster := servers.StartCluster(t, servers.ClusterOptions{Fast: true, DownAfter: time.Minute})
	client, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), sentinel.Options{
		Names: []string{name}, HeartbeatTimeout: unhurried, DialTimeout: unhurried,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	rdb, err := goredis.New(client, name, &redis.Options{
		Protocol: 3, PoolTimeout: unhurried,
		OnConnect: func(ctx context.Context, conn *redis.Conn) error {
			return conn.Do(ctx, "CLIENT", "TRACKING", "ON", "BCAST").Err()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rdb.Close() }()
	var pushes invalidated
	if err := rdb.RegisterPushNotificationHandler("invalidate", &pushes, false); err != nil {
		t.Fatal(err)
	}
	increment := redis.NewScript("return redis.call('INCR', KEYS[1])")

	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var programs sync.WaitGroup
	defer programs.Wait()
	defer stop()
	scripts := make([]int64, 4)
	for i := range scripts {
		programs.Go(func() { scripts[i] = countByScript(ctx, t, rdb, increment, fmt.Sprint("counter", i)) })
		programs.Go(func() { writeAndRead(ctx, t, rdb, fmt.Sprint("key", i)) })
	}
	for range 2 {
		replicate(t, rdb)
		before := pushes.n.Load()
		for deadline := time.Now().Add(unhurried); pushes.n.Load() < before+100; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d messages within %v", pushes.n.Load()-before, unhurried)
			}
		}
		failOver(t, cluster, client)
		if err := increment.EvalSha(t.Context(), rdb, []string{"sha"}).Err(); err != nil && !redis.HasErrorPrefix(err, "NOSCRIPT") {
			t.Errorf("a script at a primary that may not have it: %v, want NOSCRIPT", err)
		}
	}
	replicate(t, rdb)
	stop()
	programs.Wait()
	for i, n := range scripts {
		if n < 50 {
			t.Errorf("%d increments by scripts in program %d prove nothing", n, i)
		}
	}
}

// countByScript increments until ctx ends, and returns how often.
func countByScript(ctx context.Context, t *testing.T, rdb *redis.Client, increment *redis.Script, key string) (n int64) {
	t.Helper()
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		got, err := increment.Run(context.WithoutCancel(ctx), rdb, []string{key}).Int64()
		if err != nil || got != n+1 {
			t.Errorf("increment %d by a script: %d, %v", n+1, got, err)
			return n
		}
		n = got
	}
	return n
}

// writeAndRead reads what it has written until ctx ends.
func writeAndRead(ctx context.Context, t *testing.T, rdb *redis.Client, key string) {
	t.Helper()
	always := context.WithoutCancel(ctx)
	for round := 0; ctx.Err() == nil; round++ {
		want := fmt.Sprint(key, " ", round)
		switch err := rdb.Set(always, key, want, 0).Err(); {
		case errors.Is(err, sentinel.ErrNotSent), errors.Is(err, sentinel.ErrOutcomeUnknown):
			continue
		case err != nil:
			t.Errorf("a write: %v", err)
			return
		}
		if got, err := rdb.Get(always, key).Result(); err != nil || got != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
			return
		}
	}
}
