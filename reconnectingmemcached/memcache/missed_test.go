package memcache_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// outage kills the fake behind a proxy, lets do run while it is found down, and heals it.
func outage(t *testing.T, c *memcache.Client, proxy *testutil.Proxy, do func()) {
	t.Helper()
	if err := proxy.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "found down", func() bool { _, _ = c.Get("probe"); return !c.Available() })
	do()
	if err := proxy.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "healed", c.Available)
}

func proxiedClient(t *testing.T, o memcache.Options) (*memcache.Client, *testutil.Fake, *testutil.Proxy) {
	t.Helper()
	fake := testutil.StartFake(t)
	proxy := testutil.StartProxy(t, fake.Addr())
	o.Servers = []string{proxy.Addr()}
	return newClient(t, o), fake, proxy
}

// TestReplayLeavesLocksAlone tells of the lock that a replay released: A's Add was refused during
// the outage, B took the lock, and the deletion of A's key gave it to a second holder.
func TestReplayLeavesLocksAlone(t *testing.T) {
	c, fake, proxy := proxiedClient(t, memcache.Options{NoReplay: func(key string) bool { return key == "exempt" }})
	outage(t, c, proxy, func() {
		_ = c.Add(&memcache.Item{Key: "lock"})
		_, _ = c.Increment("counter", 1)
		_, _ = c.Decrement("counter", 1)
		_ = c.Touch("session", 1)
		_ = c.Set(&memcache.Item{Key: "exempt"})
		_ = c.Set(&memcache.Item{Key: "set"})
		_ = c.Replace(&memcache.Item{Key: "replace"})
		_ = c.Append(&memcache.Item{Key: "append"})
		_ = c.Prepend(&memcache.Item{Key: "prepend"})
		_ = c.CompareAndSwap(&memcache.Item{Key: "cas"})
		_ = c.Delete("delete")
	})
	deleted := fake.Deleted()
	slices.Sort(deleted)
	if want := []string{"append", "cas", "delete", "prepend", "replace", "set"}; !slices.Equal(slices.Compact(deleted), want) {
		t.Errorf("deleted at re-admission: %q, want %q", deleted, want)
	}
}

// TestReplayOverflow: more missed writes than the log holds are counted as lost, not forgotten; the
// server is emptied only if asked.
func TestReplayOverflow(t *testing.T) {
	for _, overflow := range []memcache.Overflow{memcache.AcceptStale, memcache.FlushServer} {
		t.Run(fmt.Sprint(overflow), func(t *testing.T) {
			c, fake, proxy := proxiedClient(t, memcache.Options{Overflow: overflow})
			if err := c.Set(&memcache.Item{Key: "bystander", Value: []byte("v")}); err != nil {
				t.Fatal(err)
			}
			const extra = 100
			outage(t, c, proxy, func() {
				if err := c.Miss(memcache.MaxMissedKeys - extra); err != nil {
					t.Fatal(err)
				}
				for i := memcache.MaxMissedKeys - extra; i < memcache.MaxMissedKeys+extra; i++ {
					_ = c.Delete(fmt.Sprint("k", i))
				}
				for i := range extra { // known keys need no further room
					_ = c.Delete(fmt.Sprint("k", i))
				}
			})
			st := c.Stats()[proxy.Addr()]
			if st.Lost != extra || st.Replayed < memcache.MaxMissedKeys || st.MissedInvalidations != 0 {
				t.Errorf("after overflow: lost %d, replayed %d, left %d; want %d, at least %d, 0", st.Lost, st.Replayed, st.MissedInvalidations, extra, memcache.MaxMissedKeys)
			}
			flushed := fake.Stats().Commands["flush_all"] > 0
			if want := overflow == memcache.FlushServer; flushed != want {
				t.Errorf("server emptied: %v, want %v", flushed, want)
			}
			if _, err := c.Get("bystander"); (err == nil) == flushed {
				t.Errorf("Get of a key of before: %v, server emptied: %v", err, flushed)
			}
		})
	}
}
