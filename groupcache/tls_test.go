package groupcache_test

import (
	"crypto/tls"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// Frames go over HTTP/1.1, by a configuration of their own. It shared a list with that of the other
// requests and took "h2" out of both: once a connection for frames was lost, nothing more could be
// sent to a peer over TLS.
func TestAPeerOverTLSIsAskedOverHTTPOnceFramesEnd(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[h2], func(t *testing.T) {
			ca, s := testutil.NewAuthority(t), newSource()
			owner := startNode(t, s, nil)
			server := httptest.NewUnstartedServer(owner.instance.Handler())
			server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Here(t)}}
			server.EnableHTTP2 = h2
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that were cut
			server.StartTLS()
			defer server.Close()
			config := &tls.Config{RootCAs: ca.Pool}
			asker := startNode(t, s, func(o *groupcache.Options) { o.TLS = config })
			w := startWire(t, server.Listener.Addr().String())
			if err := asker.instance.SetPeers(strings.Replace(w.url(), "http:", "https:", 1)); err != nil {
				t.Fatal(err)
			}
			for range 4 {
				w.cutFrames(t, asker)
			}
			eventually(t, "the peer is in use, and unsteady", func() bool { return asker.instance.PeersUp() == 1 && asker.route() == "unsteady" })
			if v, err := get(t.Context(), asker.group, "a"); v != "value of a" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
			if n := owner.group.Stats.ServerRequests.Get(); n != 1 {
				t.Errorf("the peer has served %d requests, want 1", n)
			}
			if config.NextProtos != nil {
				t.Errorf("the user's configuration has got protocols: %q", config.NextProtos)
			}
		})
	}
}

func TestPeersProveThemselvesByCertificates(t *testing.T) {
	ca := testutil.NewAuthority(t)
	s := newSource()
	for _, c := range []struct {
		what   string
		certs  []tls.Certificate
		served bool
	}{
		{"with a certificate", []tls.Certificate{ca.Here(t)}, true},
		{"without one", nil, false},
		{"of another authority", []tls.Certificate{testutil.NewAuthority(t).Here(t)}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			owner := startNode(t, s, func(o *groupcache.Options) { o.RequireClientCert = true })
			server := httptest.NewUnstartedServer(owner.instance.Handler())
			server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Here(t)}, ClientCAs: ca.Pool, ClientAuth: tls.VerifyClientCertIfGiven}
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // of refused handshakes
			server.StartTLS()
			defer server.Close()
			client := startNode(t, s, func(o *groupcache.Options) { o.TLS = &tls.Config{RootCAs: ca.Pool, Certificates: c.certs} })
			if err := client.instance.SetPeers(server.URL); err != nil {
				t.Fatal(err)
			}
			if v, err := get(t.Context(), client.group, "a"); v != "value of a" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
			if got := owner.group.Stats.ServerRequests.Get() == 1; got != c.served {
				t.Errorf("served %v, want %v", got, c.served)
			}
		})
	}
	plain := startNode(t, s, func(o *groupcache.Options) { o.RequireClientCert = true })
	if a := ask(t, "GET", plain.url+"/_groupcache/g/a", nil); a.code != 401 {
		t.Errorf("without TLS: %d", a.code)
	}
}
