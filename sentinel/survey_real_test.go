package sentinel_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// A script promotes a real replica, and has the old primary replicate it. What the old one has
// acknowledged after the promotion nobody can keep: it is asked for its role ten times a second.
func TestAScriptPromotesARealReplica(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(pace *testutil.Pace) {
		a := redis.StartServer(t)
		b := redis.StartServer(t, redis.ServerOptions{ReplicaOf: a.Addr()})
		c, err := sentinel.New(t.Context(), nil, sentinel.Options{
			Names: []string{name}, Servers: []string{a.Addr(), b.Addr()}, HeartbeatTimeout: unhurried, DialTimeout: unhurried,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		l := startLedger(t, c, pace.Slower(8))
		for i, fresh := range []*redis.Server{b, a} {
			old := []*redis.Server{a, b}[i]
			eventually(t, fresh.Addr()+" in step", func() bool {
				role, err := fresh.Role(t.Context())
				return err == nil && !role.Primary && role.LinkUp && set(t.Context(), c, "step", "1") == nil
			})
			order(t, fresh, "NO", "ONE")
			promoted := time.Now()
			eventually(t, "followed to "+fresh.Addr(), func() bool { return c.Topology(name).Primary == fresh.Addr() })
			t.Logf("followed %v after the promotion", time.Since(promoted).Round(time.Millisecond))
			order(t, old, strings.Split(fresh.Addr(), ":")...)
			time.Sleep(time.Second)
		}
		if lost := l.lost(t); lost > 500 {
			pace.Errorf("%d of %d acknowledged writes are lost", lost, len(l.acked))
		}
		if at := c.Topology(name).Primary; at != a.Addr() {
			t.Errorf("in the end the primary is %s, want %s", at, a.Addr())
		}
	})
}

// order sends REPLICAOF.
func order(t *testing.T, s *redis.Server, to ...string) {
	t.Helper()
	conn, err := (radix.Dialer{}).Dial(context.Background(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Do(t.Context(), radix.Cmd(nil, "REPLICAOF", to...)); err != nil {
		t.Fatal(err)
	}
}
