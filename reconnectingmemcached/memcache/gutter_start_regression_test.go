package memcache_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestAServerThatFallsToTheFirstBeacon: the goroutine that asks for beacons was begun before the
// client had its gutter, and may be the first to find a server down. It read the gutter without an
// order between the two, which the race detector tells.
func TestAServerThatFallsToTheFirstBeacon(t *testing.T) {
	t.Parallel()
	c := newClient(t, memcache.Options{
		Servers: []string{"127.0.0.1:1", "127.0.0.1:2"}, Gutter: memcache.Gutter{Expiration: time.Second, Beacon: time.Millisecond},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") },
	})
	for end := time.Now().Add(20 * time.Second); c.Available(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("servers that cannot be dialled are not found down")
		}
	}
}
