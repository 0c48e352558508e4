package matrix_test

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// servers is how many there are.
func (in surroundings) servers() int {
	if in.several {
		return 3
	}
	return 1
}

// addrs are where clients of some ways go.
func addrs(ways []*way) []string {
	all := make([]string, 0, len(ways))
	for _, w := range ways {
		all = append(all, w.addr())
	}
	return all
}

// otherWays starts the other memcacheds, if there are to be several, each filled by its address.
func otherWays(t *testing.T, in surroundings, fill func(t *testing.T, addr string)) []*way {
	t.Helper()
	var ways []*way
	for range in.servers() - 1 {
		server := testutil.StartMemcached(t)
		fill(t, server.Addr())
		ways = append(ways, newWay(t, server.Addr(), in, twemproxy))
	}
	return ways
}

// primaryName is that of the primary of a cluster.
const primaryName = "mymaster"

// redisCluster is a client of a primary with a replica and three sentinels. Its way is that to
// the first primary.
func redisCluster(t *testing.T, in surroundings) *subject {
	t.Helper()
	o := in.cluster
	o.Replicas, o.Fast = max(1, o.Replicas), true
	cluster := redis.StartCluster(t, o)
	var ways []*way
	at := make(map[string]string)
	for _, server := range cluster.Servers(primaryName) {
		w := newWay(t, server.Addr(), in, haproxy)
		ways, at[server.Addr()] = append(ways, w), w.addr()
	}
	first := cluster.Servers(primaryName)[0]
	tell(t, first, fillCommand()...)
	c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), sentinel.Options{
		Names: slices.Concat([]string{primaryName}, o.Names[min(1, len(o.Names)):]), StartDown: true, AddrMap: func(addr string) string { return cmp.Or(at[addr], addr) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s := redisSubject(c, primaryName)
	s.way, s.ways, s.cluster, s.server = ways[0], ways, cluster, first
	s.elsewhere = func(ctx context.Context) error {
		return reached(ctx, func(ctx context.Context) error { return c.Do(ctx, otherName, radix.Cmd(nil, "SET", "k", "v")) })
	}
	return s
}

// ofSeveral are faults of several servers.
func ofSeveral() []fault {
	rolling := fault{
		name: "three servers (or peers, or sentinels) are restarted one after another, each away for 300 ms of 400", several: true, want: either,
		unlike: map[string]outcome{sentinels: served},
		begin: func(t *testing.T, s *subject) {
			t.Helper()
			n := 0
			s.way.repeat(func() {
				kill, start := s.restarting(t, n)
				n++
				kill()
				time.Sleep(300 * time.Millisecond)
				start()
				time.Sleep(100 * time.Millisecond)
			})
		},
		end: on((*way).calm),
	}
	no := "it knows no failovers"
	failover := fault{
		name: "a failover, while the way to the old primary is a black hole", several: true, want: served, lasts: 3 * time.Second,
		never: map[string]string{memcaches: no, groups: no, secondLevels: no},
		begin: func(t *testing.T, s *subject) {
			t.Helper()
			_ = s.way.Hang()
			ctx, cancel := context.WithTimeout(t.Context(), healing)
			defer cancel()
			awaitCopied(ctx, t, s.cluster.Servers(primaryName))
			if err := s.cluster.Failover(ctx, primaryName); err != nil {
				t.Error(err)
			}
		},
		end: on(func(w *way) { _ = w.Release() }),
	}
	return []fault{rolling, failover}
}

// awaitCopied waits until the replicas have what their primary had acknowledged at the beginning.
func awaitCopied(ctx context.Context, t *testing.T, servers []*redis.Server) {
	t.Helper()
	primary, err := servers[0].Role(ctx)
	for _, server := range servers[1:] {
		for err == nil {
			var replica redis.Role
			if replica, err = server.Role(ctx); replica.Offset >= primary.Offset {
				break
			}
			time.Sleep(between)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// restarting returns what kills and starts the nth server, or sentinel.
func (s *subject) restarting(t *testing.T, n int) (kill, start func()) {
	t.Helper()
	if s.cluster == nil {
		w := s.ways[n%len(s.ways)]
		return func() { _ = w.Kill() }, func() { _ = w.Restart() }
	}
	return func() {
			if err := s.cluster.KillSentinel(n % len(s.cluster.SentinelAddrs())); err != nil {
				t.Error(err)
			}
		}, func() {
			if err := s.cluster.RestartKilled(); err != nil {
				t.Error(err)
			}
		}
}
