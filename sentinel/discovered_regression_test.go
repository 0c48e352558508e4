package sentinel_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// The sentinels' password went to any server that a sentinel named. Now it goes to those that the
// user gave, and to others only if he says so.
func TestDiscoveredSentinelsGetNoPasswordUnasked(t *testing.T) {
	for what, trust := range map[string]bool{"by default": false, "if told": true} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := redis.StartFakeCluster(t, redis.FakeClusterOptions{Sentinel: redis.FakeSentinelOptions{Password: "secret"}})
				o := sentinel.Options{Names: []string{name}, TrustDiscovered: trust}
				o.Server.Dial, o.Sentinel.Dial, o.Sentinel.Password = cluster.Net.Dial, cluster.Net.Dial, "secret"
				c, err := sentinel.New(t.Context(), cluster.SentinelAddrs()[:1], o)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				time.Sleep(5 * time.Second)
				want := 1
				if trust {
					want = 3
				}
				if s := c.Stats(); s.SentinelsKnown != 3 || s.SentinelsUp != want {
					t.Errorf("%d of %d sentinels answer, want %d of 3", s.SentinelsUp, s.SentinelsKnown, want)
				}
			})
		})
	}
}

// An address that was never a sentinel's was dialled 26 times a second, for ever.
func TestASentinelThatWasNeverReachedIsTriedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := redis.StartFakeCluster(t, redis.FakeClusterOptions{})
		const nobody = "10.0.9.9:26379"
		var mu sync.Mutex
		dials := 0
		o := sentinel.Options{Names: []string{name}}
		o.Server.Dial = cluster.Net.Dial
		o.Sentinel.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == nobody {
				mu.Lock()
				dials++
				mu.Unlock()
			}
			return cluster.Net.Dial(ctx, network, addr)
		}
		c, err := sentinel.New(t.Context(), append(cluster.SentinelAddrs(), nobody), o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(10 * time.Second)
		mu.Lock()
		dials = 0
		mu.Unlock()
		time.Sleep(60 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if dials < 30 || dials > 180 { // two loops, each every 2 s and a half at most
			t.Errorf("%d dials in a minute", dials)
		}
	})
}
