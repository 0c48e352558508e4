package memcache_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestACopyWhoseDeletionIsRefused tells of a holder that answered the deletion of a copy with an
// error line: the copy was read after that, by the process that had deleted the key. A copy that
// waits for its deletion was read by GetMulti, though not by Get.
func TestACopyWhoseDeletionIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(30))
		p := f.newProcess(0, withGutter())
		p.fill()
		check(t, f.fakes[0].Kill())
		var keys []string
		for key := range f.keys.sums {
			if owner, err := p.client.Owner(name(key)); err == nil && owner == f.fakes[0].Addr() {
				keys = append(keys, name(key))
			}
		}
		for range 2 { // the first finds it down
			for _, key := range keys {
				_ = p.client.Set(&memcache.Item{Key: key, Value: []byte("old")})
			}
		}
		if items, err := p.client.GetMulti(keys); err != nil || len(items) != len(keys) || len(keys) == 0 {
			t.Fatalf("%d copies of %d keys, %v", len(items), len(keys), err)
		}
		for _, fake := range f.fakes[1:] {
			fake.SetFault(testutil.OnVerbs(testutil.ServerError("out of memory"), "delete"))
		}
		for _, key := range keys {
			if err := p.client.Delete(key); !errors.Is(err, memcache.ErrServerDown) {
				t.Errorf("Delete(%q) = %v", key, err)
			}
		}
		look := func() {
			t.Helper()
			if items, err := p.client.GetMulti(keys); err != nil || len(items) > 0 {
				t.Errorf("GetMulti = %d items, %v, of keys that were deleted", len(items), err)
			}
			for _, key := range keys {
				if it, err := p.client.Get(key); !errors.Is(err, memcache.ErrCacheMiss) {
					t.Errorf("Get(%q) = %v, %v after its deletion", key, it, err)
				}
			}
		}
		look()
		for _, fake := range f.fakes[1:] {
			fake.SetFault(nil)
		}
		time.Sleep(5 * time.Second)
		look()
		check(t, p.client.Close())
	})
}

// TestAGutterOfOneCallAtATime tells of a client with MaxInFlight 1, half of which was room for no
// copy at all.
func TestAGutterOfOneCallAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := withGutter()
		o.MaxInFlight = 1
		c := newFleet(t, newZipf(1)).newProcess(0, o).client
		defer func() { check(t, c.Close()) }()
		check(t, c.Set(&memcache.Item{Key: "k"}))
		owner, err := c.Owner("k")
		check(t, err)
		c.ForceDown(owner)
		time.Sleep(time.Second) // its beacons are gutter calls, too
		check(t, c.Set(&memcache.Item{Key: "k", Value: []byte("v")}))
		time.Sleep(time.Second)
		if it, err := c.Get("k"); err != nil || string(it.Value) != "v" {
			t.Errorf("Get = %+v, %v, want the copy", it, err)
		}
	})
}
