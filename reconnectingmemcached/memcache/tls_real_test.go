package memcache_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// bareServer is a real memcached that StartMemcached cannot tell to be up, because it speaks to
// few.
type bareServer struct {
	addr string
	args []string
	said lockedBuffer
	stop func()
}

// startBare runs a real memcached with these arguments, until the test ends, and waits until dial
// can reach it.
func startBare(t *testing.T, dial dialFunc, args ...string) *bareServer {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &bareServer{addr: listener.Addr().String()}
	_, port, _ := net.SplitHostPort(s.addr)
	_ = listener.Close()
	s.args = append([]string{"-l", "127.0.0.1", "-p", port, "-U", "0"}, args...)
	if os.Getuid() == 0 {
		s.args = append(s.args, "-u", "root")
	}
	s.start(t, dial)
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *bareServer) start(t *testing.T, dial dialFunc) {
	t.Helper()
	path, err := testutil.FindMemcached()
	if err != nil {
		testutil.Missing(t, "memcached", err)
	}
	process := exec.Command(path, s.args...) //nolint:gosec,noctx // memcached, as it was found; it outlives a test's context.
	process.Stderr, process.Stdout = &s.said, &s.said
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { _ = process.Wait(); close(gone) }()
	s.stop = func() { _ = process.Process.Kill(); <-gone }
	for began := time.Now(); time.Since(began) < 10*time.Second && !ended(gone); time.Sleep(5 * time.Millisecond) {
		if conn, err := dial(t.Context(), "tcp", s.addr); err == nil {
			_ = conn.Close()
			return
		}
	}
	s.stop()
	if text := s.said.String(); strings.Contains(text, "Illegal") || strings.Contains(text, "invalid option") || strings.Contains(text, "unknown option") {
		testutil.Missing(t, "a memcached with TLS and passwords", errors.New(text))
	}
	t.Fatalf("memcached does not answer at %s: %s", s.addr, s.said.String())
}

// startSecure runs a real memcached that speaks TLS, if the one here can.
func startSecure(t *testing.T) (addr string, config *tls.Config) {
	t.Helper()
	authority := testutil.NewAuthority(t)
	chain, key := writePair(t, authority.Here(t))
	config = &tls.Config{RootCAs: authority.Pool, MinVersion: tls.VersionTLS12}
	dialer := &tls.Dialer{Config: config}
	return startBare(t, dialer.DialContext, "-Z", "-o", "ssl_chain_cert="+chain+",ssl_key="+key).addr, config
}

// writePair writes a certificate and its key where memcached reads them.
func writePair(t *testing.T, pair tls.Certificate) (chain, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	chain, key = filepath.Join(folder, "chain.pem"), filepath.Join(folder, "key.pem")
	for name, block := range map[string]*pem.Block{
		chain: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return chain, key
}

// TestTLSWithRealServer tells of the large Set over TLS that had no reply: memcached forgot the
// command behind the value, which had come in the same record.
func TestTLSWithRealServer(t *testing.T) {
	addr, config := startSecure(t)
	ownDialer := &tls.Dialer{Config: config}
	for name, o := range map[string]memcache.Options{
		"Options.TLS":         {Servers: []string{addr}, TLS: config, Timeout: 5 * time.Second},
		"Options.DialContext": {Servers: []string{addr}, DialContext: ownDialer.DialContext, Timeout: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) { storeSizes(t, newClient(t, o)) })
	}
	t.Run("another authority", func(t *testing.T) {
		c := newClient(t, memcache.Options{Servers: []string{addr}, TLS: &tls.Config{MinVersion: tls.VersionTLS12}})
		for range 2 { // the second is refused: the server is taken for down
			if it, err := c.Get("k"); !errors.As(err, new(x509.UnknownAuthorityError)) || !errors.Is(err, memcache.ErrServerDown) {
				t.Errorf("Get = %v, %v, want a *ServerDownError that names the certificate", it, err)
			}
		}
	})
	t.Run("Native", func(t *testing.T) {
		native := newClient(t, memcache.Options{Servers: []string{addr}, TLS: config}).Native()
		defer func() { _ = native.Close() }()
		if err := native.Set(&gomemcache.Item{Key: "native", Value: []byte("v")}); err != nil {
			t.Error(err)
		}
	})
}

func storeSizes(t *testing.T, c *memcache.Client) {
	for _, size := range []int{0, 100, 10 << 10, 20 << 10, memcache.LargeValue, memcache.LargeValue + 1, 100 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			start := time.Now()
			var sets sync.WaitGroup
			for i := range 16 {
				sets.Go(func() {
					key := fmt.Sprint("k", size, ".", i)
					if err := c.Set(&memcache.Item{Key: key, Value: make([]byte, size)}); err != nil {
						t.Errorf("Set: %v", err)
						return
					}
					if it, err := c.Get(key); err != nil || len(it.Value) != size {
						t.Errorf("Get: %v", err)
					}
				})
			}
			sets.Wait()
			t.Logf("16 Sets and Gets of %d bytes in %v", size, time.Since(start))
		})
	}
}
