package sentinel_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// certificate makes one that is good for 127.0.0.1, and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	ca := testutil.NewAuthority(t)
	return ca.Here(t), ca.Pool
}

// tunnel takes TLS connections for a server that speaks none, and returns its address.
func tunnel(t *testing.T, target string, c tls.Certificate) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c}})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", target)
			if err != nil {
				_ = from.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
				running.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

// guestOverTLS opens a Dialer's connection, which is encrypted with the options of the servers, and
// logs in there.
func guestOverTLS(t *testing.T, c *sentinel.Client) *guest {
	t.Helper()
	conn, err := c.Dialer(name).DialContext(t.Context(), "tcp", "nobody:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(unhurried)); err != nil {
		t.Fatal(err)
	}
	g := &guest{T: t, Conn: conn, in: bufio.NewReader(conn)}
	g.mustSay("+OK", "AUTH", "of the servers")
	g.mustSay("+OK", "SET", "guest", "1")
	return g
}

// Servers and sentinels have certificates, and logins, of their own, and so have those that a
// Dialer's connections lead to.
func TestTLSAndLoginsAreApart(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute, Password: "of the servers", SentinelPassword: "of the sentinels"})
	serverCert, serverPool := certificate(t)
	sentinelCert, sentinelPool := certificate(t)
	mapped := make(map[string]string)
	for _, s := range cluster.Servers(name) {
		mapped[s.Addr()] = tunnel(t, s.Addr(), serverCert)
	}
	for _, addr := range cluster.SentinelAddrs() {
		mapped[addr] = tunnel(t, addr, sentinelCert)
	}
	o := sentinel.Options{
		Names:    []string{name},
		Server:   sentinel.Endpoint{TLS: &tls.Config{RootCAs: serverPool}, Username: "default", Password: "of the servers"},
		Sentinel: sentinel.Endpoint{TLS: &tls.Config{RootCAs: sentinelPool}, Password: "of the sentinels"},
		AddrMap:  func(addr string) string { return mapped[addr] },
		Protocol: 3, HeartbeatTimeout: unhurried, DialTimeout: unhurried,
	}
	c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := startLedger(t, c, 4)
	replicate(t, c)
	before := guestOverTLS(t, c)
	old := present(t, cluster)
	failOver(t, cluster, old)
	settle(t, cluster, c, old)
	if err := before.say("PING"); !errors.Is(err, sentinel.ErrNotSent) {
		t.Errorf("a Dialer's connection to the server of before: %v, want ErrNotSent", err)
	}
	guestOverTLS(t, c)
	if lost := l.lost(t); lost == len(l.acked) { // some may be, on a busy machine
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(l.acked))
	}
	o.Server.TLS = &tls.Config{RootCAs: sentinelPool} // the wrong one
	o.StartDown = false
	_, err = sentinel.New(t.Context(), cluster.SentinelAddrs(), o)
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with a certificate that is not trusted: %v", err)
	}
}
