package groupcache_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	peers "github.com/holdfast-go/holdfast/groupcache/internal/cluster"
)

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

// Close implements net.Conn.
func (c *counted) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// A process that hangs takes connections yet. Those over TLS waited for its handshake without end,
// and each question whether it is back made another one.
func TestHandshakesThatHangEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int64
		transport := peers.NewTransport(&tls.Config{ServerName: "x"})
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			open.Add(1)
			go func() { // the system has room for the request
				b := make([]byte, 4<<10)
				for {
					if _, err := there.Read(b); err != nil {
						return
					}
				}
			}()
			return &counted{Conn: here, open: &open}, nil
		}
		i, err := groupcache.New(groupcache.Options{Transport: func(context.Context) http.RoundTripper { return transport }})
		if err != nil {
			t.Fatal(err)
		}
		if err := i.SetPeers("https://10.0.0.1:8000"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if n := open.Load(); n == 0 || n > 10 {
			t.Errorf("%d connections are open", n)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if n := open.Load(); n > 0 {
			t.Errorf("%d connections are open after Close", n)
		}
	})
}
