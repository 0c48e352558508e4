package memcache_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// A machine without files, ports or memory for one more connection took its servers for down at the
// first dial, on Windows, whose numbers for that are not those of package syscall's names.
func TestAShortageOfThisMachineTripsNothing(t *testing.T) {
	for name, code := range map[string]syscall.Errno{
		"EMFILE": syscall.EMFILE, "EADDRNOTAVAIL": syscall.EADDRNOTAVAIL, "ENOBUFS": syscall.ENOBUFS,
		"WSAEMFILE": 10024, "WSAEADDRNOTAVAIL": 10049, "WSAENOBUFS": 10055,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
				var short atomic.Bool
				c, err := memcache.NewWithOptions(nil, memcache.Options{
					Servers: []string{"server:11211"},
					DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
						if short.Load() {
							return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connectex", code)}
						}
						return fake.Dial(ctx, network, address)
					},
				})
				check(t, err)
				defer func() { check(t, c.Close()) }()
				short.Store(true)
				for range 2 {
					if err := c.Ping(); !errors.Is(err, code) {
						t.Errorf("Ping = %v, want %v", err, code)
					}
				}
				if s := c.State("server:11211"); s != breaker.Closed {
					t.Errorf("the breaker is %v, want closed", s)
				}
				short.Store(false)
				check(t, c.Ping())
			})
		})
	}
}
