package memcache_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestStuckConnectionToRealServer is TestOneStuckConnection with a real server and real sockets: a
// fresh connection is asked before the server is taken out of use. The way is far, so that a busy
// machine has time to answer.
func TestStuckConnectionToRealServer(t *testing.T) {
	testutil.AtSomePace(t, func(p *testutil.Pace) {
		server := testutil.StartMemcached(t)
		proxy := testutil.StartProxy(t, server.Addr())
		proxy.SetDelay(p.Longer(100 * time.Millisecond))
		c := newClient(t, memcache.Options{Servers: []string{proxy.Addr()}, Timeout: p.Longer(2 * time.Second), ReportUnavailable: true})
		if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
			p.Errorf("Set: %v", err)
			return
		}
		for range 2 {
			if err := proxy.Stall(); err != nil {
				t.Fatal(err)
			}
			var callers sync.WaitGroup
			failed := make([]error, 16)
			for i := range failed {
				callers.Go(func() { _, failed[i] = c.Get("k") })
			}
			callers.Wait()
			if err := errors.Join(failed...); err != nil {
				p.Errorf("Gets while one connection is stuck = %.300v, want hits by another", err)
			}
		}
		if st := c.Stats()[proxy.Addr()]; st.State != breaker.Closed || st.Refused > 0 {
			p.Errorf("one stuck connection took a healthy server out of use: %+v", st)
		}
	})
}
