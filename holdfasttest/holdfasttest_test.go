package holdfasttest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/holdfasttest"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for begin := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// reader reads through a cache, as services do.
type reader struct {
	cache *memcache.Client
	loads int
}

func (r *reader) read(key string) string {
	if it, err := r.cache.Get(key); err == nil {
		return string(it.Value)
	}
	r.loads++
	value := "from the database"
	_ = r.cache.Set(&memcache.Item{Key: key, Value: []byte(value)})
	return value
}

func TestAServiceFallsBackWhileMemcachedFails(t *testing.T) {
	t.Parallel()
	server := holdfasttest.StartMemcached(t)
	c := memcache.New(server.Addr())
	defer c.Close()
	r := &reader{cache: c}
	hits := func() bool {
		before := r.loads
		return r.read("k") == "from the database" && r.loads == before
	}
	eventually(t, "hit", hits)
	for what, fail := range map[string]func(){
		"kill": server.Kill, "hang": server.Hang,
		"errors": func() { server.Fail("out of memory") },
	} {
		fail()
		before := r.loads
		if got := r.read("k"); got != "from the database" || r.loads != before+1 {
			t.Errorf("%s: %q after %d loads, want one load more", what, got, r.loads-before)
		}
		server.Heal()
		switch what {
		case "kill":
			server.Restart()
		case "hang":
			server.Release()
		}
		eventually(t, "hit after "+what, hits)
	}
	server.Slow(50 * time.Millisecond)
	if begin := time.Now(); !hits() || time.Since(begin) < 40*time.Millisecond {
		t.Errorf("a slow server answered after %v, want a hit after 50 ms", time.Since(begin))
	}
}

func TestWritesFollowAFailover(t *testing.T) {
	t.Parallel()
	cluster := holdfasttest.StartRedis(t, holdfasttest.RedisOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{Names: []string{cluster.Name()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	set := func(key string) error { return c.Do(ctx, cluster.Name(), radix.Cmd(nil, "SET", key, "v")) }
	for i, fault := range []func(){cluster.Failover, cluster.KillPrimary, cluster.HangPrimary} {
		before := cluster.Primary()
		fault()
		eventually(t, "other primary", func() bool { now := cluster.Primary(); return now != "" && now != before })
		key := fmt.Sprint("k", i)
		eventually(t, "write to it", func() bool {
			err := set(key)
			if err != nil && !errors.Is(err, sentinel.ErrNotSent) && !errors.Is(err, sentinel.ErrOutcomeUnknown) {
				t.Fatalf("SET: %v", err)
			}
			return err == nil && c.Topology(cluster.Name()).Primary == cluster.Primary()
		})
		cluster.Repair()
		cluster.Settled(ctx)
		if err := set(key + "'"); err != nil {
			t.Errorf("SET once the cluster has settled: %v", err)
		}
		if v, ok := cluster.Get(key + "'"); !ok || v != "v" {
			t.Errorf("the primary has %q, %t", v, ok)
		}
	}
}
