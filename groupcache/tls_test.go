package groupcache_test

import (
	"crypto/tls"
	"io"
	"log"
	"net/http/httptest"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

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
