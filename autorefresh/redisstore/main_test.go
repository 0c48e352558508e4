package redisstore_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/autorefresh/redisstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// side is how many tests run side by side that say they may: most of their time they wait for
// periods, and for real sentinels.
const side = "6"

func TestMain(m *testing.M) {
	if err := testutil.SideBySide(side); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const primary = "mymaster"

// follow makes a client as a process of its own would.
func follow(t *testing.T, sentinels []string, reach sentinel.Endpoint) *sentinel.Client {
	t.Helper()
	return followWith(t, sentinels, sentinel.Options{Names: []string{primary}, Server: reach, Sentinel: reach})
}

// followUnhurried is for tests that are not about silence: a server that a busy machine lets stand
// still has not failed.
func followUnhurried(t *testing.T, sentinels []string) *sentinel.Client {
	t.Helper()
	return followWith(t, sentinels, sentinel.Options{Names: []string{primary}, HeartbeatTimeout: 10 * time.Second, DialTimeout: 10 * time.Second})
}

func followWith(t *testing.T, sentinels []string, o sentinel.Options) *sentinel.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := sentinel.New(ctx, sentinels, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newStore(t *testing.T, c *sentinel.Client) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(c, redisstore.Options{Primary: primary, Namespace: "users"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fakeStore makes a store on servers in this process.
func fakeStore(t *testing.T) (*redisstore.Store, *redis.FakeCluster) {
	t.Helper()
	cluster := redis.StartFakeCluster(t, redis.FakeClusterOptions{Name: primary})
	reach := sentinel.Endpoint{Dial: cluster.Net.Dial}
	return newStore(t, followWith(t, cluster.SentinelAddrs(), sentinel.Options{
		Names: []string{primary}, Server: reach, Sentinel: reach,
		HeartbeatTimeout: time.Second, // servers in this process share its processors with whatever else runs
	})), cluster
}

// eventually waits for what must come true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}
