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

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// startSecure runs a real memcached that speaks TLS, if the one here can.
func startSecure(t *testing.T) (addr string, dial dialFunc) {
	t.Helper()
	path, err := testutil.FindMemcached()
	if err != nil {
		testutil.Missing(t, "memcached", err)
	}
	authority := testutil.NewAuthority(t)
	chain, key := writePair(t, authority.Here(t))
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = listener.Close()
	args := []string{"-l", "127.0.0.1", "-p", port, "-U", "0", "-Z", "-o", "ssl_chain_cert=" + chain + ",ssl_key=" + key}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	var said lockedBuffer
	server := exec.CommandContext(t.Context(), path, args...) //nolint:gosec // memcached, as it was found.
	server.Stderr, server.Stdout = &said, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { _ = server.Wait(); close(gone) }()
	t.Cleanup(func() { _ = server.Process.Kill(); <-gone })
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: authority.Pool, MinVersion: tls.VersionTLS12}}
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		conn, err := dialer.DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = conn.Close()
			return addr, dialer.DialContext
		}
		if ended(gone) {
			break
		}
	}
	if text := said.String(); strings.Contains(text, "Illegal") || strings.Contains(text, "invalid option") || strings.Contains(text, "unknown option") {
		testutil.Missing(t, "a memcached with TLS", errors.New(text))
	}
	t.Fatalf("memcached does not speak TLS at %s: %s", addr, said.String())
	return "", nil
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

// TestTLSWithRealServer tells of the large Set over TLS that had no reply: memcached forgot the command behind the value, which had
// come in the same record.
func TestTLSWithRealServer(t *testing.T) {
	addr, dial := startSecure(t)
	c := newClient(t, memcache.Options{Servers: []string{addr}, DialContext: dial, Timeout: 5 * time.Second})
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
