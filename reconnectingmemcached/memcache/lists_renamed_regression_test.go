package memcache_test

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestALockOnAServerThatWasRenamed tells of a list in which a server has another name than before,
// as a host's name in place of an address. Whoever took a lock there had it deleted a moment later,
// by the name of before, so that the next one took it, too, for HandOver.
func TestALockOnAServerThatWasRenamed(t *testing.T) {
	t.Parallel()
	var names []string
	for range 3 {
		names = append(names, testutil.StartFake(t).Addr())
	}
	source := &list{names: names}
	c, err := memcache.NewWithOptions(nil, memcache.Options{
		Source: source, SourceInterval: 100 * time.Millisecond, Timeout: 10 * time.Second, Hash: memcache.Rendezvous,
	})
	check(t, err)
	defer func() { check(t, c.Close()) }()
	check(t, c.Ping())
	was := make(map[string]string)
	for i := range 100 {
		key := fmt.Sprintf("lock:%d", i)
		was[key], err = c.Owner(key)
		check(t, err)
	}
	_, port, err := net.SplitHostPort(names[0])
	check(t, err)
	renamed := net.JoinHostPort("localhost", port)
	source.set(nil, renamed, names[1], names[2])
	for c.ListStats().Changes < 2 {
		time.Sleep(10 * time.Millisecond)
	}
	check(t, c.Ping()) // it is known where the name leads
	locks := 0
	for key, owner := range was {
		now, err := c.Owner(key)
		check(t, err)
		if now != renamed || owner != names[0] {
			continue
		}
		locks++
		check(t, c.Add(&memcache.Item{Key: key, Value: []byte("mine")}))
		if err := c.Add(&memcache.Item{Key: key, Value: []byte("another's")}); !errors.Is(err, memcache.ErrNotStored) {
			t.Errorf("Add of a lock that is taken = %v, want ErrNotStored", err)
		}
	}
	if locks == 0 {
		t.Error("no key is where it was: this shows nothing")
	}
}
