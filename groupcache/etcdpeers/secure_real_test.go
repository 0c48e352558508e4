package etcdpeers_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// certify makes a certificate for this machine and returns the files of it and its key, and the
// pool of those who trust it.
func certify(t *testing.T) (certFile, keyFile string, trust *x509.CertPool) {
	t.Helper()
	ca := testutil.NewAuthority(t)
	c := ca.Here(t)
	secret, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	check(t, err)
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(t.TempDir(), name)
		check(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600))
		return path
	}
	return write("cert.pem", "CERTIFICATE", c.Certificate[0]), write("key.pem", "PRIVATE KEY", secret), ca.Pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile, trust := certify(t)
	e := testutil.StartEtcd(t, testutil.EtcdOptions{CertFile: certFile, KeyFile: keyFile})
	with := func(pool *x509.CertPool) func(*etcdpeers.Options) {
		return func(o *etcdpeers.Options) { o.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12} }
	}
	for _, endpoint := range []string{e.Addr(), e.URL()} {
		n := start(t, endpoint, a, with(trust))
		n.awaitPeers(t, a)
		n.awaitGood(t)
		check(t, n.Close())
	}
	stranger := start(t, e.Addr(), b, with(x509.NewCertPool()))
	if s := stranger.Stats(); s.Connected || s.Err == nil || !strings.Contains(s.Err.Error(), "certificate") || len(s.Peers) != 0 {
		t.Errorf("with a certificate that it does not trust: %+v", s)
	}
}

// protect makes etcd ask for passwords. The user may use the keys of the service and no others.
func protect(t *testing.T, e *testutil.Etcd, user, password string) {
	t.Helper()
	client, ctx := connect(t, e.Addr()), t.Context()
	last := service + "0" // comes after all keys that begin with the service and a slash
	for _, do := range []func() error{
		func() error { _, err := client.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := client.RoleAdd(ctx, "root"); return err },
		func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := client.UserAdd(ctx, user, password); return err },
		func() error { _, err := client.RoleAdd(ctx, "peers"); return err },
		func() error { _, err := client.UserGrantRole(ctx, user, "peers"); return err },
		func() error {
			_, err := client.RoleGrantPermission(ctx, "peers", service+"/", last, clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		check(t, do())
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	protect(t, e, "cache", "open sesame")
	as := func(password string) func(*etcdpeers.Options) {
		return func(o *etcdpeers.Options) { o.Username, o.Password = "cache", password }
	}
	first, second := start(t, e.Addr(), a, as("open sesame")), start(t, e.Addr(), b, as("open sesame"))
	first.awaitPeers(t, a, b)
	second.awaitGood(t)
	check(t, second.Close())
	first.awaitPeers(t, a)
	stranger := start(t, e.Addr(), c, as("open barley"))
	if s := stranger.Stats(); s.Connected || s.Err == nil || !strings.Contains(s.Err.Error(), "authentication failed") {
		t.Errorf("with a wrong password: %+v", s)
	}
	if strings.Contains(stranger.log.String()+first.log.String(), "open ") {
		t.Error("a password was logged")
	}
	check(t, stranger.Close())

	check(t, e.Kill())
	late := start(t, e.Addr(), c, as("open sesame")) // a client with a password cannot be made now
	if s := late.Stats(); s.Connected || s.Err == nil {
		t.Errorf("without etcd: %+v", s)
	}
	check(t, e.Restart())
	both := func() {
		t.Helper()
		for _, n := range []*node{first, late} {
			n.awaitPeers(t, a, c)
			n.awaitGood(t)
		}
	}
	both()
	check(t, e.RestartEmpty()) // it has forgotten whom it has let in
	protect(t, e, "cache", "open sesame")
	both()
	put(t, connect(t, e.Addr(), func(o *clientv3.Config) { o.Username, o.Password = "root", "secret" }), service+"/"+b, value(b))
	first.awaitPeers(t, a, b, c)
	check(t, e.Kill())
	began := time.Now()
	never := start(t, e.Addr(), b, as("open sesame"))
	check(t, never.Close())
	if took := time.Since(began); took > patience {
		t.Errorf("Watch and Close took %v", took)
	}
}
