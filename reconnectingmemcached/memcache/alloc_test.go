//go:build !race

package memcache_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestHotPathAllocations: neither a refused Get nor the way of a healthy one to its server
// allocates.
func TestHotPathAllocations(t *testing.T) {
	down := downClient(t)
	if got := testing.AllocsPerRun(1000, func() {
		if _, err := down.Get(twentyBytes); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("a refused Get allocates %v times, want 0", got)
	}
	healthy := newClient(t, memcache.Options{Servers: []string{"127.0.0.1:1", "127.0.0.1:2"}, Gutter: memcache.Gutter{Expiration: time.Minute, Beacon: -1}})
	if got := testing.AllocsPerRun(1000, func() {
		if err := healthy.Choose(twentyBytes); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("the choice of a server allocates %v times, want 0", got)
	}
}
