package memcachedstore_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// watching makes a cache that watches a store, as a process of its own would.
func watching(t *testing.T, addr string, s *source, o options) *cache {
	t.Helper()
	store, err := memcachedstore.New(newClient(t, memcache.Options{Servers: []string{addr}}), memcachedstore.Options{Namespace: "users"})
	if err != nil {
		t.Fatal(err)
	}
	o.Store, o.StoreTimeout, o.Watch = store, patience, true
	c := replica(t, addr, s, o)
	eventually(t, "it watches", func() bool { return c.Stats().WatchGaps > 0 })
	return c
}

func load(t *testing.T, c *cache, key int) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := c.Load(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestWhatOneProcessWritesTheOtherReads: a Set or deletion in one process takes effect in the other
// soon after, and the source is not asked because of it.
func TestWhatOneProcessWritesTheOtherReads(t *testing.T) {
	t.Parallel()
	server := testutil.StartMemcached(t)
	var s source
	a, b := watching(t, server.Addr(), &s, options{Period: time.Hour}), watching(t, server.Addr(), &s, options{Period: time.Hour})
	const keys = 50
	for key := range keys {
		load(t, a, key)
		load(t, b, key)
	}
	var took []time.Duration
	for key := range keys {
		want := int64(1_000_000 + key)
		began := time.Now()
		if err := a.Set(t.Context(), key, want); err != nil {
			t.Fatal(err)
		}
		eventually(t, "what was set is there", func() bool { v, ok := b.Get(key); return ok && v == want })
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("set in one, read in the other: median %v, longest %v", took[keys/2], took[keys-1])
	if !a.Delete(7) {
		t.Fatal("nothing to delete")
	}
	eventually(t, "what was deleted is gone", func() bool { _, ok := b.Get(7); return !ok })
	if n := s.calls.Load(); n != keys {
		t.Errorf("%d calls of the source because of what was written", n-keys)
	}
	if n := a.Stats(); n.NoticesDoubted+n.NoticesDropped > 0 {
		t.Errorf("its own writes had items refreshed or dropped: %+v", n)
	}
	if n := b.Stats().WatchGaps; n != 1 {
		t.Errorf("%d gaps, want that of the start alone", n)
	}
}

// TestAGapIsMadeUpForByLooks: a memcached that has lost everything, its version with it, costs no
// item and no call of the source.
func TestAGapIsMadeUpForByLooks(t *testing.T) {
	t.Parallel()
	server := testutil.StartMemcached(t)
	var s source
	a, b := watching(t, server.Addr(), &s, options{Period: time.Hour}), watching(t, server.Addr(), &s, options{Period: time.Hour})
	const keys = 50
	for key := range keys {
		load(t, a, key)
		load(t, b, key)
	}
	flusher := newClient(t, memcache.Options{Servers: []string{server.Addr()}})
	if err := flusher.FlushAll(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a gap was seen", func() bool { return b.Stats().WatchGaps > 1 })
	if err := a.Set(t.Context(), 1, 1_000_000); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was set afterwards is there", func() bool { v, _ := b.Get(1); return v == 1_000_000 })
	for key := range keys {
		if _, ok := b.Get(key); !ok {
			t.Errorf("item %d is gone", key)
		}
	}
	if n := s.calls.Load(); n != keys {
		t.Errorf("%d calls of the source because memcached was empty", n-keys)
	}
}

// A memcached that could not be asked for its journal was told nobody: the process heard of no
// changes, and nothing said so.
func TestThatTheJournalCannotBeReadIsTold(t *testing.T) {
	t.Parallel()
	server := testutil.StartMemcached(t)
	c := watching(t, server.Addr(), new(source), options{Period: time.Hour})
	if c.Stats().WatchDown {
		t.Error("it hears of changes, and says that it does not")
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it says that it hears nothing", func() bool { return c.Stats().WatchDown })
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it hears again", func() bool { return !c.Stats().WatchDown })
}
