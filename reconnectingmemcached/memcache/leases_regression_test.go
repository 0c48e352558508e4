package memcache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestLoadOfAnItemThatCannotBeRead: it is there, so that no lease can be put in its place, and it cannot be read. Callers used to wait
// for ever.
func TestLoadOfAnItemThatCannotBeRead(t *testing.T) {
	playLoads(t, 2, memcache.Options{MaxItemSize: 100}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		check(t, clients[0].Set(&memcache.Item{Key: "k", Value: make([]byte, 1000)}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		value, err := clients[1].Load(ctx, "k", time.Minute, new(origin).load)
		if took := time.Since(began); err != nil || string(value) != "1" || took > 100*time.Millisecond {
			t.Errorf("Load = %q, %v after %v", value, err, took)
		}
	})
}

// TestLoadOfAnItemThatMayBeOld: while Options.Linger lasts, reads are misses, although the item is there. Callers used to wait until
// then.
func TestLoadOfAnItemThatMayBeOld(t *testing.T) {
	playLoads(t, 1, memcache.Options{Linger: time.Minute}, func(t *testing.T, fake *testutil.Fake, clients []*memcache.Client) {
		c := clients[0]
		check(t, c.Set(&memcache.Item{Key: "k", Value: []byte("old")}))
		c.ForceDown(fake.Addr())
		c.Reset(fake.Addr())
		synctest.Wait()
		began := time.Now()
		value, err := c.Load(t.Context(), "k", time.Minute, new(origin).load)
		if took := time.Since(began); err != nil || string(value) != "1" || took > 100*time.Millisecond {
			t.Errorf("Load = %q, %v after %v", value, err, took)
		}
	})
}

// TestLoadAfterAChange: who asks once a Set or Delete of the same process is done does not get what was loaded before it.
func TestLoadAfterAChange(t *testing.T) {
	for _, old := range []bool{false, true} {
		playLoads(t, 1, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
			c, source := clients[0], &origin{delay: time.Second}
			if old {
				loadAll(t, clients, 1, 10*time.Second, source)
				time.Sleep(11 * time.Second)
			}
			var loading sync.WaitGroup
			loading.Go(func() { _, _ = c.Load(t.Context(), "k", 10*time.Second, source.load) })
			time.Sleep(500 * time.Millisecond) // what is loaded has been read from the source
			before := source.calls.Load()
			check(t, anyMiss(c.Delete("k")))
			value, err := c.Load(t.Context(), "k", 10*time.Second, source.load)
			if err != nil || int64(value[0]-'0') != before+1 {
				t.Errorf("old value %v: Load = %q, %v after a Delete; the load before that was number %d", old, value, err, before)
			}
			loading.Wait()
		})
	}
}

func anyMiss(err error) error {
	if errors.Is(err, memcache.ErrCacheMiss) {
		return nil
	}
	return err
}

// TestAValueThatLooksLikeALease: Flags are the time when a value is to be loaded anew, and one second of 2027 is those of a lease.
func TestAValueThatLooksLikeALease(t *testing.T) {
	playLoads(t, 1, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		const lease = 0x6c6f6164
		ttl := time.Until(time.Unix(lease, 0))
		value, err := clients[0].Load(t.Context(), "k", ttl, new(origin).load)
		check(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		again, err := clients[0].Load(ctx, "k", ttl, new(origin).load)
		if err != nil || string(again) != string(value) {
			t.Errorf("Load = %q, %v; want %q", again, err, value)
		}
	})
}

// TestAValueThatIsTooLarge for the server cannot replace its lease, which must not keep the others waiting.
func TestAValueThatIsTooLarge(t *testing.T) {
	playLoads(t, 2, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		load := func(context.Context) ([]byte, error) { return make([]byte, 2<<20), nil }
		for _, c := range clients {
			began := time.Now()
			value, err := c.Load(t.Context(), "k", time.Minute, load)
			if took := time.Since(began); err != nil || len(value) != 2<<20 || took > 100*time.Millisecond {
				t.Errorf("Load of %d bytes, %v, took %v", len(value), err, took)
			}
		}
	})
}

// TestALoadThatWasBegunDuringAnOutage does not overwrite what was stored after it.
func TestALoadThatWasBegunDuringAnOutage(t *testing.T) {
	playLoads(t, 1, memcache.Options{Gutter: memcache.Gutter{Expiration: 10 * time.Second}}, func(t *testing.T, fake *testutil.Fake, clients []*memcache.Client) {
		c := clients[0]
		check(t, c.Ping())
		c.ForceDown(fake.Addr())
		var loading sync.WaitGroup
		loading.Go(func() { _, _ = c.Load(t.Context(), "k", time.Minute, (&origin{delay: 10 * time.Second}).load) })
		time.Sleep(time.Second)
		c.Reset(fake.Addr())
		time.Sleep(4 * time.Second)
		check(t, c.Set(&memcache.Item{Key: "k", Value: []byte("new")}))
		loading.Wait()
		if it, err := c.Get("k"); err != nil || string(it.Value) != "new" {
			t.Errorf("Get = %+v, %v; want what was set", it, err)
		}
	})
}

// TestALongKeyIsLoadedAnewOnce, although its lease's name would be too long for a key.
func TestALongKeyIsLoadedAnewOnce(t *testing.T) {
	playLoads(t, 5, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		key, source := strings.Repeat("k", 250), &origin{delay: time.Second}
		for range 2 { // the second time it is old
			for _, c := range clients {
				if _, err := c.Load(t.Context(), key, 10*time.Second, source.load); err != nil {
					t.Errorf("Load: %v", err)
				}
			}
			time.Sleep(11 * time.Second)
		}
		if n := source.calls.Load(); n != 2 {
			t.Errorf("%d loads of a value that was old once", n)
		}
	})
}
