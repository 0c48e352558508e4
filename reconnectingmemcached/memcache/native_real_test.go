package memcache_test

import (
	"errors"
	"testing"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestNative: code that names gomemcache's type gets fast misses and errors while the server is
// down, and a working client after.
func TestNative(t *testing.T) {
	server := testutil.StartMemcached(t)
	c := newClient(t, memcache.Options{Servers: []string{server.Addr()}})
	native := c.Native()
	defer func() { _ = native.Close() }()
	if err := native.Set(&gomemcache.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "found down", func() bool { _, _ = native.Get("k"); return !c.Available() })
	if _, err := native.Get("k"); err != gomemcache.ErrCacheMiss { //nolint:errorlint // the very value.
		t.Errorf("Get while down = %v, want ErrCacheMiss", err)
	}
	if items, err := native.GetMulti([]string{"k"}); err != nil || len(items) != 0 {
		t.Errorf("GetMulti while down = %v, %v, want nothing and nil", items, err)
	}
	for name, err := range map[string]error{
		"Set": native.Set(&gomemcache.Item{Key: "k", Value: make([]byte, 100<<10)}), "Delete": native.Delete("k"), "Ping": native.Ping(),
	} {
		if !errors.Is(err, memcache.ErrServerDown) {
			t.Errorf("%s while down = %v, want ErrServerDown", name, err)
		}
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "healed", func() bool { // a Set that failed may delete what one that succeeds right after has stored
		if native.Set(&gomemcache.Item{Key: "k", Value: []byte("w")}) != nil {
			return false
		}
		for range 10 { // on a connection that had answered by itself while down
			if it, err := native.Get("k"); err != nil || string(it.Value) != "w" {
				return false
			}
		}
		return true
	})
}
