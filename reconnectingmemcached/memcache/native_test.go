package memcache_test

import (
	"errors"
	"testing"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestNativeDeletesWhatItMissed: neither a value that was deleted in an outage nor one whose Set
// failed is read after it.
func TestNativeDeletesWhatItMissed(t *testing.T) {
	proxied(t, memcache.Options{}, func(t *testing.T, server *testutil.Fake, c *memcache.Client) {
		native := c.Native()
		defer func() { _ = native.Close() }()
		large := make([]byte, 100<<10)
		for _, key := range []string{"deleted", "set", "large"} {
			check(t, native.Set(&gomemcache.Item{Key: key, Value: []byte("old")}))
		}
		check(t, server.Hang())
		for what, err := range map[string]error{
			"Set":   native.Set(&gomemcache.Item{Key: "set", Value: []byte("new")}),
			"large": native.Set(&gomemcache.Item{Key: "large", Value: large}),
		} {
			if err == nil {
				t.Errorf("%s while the server hangs = nil", what)
			}
		}
		for c.Available() {
			_, _ = native.Get("k")
		}
		if err := native.Delete("deleted"); !errors.Is(err, memcache.ErrServerDown) {
			t.Errorf("Delete while down = %v, want ErrServerDown", err)
		}
		check(t, server.Release())
		time.Sleep(5 * time.Second)
		if st := c.Stats()[server.Addr()]; st.State != breaker.Closed || st.MissedInvalidations > 0 {
			t.Fatalf("5 s after its return: %+v", st)
		}
		for _, key := range []string{"deleted", "set", "large"} {
			if it, err := native.Get(key); !errors.Is(err, gomemcache.ErrCacheMiss) {
				t.Errorf("Get(%q) after the outage = %v, %v, want a miss", key, it, err)
			}
		}
	})
}
