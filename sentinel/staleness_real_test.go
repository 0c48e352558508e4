package sentinel_test

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// A replica whose link to its primary carries nothing any more, without a word to either side, says
// for a minute that all is well, and serves what it has.
func TestReadsFromReplicasHaveABoundInTime(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, DownAfter: time.Minute}) // fast sentinels would set the link right
	primary, replica := cluster.Servers(name)[0], cluster.Servers(name)[1]
	proxy := testutil.StartProxy(t, primary.Addr())
	host, port, err := net.SplitHostPort(proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	bounded := follow(t, cluster, sentinel.Options{})
	boundless := follow(t, cluster, sentinel.Options{MaxStaleness: -1})
	if _, err := replica.Do(t.Context(), "REPLICAOF", host, port); err != nil {
		t.Fatal(err)
	}
	// The age is that at the beginning of the call, and a write that took long counts from its end:
	// what a busy machine adds is not the client's.
	served := func(c *sentinel.Client) (byReplica bool, age time.Duration) {
		var role []any
		var at int64
		began := time.Now()
		err := c.DoReplica(t.Context(), name, radix.WithConn("", func(ctx context.Context, conn radix.Conn) error {
			return conn.Do(ctx, pipeline(radix.Cmd(&role, "ROLE"), radix.Cmd(&at, "GET", "now")))
		}))
		if err != nil {
			t.Fatal(err)
		}
		said, _ := role[0].([]byte)
		return string(said) == "slave", began.Sub(time.UnixMilli(at))
	}
	var slowest time.Duration // of the writes
	write := func() {
		began := time.Now()
		defer func() { slowest = max(slowest, time.Since(began)) }()
		if err := set(t.Context(), bounded, "now", strconv.FormatInt(time.Now().UnixMilli(), 10)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "served by the replica", func() bool {
		write()
		a, age := served(bounded)
		b, _ := served(boundless)
		return a && b && age < time.Second
	})
	if err := proxy.Hang(); err != nil {
		t.Fatal(err)
	}
	var oldest time.Duration
	for began := time.Now(); ; {
		if time.Since(began) > 30*time.Second {
			t.Fatal("without a bound nothing old was served: the replica is not cut off")
		}
		write()
		if byReplica, age := served(bounded); byReplica {
			oldest = max(oldest, age)
		}
		if byReplica, age := served(boundless); byReplica && age > 4*time.Second {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if oldest > 2500*time.Millisecond+slowest {
		t.Errorf("a replica that was cut off served what was %v old", oldest)
	}
	if err := proxy.Release(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "served by the replica again", func() bool {
		write()
		byReplica, age := served(bounded)
		return byReplica && age < time.Second
	})
	t.Logf("the oldest that was served: %v", oldest.Round(time.Millisecond))
}
