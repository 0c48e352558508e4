package memcache_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestServersAreToldOnce is about lists that do not all fit the item which tells of them, and about
// one that others do not believe. Servers seemed not to have them, and each process stored the item
// on each of them again and again, up to 256 KiB at a time.
func TestServersAreToldOnce(t *testing.T) {
	t.Parallel()
	names := make([]string, 140)
	for i := range names {
		names[i] = fmt.Sprintf("%03d%s:11211", i, strings.Repeat("x", 250))
	}
	const alive = 10
	var long [][]string
	for i := range alive {
		long = append(long, names[i:i+130])
	}
	for what, lists := range map[string][][]string{
		"too long": long, "not believed": {names[:120], names[alive : alive+1]},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true, Addr: names[alive]})
				dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
					if addr == fake.Addr() {
						return fake.Dial(ctx, network, addr)
					}
					return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded} // those are probed less often
				}
				source := &list{names: lists[0]}
				c, err := memcache.NewWithOptions(nil, memcache.Options{Source: source, SourceInterval: time.Second, DialContext: dial, Hash: memcache.Rendezvous})
				check(t, err)
				_ = c.Ping()
				for i, names := range lists {
					source.set(nil, names...)
					for c.ListStats().Changes <= uint64(i) { //nolint:gosec // few.
						time.Sleep(time.Second)
					}
				}
				time.Sleep(5 * time.Second)
				before := fake.Stats().Commands["set"]
				time.Sleep(10 * time.Second)
				if n := fake.Stats().Commands["set"] - before; n > 0 {
					t.Errorf("a server is told %d times of what it has", n)
				}
				check(t, c.Close())
			})
		})
	}
}
