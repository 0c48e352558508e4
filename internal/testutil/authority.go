package testutil

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"time"
)

// Authority signs certificates for one test. NewAuthority makes one.
type Authority struct {
	// Pool trusts its certificates.
	Pool *x509.CertPool

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority.
func NewAuthority(tb TB) *Authority {
	tb.Helper()
	a := &Authority{Pool: x509.NewCertPool()}
	c, key := a.sign(tb, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = c.Leaf, key
	a.Pool.AddCert(a.cert)
	return a
}

// DER returns the authority's own certificate.
func (a *Authority) DER() []byte { return a.cert.Raw }

// Here makes a certificate of a server and client on 127.0.0.1, for an hour.
func (a *Authority) Here(tb TB) tls.Certificate {
	tb.Helper()
	c, _ := a.sign(tb, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	return c
}

// Named makes a certificate of a server and client of a name, for an hour.
func (a *Authority) Named(tb TB, name string) tls.Certificate {
	tb.Helper()
	c, _ := a.sign(tb, &x509.Certificate{DNSNames: []string{name}})
	return c
}

// Expired makes a certificate as Here does, which has expired a minute ago.
func (a *Authority) Expired(tb TB) tls.Certificate {
	tb.Helper()
	c, _ := a.sign(tb, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(-time.Minute)})
	return c
}

// sign makes a certificate and its key; the first one, of the authority, is signed by itself.
func (a *Authority) sign(tb TB, template *x509.Certificate) (tls.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("testutil: a key for a certificate: %v", err)
	}
	now := time.Now()
	template.SerialNumber, template.Subject = big.NewInt(now.UnixNano()), pkix.Name{CommonName: "of a test"}
	template.NotBefore = now.Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = now.Add(time.Hour)
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		tb.Fatalf("testutil: a certificate: %v", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("testutil: a certificate: %v", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, key
}
