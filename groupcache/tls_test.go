package groupcache_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// authority signs certificates of peers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	c := a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate; the first one, of the authority, is signed by itself.
func (a *authority) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "peer"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestPeersProveThemselvesByCertificates(t *testing.T) {
	ca := newAuthority(t)
	s := newSource()
	for _, c := range []struct {
		what   string
		certs  []tls.Certificate
		served bool
	}{
		{"with a certificate", []tls.Certificate{ca.sign(t, &x509.Certificate{})}, true},
		{"without one", nil, false},
		{"of another authority", []tls.Certificate{newAuthority(t).sign(t, &x509.Certificate{})}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			owner := startNode(t, s, func(o *groupcache.Options) { o.RequireClientCert = true })
			server := httptest.NewUnstartedServer(owner.instance.Handler())
			server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.sign(t, &x509.Certificate{})}, ClientCAs: ca.pool, ClientAuth: tls.VerifyClientCertIfGiven}
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // of refused handshakes
			server.StartTLS()
			defer server.Close()
			client := startNode(t, s, func(o *groupcache.Options) { o.TLS = &tls.Config{RootCAs: ca.pool, Certificates: c.certs} })
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
