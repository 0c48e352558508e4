//go:build !race

package memcache_test

import (
	"errors"
	"testing"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestHotPathAllocations: a refused Get does not allocate.
func TestHotPathAllocations(t *testing.T) {
	down := downClient(t)
	if got := testing.AllocsPerRun(1000, func() {
		if _, err := down.Get(twentyBytes); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("a refused Get allocates %v times, want 0", got)
	}
}
