package redisclients_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testutil"
	servers "github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "mymaster"

// unhurried is the time that a server may stand still: these tests are not about silence, and the
// machine may be busy.
const unhurried = 10 * time.Second

// counter is incremented by one program, which remembers what became of it.
type counter struct {
	key            string
	acked, unknown int64
	strange        error
}

func (c *counter) increment(ctx context.Context, incr func(ctx context.Context, key string) error) {
	switch err := incr(ctx, c.key); {
	case err == nil:
		c.acked++
	case errors.Is(err, sentinel.ErrOutcomeUnknown):
		c.unknown++
	case !errors.Is(err, sentinel.ErrNotSent):
		c.strange = err
	}
}

// In real failovers each increment is carried out once if it is acknowledged, at most once if its
// outcome is unknown, and never if it was not sent, whatever client sends it.
func TestIncrementsAreCarriedOutOnce(t *testing.T) {
	testutil.AtSomePace(t, func(pace *testutil.Pace) {
		cluster := servers.StartCluster(t, servers.ClusterOptions{Fast: true, DownAfter: time.Minute})
		client, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), sentinel.Options{
			Names: []string{name}, HeartbeatTimeout: unhurried, DialTimeout: unhurried,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		rdb, err := openGoRedis(client)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rdb.Close() }()
		increments := open(t, client, rdb)
		var counters []*counter
		var programs sync.WaitGroup
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		for who, incr := range increments {
			for i := range pace.Slower(8) {
				c := &counter{key: fmt.Sprint(who, i)}
				counters = append(counters, c)
				programs.Go(func() {
					for ctx.Err() == nil {
						c.increment(context.WithoutCancel(ctx), incr)
						time.Sleep(4 * time.Millisecond)
					}
				})
			}
		}
		for range 2 { // there and back
			replicate(t, rdb)
			failOver(t, cluster, client)
		}
		stop()
		programs.Wait()
		judge(t, pace, rdb, counters)
	})
}

// open returns how each client increments.
func open(t *testing.T, client *sentinel.Client, rdb *redis.Client) map[string]func(context.Context, string) error {
	t.Helper()
	batched, err := rdb.AutoPipeline()
	if err != nil {
		t.Fatal(err)
	}
	pool := openRedigo(client)
	shared, err := openRueidis(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		shared.Close()
		_ = pool.Close()
	})
	return map[string]func(context.Context, string) error{
		"go-redis":              func(ctx context.Context, key string) error { return rdb.Incr(ctx, key).Err() },
		"go-redis AutoPipeline": func(ctx context.Context, key string) error { return batched.Incr(ctx, key).Err() },
		"redigo": func(ctx context.Context, key string) error {
			conn, err := pool.GetContext(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			_, err = conn.Do("INCR", key)
			return err
		},
		"rueidis": func(ctx context.Context, key string) error {
			return shared.Do(ctx, shared.B().Incr().Key(key).Build()).Error()
		},
	}
}

// judge compares the counters with what the programs remember.
func judge(t *testing.T, pace *testutil.Pace, rdb *redis.Client, counters []*counter) {
	t.Helper()
	var acked, unknown int64
	for _, c := range counters {
		value, err := rdb.Get(t.Context(), c.key).Int64()
		switch {
		case err != nil:
			t.Fatal(err)
		case c.strange != nil:
			t.Errorf("%s: an error says neither that it was not sent nor that its outcome is unknown: %v", c.key, c.strange)
		case value > c.acked+c.unknown:
			t.Errorf("%s is %d, of %d that were acknowledged and %d with an unknown outcome: some were carried out twice, or although they were not sent", c.key, value, c.acked, c.unknown)
		case value < c.acked:
			pace.Errorf("%s is %d, of %d that were acknowledged", c.key, value, c.acked)
		}
		acked, unknown = acked+c.acked, unknown+c.unknown
	}
	t.Logf("%d acknowledged, %d with an unknown outcome", acked, unknown)
	if acked < 100 {
		t.Errorf("%d increments prove nothing", acked)
	}
}

// replicate waits until the replicas have all writes: just after a start a primary holds it
// back.
func replicate(t *testing.T, rdb *redis.Client) {
	t.Helper()
	conn := rdb.Conn()
	defer func() { _ = conn.Close() }()
	if err := conn.Set(t.Context(), "replicated", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Wait(t.Context(), 2, unhurried).Result(); err != nil || n < 2 {
		t.Fatalf("a write has reached %d of 2 replicas: %v", n, err)
	}
}

// failOver has the sentinels replace the primary, and waits until the client is at the new one.
// Just after another failover, and on a busy machine, sentinels give up: they are asked again.
func failOver(t *testing.T, cluster *servers.Cluster, client *sentinel.Client) {
	t.Helper()
	old, err := cluster.Primary(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err = cluster.Failover(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		var fresh *servers.Server
		ctx, cancel := context.WithTimeout(t.Context(), unhurried)
		if fresh, err = cluster.AwaitPrimary(ctx, name, old); err == nil {
			err = cluster.AwaitSettled(ctx)
		}
		for err == nil && client.Topology(name).Primary != fresh.Addr() {
			time.Sleep(time.Millisecond)
			err = ctx.Err()
		}
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatal(err)
}
