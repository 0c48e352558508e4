package sentinel_test

import (
	"context"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// A Dial, OnConnect or Credentials that ended its goroutine, as FailNow does in a dialer of a test,
// left a primary without a heartbeat for ever, and Close waiting for it. It is an error.
func TestTheUsersCodeMayEndItsGoroutine(t *testing.T) {
	for _, where := range []string{"Dial", "OnConnect", "Credentials", "AddrMap"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := redis.StartFakeCluster(t)
				var ends atomic.Bool
				end := func(here string) {
					if ends.Load() && here == where {
						runtime.Goexit()
					}
				}
				reach := sentinel.Endpoint{
					Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
						end("Dial")
						return cluster.Net.Dial(ctx, network, addr)
					},
					OnConnect: func(context.Context, string, radix.Conn) error {
						end("OnConnect")
						return nil
					},
					Credentials: func(context.Context, string) (user, password string, err error) {
						end("Credentials")
						return "", "", nil
					},
				}
				c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), sentinel.Options{
					Names: []string{name}, Server: reach, Sentinel: reach,
					AddrMap: func(addr string) string {
						end("AddrMap")
						return addr
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				ends.Store(true)
				if err := cluster.Primary().Kill(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				if err := cluster.Primary().Restart(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				ends.Store(false)
				time.Sleep(10 * time.Second)
				if err := set(t.Context(), c, "a", "1"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
