package groupcache_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	peers "github.com/holdfast-go/holdfast/groupcache/internal/cluster"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// deaf is a connection whose other end hears nothing any more once it is told so, and is not told
// that.
type deaf struct {
	net.Conn
	is *atomic.Bool
}

// Write implements net.Conn.
func (d deaf) Write(b []byte) (int, error) {
	if d.is.Load() {
		return len(b), nil
	}
	return d.Conn.Write(b)
}

// A connection of HTTP/1.1 ends with a request that is given up. One of HTTP/2 goes on: after it
// had died without a word the peer was asked on it again and again, and not used, until the system
// gave it up after a quarter of an hour.
func TestAConnectionOverTLSThatHasDiedIsReplaced(t *testing.T) {
	for what, adapt := range map[string]func(*groupcache.Options){"by frames": hasty, "over HTTP": byHTTP(hasty)} {
		for _, protocol := range []string{"http/1.1", "h2"} {
			t.Run(what+", "+protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { replaceDead(t, protocol, adapt) })
			})
		}
	}
}

func replaceDead(t *testing.T, protocol string, adapt func(*groupcache.Options)) {
	t.Helper()
	ca, s := testutil.NewAuthority(t), newSource()
	owner, asker, cut := overTLS(t, ca, s, protocol, adapt)
	eventually(t, "the peer is known", func() bool { return asker.Acquainted() && asker.Explored() })
	g, err := asker.NewGroup("g", 1<<20, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), g, "a"); err != nil {
		t.Fatal(err)
	}
	served := &owner.Group("g").Stats.ServerRequests
	if served.Get() != 1 {
		t.Fatal("the peer is not asked: nothing is tested")
	}
	cut()
	began := time.Now()
	for i := 0; served.Get() == 1; i++ {
		key := fmt.Sprint("key ", i)
		if v, err := get(t.Context(), g, key); err != nil || v != "value of "+key {
			t.Fatalf("%q, %v", v, err)
		}
		time.Sleep(10 * time.Millisecond)
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("after %v the peer is not asked again", took)
		}
	}
}

// overTLS starts an instance that is asked over TLS, and one that asks it by the default transport.
// Cut has the connections die that there are.
func overTLS(t *testing.T, ca *testutil.Authority, s groupcache.Getter, protocol string, adapt func(*groupcache.Options)) (owner, asker *groupcache.Instance, cut func()) {
	t.Helper()
	l := newPipeListener(net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8000})
	owner, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.NewGroup("g", 1<<20, s); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: owner.Handler(), ReadHeaderTimeout: time.Hour, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.Here(t)}, NextProtos: []string{protocol, "http/1.1"}},
	}
	go func() { _ = server.ServeTLS(l, "", "") }()
	transport := peers.NewTransport(&tls.Config{RootCAs: ca.Pool, ServerName: "127.0.0.1"})
	var dead atomic.Pointer[atomic.Bool]
	dead.Store(new(atomic.Bool))
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		is := dead.Load()
		conn, err := pipes{address: l}.dial(ctx, network, address)
		return deaf{conn, is}, err
	}
	o := groupcache.Options{Transport: func(context.Context) http.RoundTripper { return transport }}
	adapt(&o)
	if asker, err = groupcache.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = asker.Close()
		transport.CloseIdleConnections()
		_ = owner.Close()
		_ = server.Close()
		time.Sleep(time.Minute) // net/http lingers
	})
	if err := asker.SetPeers("https://" + l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	return owner, asker, func() { dead.Swap(new(atomic.Bool)).Store(true) }
}
