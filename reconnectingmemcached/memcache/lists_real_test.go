package memcache_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestHandOverBetweenRealServers: they have meta commands, so that copies end with what they are
// copies of.
func TestHandOverBetweenRealServers(t *testing.T) {
	var names []string
	for range 3 {
		names = append(names, testutil.StartMemcached(t).Addr())
	}
	source := &list{names: names[:2]}
	c, err := memcache.NewWithOptions(nil, memcache.Options{Source: source, SourceInterval: 200 * time.Millisecond, Timeout: 10 * time.Second, Hash: memcache.Rendezvous})
	check(t, err)
	defer func() { check(t, c.Close()) }()
	const keys = 300
	key := func(i int) string { return fmt.Sprintf("key:%d", i) }
	for i := range keys {
		check(t, c.Set(&memcache.Item{Key: key(i), Value: []byte(key(i)), Flags: uint32(i), Expiration: 1000}))
	}
	source.set(nil, names...)
	for c.ListStats().Changes < 2 {
		time.Sleep(50 * time.Millisecond)
	}
	moved := 0
	for i := range keys {
		if owner, err := c.Owner(key(i)); err == nil && owner == names[2] {
			moved++
		}
		if i%2 == 0 {
			check(t, c.Delete(key(i)))
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for i := 1; i < keys; i += 2 {
		it, err := c.Get(key(i))
		for errors.Is(err, memcache.ErrCacheMiss) && time.Now().Before(deadline) { // a former owner may be slow
			it, err = c.Get(key(i))
		}
		if err != nil || string(it.Value) != key(i) || it.Flags != uint32(i) {
			t.Fatalf("Get(%q) = %+v, %v", key(i), it, err)
		}
	}
	for i := 0; i < keys; i += 2 {
		if it, err := c.Get(key(i)); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Get(%q) = %+v, %v after a Delete", key(i), it, err)
		}
	}
	if st := c.ListStats(); moved == 0 || st.Copied == 0 || st.FormerDeletes == 0 {
		t.Errorf("%d keys moved, %+v", moved, st)
	}
}
