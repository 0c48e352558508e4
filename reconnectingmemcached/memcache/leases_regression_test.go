package memcache_test

import (
	"cmp"
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

// TestLoadOfAnItemThatCannotBeRead: it is there, so that no lease can be put in its place, and it
// cannot be read. Callers used to wait for ever.
func TestLoadOfAnItemThatCannotBeRead(t *testing.T) {
	t.Parallel()
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

// TestLoadOfAnItemThatMayBeOld: while Options.Linger lasts, reads are misses, although the item is
// there. Callers used to wait until then.
func TestLoadOfAnItemThatMayBeOld(t *testing.T) {
	t.Parallel()
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

// TestLoadAfterAChange: callers that ask once a Set, Delete or FlushAll is done, of any process, do
// not get a value loaded before it. Those of other processes, and FlushAll, were not seen by
// callers who found a load of their own process under way.
func TestLoadAfterAChange(t *testing.T) {
	t.Parallel()
	type doing func(ctx context.Context, c *memcache.Client) error
	del := func(ctx context.Context, c *memcache.Client) error { return anyMiss(c.DeleteContext(ctx, "k")) }
	flush := func(ctx context.Context, c *memcache.Client) error { return c.FlushAllContext(ctx) }
	load := func(ctx context.Context, c *memcache.Client) error {
		others := &origin{delay: time.Second}
		others.calls.Store(8)
		go func() { _, _ = c.Load(ctx, "k", 10*time.Second, others.load) }()
		synctest.Wait()
		return nil
	}
	for what, change := range map[string]struct {
		by   int // 0: the process that loads
		do   []doing
		want byte // 0: what it loads anew
	}{
		"Delete": {0, []doing{del}, 0}, "another's Delete": {1, []doing{del}, 0},
		"FlushAll": {0, []doing{flush}, 0}, "another's FlushAll": {1, []doing{flush}, 0},
		"another's Delete and Load": {1, []doing{del, load}, '9'},
	} {
		for _, old := range []bool{false, true} {
			playLoads(t, 2, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
				c, source := clients[0], &origin{delay: time.Second}
				if old {
					loadAll(t, clients[:1], 1, 10*time.Second, source)
					time.Sleep(11 * time.Second)
				}
				var loading sync.WaitGroup
				loading.Go(func() { _, _ = c.Load(t.Context(), "k", 10*time.Second, source.load) })
				time.Sleep(500 * time.Millisecond) // the value has been read from the source
				before := source.calls.Load()
				for _, do := range change.do {
					check(t, do(t.Context(), clients[change.by]))
				}
				value, err := c.Load(t.Context(), "k", 10*time.Second, source.load)
				if want := string(cmp.Or(change.want, '0'+byte(before+1))); err != nil || string(value) != want {
					t.Errorf("%s, old value %v: Load = %q, %v after it, want %q", what, old, value, err, want)
				}
				loading.Wait()
			})
		}
	}
}

// TestALateCallerSharesALoad: nothing was written meanwhile, so that its error is the caller's,
// too.
func TestALateCallerSharesALoad(t *testing.T) {
	t.Parallel()
	playLoads(t, 1, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		source := &origin{delay: time.Second, err: errors.New("no such user")}
		var loading sync.WaitGroup
		for range 3 {
			loading.Go(func() {
				if _, err := clients[0].Load(t.Context(), "k", 10*time.Second, source.load); !errors.Is(err, source.err) {
					t.Errorf("Load = %v", err)
				}
			})
			time.Sleep(300 * time.Millisecond)
		}
		loading.Wait()
		if n := source.calls.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

// TestWhichLoadsAreOutdated: a caller may have found nothing because it looked before the lease was
// there.
func TestWhichLoadsAreOutdated(t *testing.T) {
	for _, tt := range []struct {
		held, began  int64
		lease, found string
		want         bool
	}{
		{0, 5, "", "", false}, // without a lease
		{5, 4, "a", "", false},
		{5, 5, "a", "", false},
		{5, 6, "a", "", true},
		{5, 6, "a", "a", false},
		{5, 6, "a", "b", true},
	} {
		if got := memcache.IsOutdated(tt.held, tt.lease, tt.began, tt.found); got != tt.want {
			t.Errorf("%+v: outdated %v", tt, got)
		}
	}
}

// TestLoadAfterAFlushOfADeadServer: a later caller does not get a value loaded without a lease
// before it.
func TestLoadAfterAFlushOfADeadServer(t *testing.T) {
	t.Parallel()
	playLoads(t, 1, memcache.Options{}, func(t *testing.T, fake *testutil.Fake, clients []*memcache.Client) {
		c, source := clients[0], &origin{delay: time.Second}
		c.ForceDown(fake.Addr())
		_ = c.Set(&memcache.Item{Key: "k"})
		c.ForceDown(fake.Addr())
		var loading sync.WaitGroup
		loading.Go(func() { _, _ = c.Load(t.Context(), "k", 10*time.Second, source.load) })
		time.Sleep(500 * time.Millisecond)
		_ = c.FlushAll()
		if value, err := c.Load(t.Context(), "k", 10*time.Second, source.load); err != nil || string(value) != "2" {
			t.Errorf("Load = %q, %v after FlushAll", value, err)
		}
		loading.Wait()
	})
}

func anyMiss(err error) error {
	if errors.Is(err, memcache.ErrCacheMiss) {
		return nil
	}
	return err
}

// TestAValueThatLooksLikeALease: Flags are the time when a value is to be loaded anew, and one
// second of 2027 is those of a lease.
func TestAValueThatLooksLikeALease(t *testing.T) {
	t.Parallel()
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

// TestAValueThatIsTooLarge for the server cannot replace its lease, which must not keep the others
// waiting.
func TestAValueThatIsTooLarge(t *testing.T) {
	t.Parallel()
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

// TestALoadThatWasBegunDuringAnOutage does not overwrite a value stored after it.
func TestALoadThatWasBegunDuringAnOutage(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
