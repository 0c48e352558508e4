package autorefresh_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

func TestLeaseOfAProcessThatIsGoneEnds(t *testing.T) {
	s := newSource()
	store := leasing{newShared()}
	inBubble(t, options{Period: time.Minute, Timeout: 3 * time.Second, Store: store}, s.refresh, func(t *testing.T, c *cache) {
		_, _ = store.Lease(t.Context(), []string{"1"}, 2*time.Second)
		begin := time.Now()
		if v, err := c.Load(t.Context(), 1); v != 1 || err != nil {
			t.Errorf("Load(1) = %d, %v, want 1", v, err)
		}
		if d := time.Since(begin); d < 2*time.Second || d > 3*time.Second {
			t.Errorf("Load(1) took %v, want until the lease ended", d)
		}
	})
}

// begunCall has a call for key 1 under way, with its lease.
func begunCall(t *testing.T, s *source, store leasing, test func(t *testing.T, c *cache)) {
	t.Helper()
	s.cost = time.Second
	o := options{Period: time.Minute, Timeout: 10 * time.Minute, Store: store, First: autorefresh.FirstImmediate}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(500 * time.Millisecond)
		if len(store.leases) != 1 {
			t.Fatalf("leases %v while a call is under way, want one", store.leases)
		}
		test(t, c)
		if len(store.leases) != 0 {
			t.Errorf("leases %v, want none", store.leases)
		}
	})
}

func TestLeaseOfAnOutageEndsWithIt(t *testing.T) {
	store := leasing{newShared()}
	begunCall(t, newSource(), store, func(t *testing.T, c *cache) {
		store.setDown(errDown)
		settle(5 * time.Second)
		if len(store.leases) != 1 {
			t.Errorf("leases %v while the store is down, want one", store.leases)
		}
		store.setDown(nil)
		if _, err := c.Load(t.Context(), 2); err != nil { // finds the store back
			t.Error(err)
		}
	})
}

func TestLeaseEndsWithClose(t *testing.T) {
	store := leasing{newShared()}
	begunCall(t, newSource(), store, func(t *testing.T, c *cache) { mustClose(t, c) })
}
