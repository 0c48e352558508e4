package memcache_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestACopyThatIsStoredLate tells of a copy whose Set took most of a long Timeout: it arrived after
// the time in which, since its owner was back, writes see to copies. It outlived a later Set, and
// was read when the owner went down again.
func TestACopyThatIsStoredLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(1))
		p := f.newProcess(0, memcache.Options{
			Timeout: 20 * time.Second, HangTimeout: -1, Linger: -1,
			Gutter: memcache.Gutter{Expiration: 10 * time.Second, Beacon: -1},
		})
		c := p.client
		defer func() { check(t, c.Close()) }()
		check(t, c.Ping())
		key, owner := "k", f.fakes[0].Addr()
		key = keyAt(t, c, owner, key)
		c.ForceDown(owner)
		check(t, f.fakes[1].Hang())
		check(t, f.fakes[2].Hang())
		var late sync.WaitGroup
		late.Go(func() { check(t, c.Set(&memcache.Item{Key: key, Value: []byte("old")})) })
		time.Sleep(time.Second)
		c.Reset(owner)
		time.Sleep(15 * time.Second)
		check(t, f.fakes[1].Release())
		check(t, f.fakes[2].Release())
		late.Wait()
		check(t, c.Set(&memcache.Item{Key: key, Value: []byte("new")}))
		c.ForceDown(owner)
		if it, err := c.Get(key); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Get = %+v, %v; want a miss: it was set since", it, err)
		}
		c.Reset(owner)
	})
}
