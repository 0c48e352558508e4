package holdfasttest

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// Redis is a primary with two replicas and three sentinels in this process. StartRedis makes one.
// It is safe for concurrent use.
//
// Replication is asynchronous, as Redis' is: a primary that is killed loses the writes that it has
// acknowledged and not yet sent on. The servers know strings, lists, hashes, transactions and
// publish/subscribe as far as simple programs need them; scripts they do not know.
type Redis struct {
	tb   TB
	rig  *redis.InProcess
	name string
}

// RedisOptions say how fast failovers are. The zero value is faster than a usual installation, so
// that tests are.
type RedisOptions struct {
	// Name is the primary's, as the sentinels know it. Default "mymaster".
	Name string
	// DownAfter is how long the primary must be silent before the sentinels choose another. Default
	// 500 ms.
	DownAfter time.Duration
}

// StartRedis starts servers and sentinels. They end with the test.
func StartRedis(tb TB, o RedisOptions) *Redis {
	tb.Helper()
	if o.Name == "" {
		o.Name = "mymaster"
	}
	if o.DownAfter == 0 {
		o.DownAfter = 500 * time.Millisecond
	}
	return &Redis{tb, redis.StartInProcess(tb, redis.InProcessOptions{
		Name: o.Name, DownAfter: o.DownAfter,
		Announcement: 100 * time.Millisecond, Spread: 100 * time.Millisecond, Demotion: time.Second,
	}), o.Name}
}

// SentinelAddrs returns the addresses of the sentinels, host:port, for a client. They stay the
// same.
func (r *Redis) SentinelAddrs() []string { return r.rig.SentinelAddrs() }

// Name is the primary's, as the sentinels know it.
func (r *Redis) Name() string { return r.name }

// Primary returns the address of the server that is the primary now; "" while there is none.
func (r *Redis) Primary() string {
	addr, err := r.rig.PrimaryAddr(context.Background(), r.name)
	if err != nil {
		return ""
	}
	return addr
}

// Failover has the sentinels choose another primary, as SENTINEL FAILOVER does, and does not wait
// until it is one. The present one goes on acknowledging writes until it is told; they are lost.
// While another failover is under way it waits, 30 s at most.
func (r *Redis) Failover() {
	r.tb.Helper()
	r.must("fail over", r.rig.Failover(context.Background(), r.name))
}

// KillPrimary ends the primary as kill -9 would.
func (r *Redis) KillPrimary() {
	r.tb.Helper()
	r.must("kill the primary", r.rig.KillPrimary(context.Background(), r.name))
}

// HangPrimary makes the primary accept connections and requests, and answer nothing.
func (r *Redis) HangPrimary() {
	r.tb.Helper()
	r.must("hang the primary", r.rig.HangPrimary(context.Background(), r.name))
}

// Repair restarts the servers that were killed, empty, and releases those that hang.
func (r *Redis) Repair() {
	r.tb.Helper()
	r.must("restart", r.rig.RestartKilled())
	r.must("release", r.rig.ReleaseHung())
}

// Settled waits until there is one primary and all servers that run follow it, or ctx ends, which
// fails the test.
func (r *Redis) Settled(ctx context.Context) {
	r.tb.Helper()
	r.must("settle", r.rig.AwaitSettled(ctx))
}

// Get returns the string that the primary has at a key; false if it has none.
func (r *Redis) Get(key string) (value string, ok bool) {
	r.tb.Helper()
	all, err := r.rig.Snapshot(context.Background(), r.name)
	r.must("read", err)
	value, ok = all[key]
	return value, ok
}

func (r *Redis) must(what string, err error) {
	r.tb.Helper()
	if err != nil {
		r.tb.Fatalf("holdfasttest: redis %s: %s: %v", r.name, what, err)
	}
}
