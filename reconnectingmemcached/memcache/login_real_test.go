package memcache_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// passwords are what Options.Credentials returns, one after the other; the last stays.
type passwords struct {
	mu    sync.Mutex
	next  []string // guarded by mu
	asked int      // guarded by mu
}

func (p *passwords) credentials(context.Context, string) (user, password string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	password = p.next[0]
	if p.asked++; len(p.next) > 1 {
		p.next = p.next[1:]
	}
	return "user", password, nil
}

func (p *passwords) total() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func startWithPassword(t *testing.T, password string) *bareServer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(file, []byte("user:"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return startBare(t, new(net.Dialer).DialContext, "-Y", file)
}

// TestLoginWithRealServer: every connection of a client logs in: the shared one, those of large
// values, of probes, of deletions, and of Native. A password that was replaced is asked for again,
// and one that is wrong is told, also by reads.
func TestLoginWithRealServer(t *testing.T) {
	server := startWithPassword(t, "right")
	t.Run("rotated", func(t *testing.T) {
		secret := &passwords{next: []string{"old", "right"}}
		c := newClient(t, memcache.Options{Servers: []string{server.addr}, Credentials: secret.credentials})
		if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil || secret.total() != 2 {
			t.Errorf("Set = %v after credentials were asked for %d times, want nil after 2", err, secret.total())
		}
	})
	t.Run("wrong", func(t *testing.T) {
		c := newClient(t, memcache.Options{Servers: []string{server.addr}, Credentials: (&passwords{next: []string{"wrong"}}).credentials})
		for range 2 { // the second is refused: the server is taken for down
			if it, err := c.Get("k"); !errors.Is(err, memcache.ErrAuth) || !errors.Is(err, memcache.ErrServerDown) {
				t.Errorf("Get = %v, %v, want a *ServerDownError for ErrAuth", it, err)
			}
			if items, err := c.GetMulti([]string{"k"}); !errors.Is(err, memcache.ErrAuth) {
				t.Errorf("GetMulti = %v, %v, want ErrAuth", items, err)
			}
		}
	})
	t.Run("all connections", func(t *testing.T) {
		secret := &passwords{next: []string{"right"}}
		c := newClient(t, memcache.Options{Servers: []string{server.addr}, Credentials: secret.credentials})
		large := &memcache.Item{Key: "large", Value: make([]byte, memcache.LargeValue+1)}
		native := c.Native()
		defer func() { _ = native.Close() }()
		if err := errors.Join(c.Ping(), c.Set(large), native.Set(&gomemcache.Item{Key: "n", Value: []byte("v")})); err != nil {
			t.Fatal(err)
		}
		server.stop()
		eventually(t, "found down", func() bool { return c.Delete("k") != nil && !c.Available() })
		server.start(t, new(net.Dialer).DialContext)
		eventually(t, "healed", c.Available)
		eventually(t, "replayed", func() bool { return c.Stats()[server.addr].Replayed > 0 })
		if err := errors.Join(c.Ping(), c.Set(large)); err != nil {
			t.Error(err)
		}
		eventually(t, "Native healed", func() bool { return native.Set(&gomemcache.Item{Key: "n", Value: []byte("v")}) == nil })
	})
}

// TestCredentialsOfAServerThatAsksForNone: it takes the login for a value, which is not to be read
// by anybody.
func TestCredentialsOfAServerThatAsksForNone(t *testing.T) {
	server := testutil.StartMemcached(t)
	c := newClient(t, memcache.Options{Servers: []string{server.Addr()}, Credentials: (&passwords{next: []string{"secret"}}).credentials})
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
	if it, err := c.Get(memcache.AuthKey); err != memcache.ErrCacheMiss { //nolint:errorlint // the very value.
		t.Errorf("Get of the login's key = %v, %v, want ErrCacheMiss", it, err)
	}
}
