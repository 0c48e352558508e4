package memcache_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestDeadWhileNobodyCalled tells of the servers that died while nobody called: they were taken for
// well until somebody did, however long that was, and whoever asked whether there is a cache was
// told so.
func TestDeadWhileNobodyCalled(t *testing.T) {
	t.Parallel()
	for name, die := range map[string]func(*testutil.Fake) error{
		"killed": (*testutil.Fake).Kill,
		"cut off, and silent": func(f *testutil.Fake) error {
			_ = f.Restart()
			return f.Hang()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, memcache.Options{}, func(t *testing.T, l *lab) {
				time.Sleep(time.Hour)
				check(t, die(l.fake))
				time.Sleep(time.Second)
				if l.Available() {
					t.Errorf("available a second after the only server died: %+v", l.stats())
				}
				start := time.Now()
				if err := l.Ping(); !errors.Is(err, memcache.ErrServerDown) || time.Since(start) > 0 {
					t.Errorf("Ping = %v after %v, want ErrServerDown at once", err, time.Since(start))
				}
				check(t, l.fake.Restart())
				l.until(t, true)
			})
		})
	}
}

// TestIdleConnectionsEnd: a server that ends idle connections is asked once, and left alone until
// the next call, which sees nothing of it.
func TestIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Millisecond, memcache.Options{}, func(t *testing.T, c *memcache.Client, d *distance) {
		set(t, c)
		before := dials(c, d.fake.Addr())
		d.cut()
		time.Sleep(10 * time.Minute)
		if n := dials(c, d.fake.Addr()) - before; n != 1 || c.State(d.fake.Addr()) != breaker.Closed {
			t.Errorf("%d connections in ten idle minutes after the end of one, want 1: %+v", n, c.Stats()[d.fake.Addr()])
		}
		if _, err := c.Get("k"); err != nil {
			t.Errorf("first Get after that: %v", err)
		}
	})
	inBubble(t, time.Millisecond, memcache.Options{}, func(t *testing.T, c *memcache.Client, d *distance) {
		set(t, c)
		before := dials(c, d.fake.Addr())
		d.cut()
		time.Sleep(10 * time.Millisecond)
		set(t, c)
		time.Sleep(time.Minute)
		if n := dials(c, d.fake.Addr()) - before; n != 1 {
			t.Errorf("%d connections while calls go on, want 1: the call's", n)
		}
	})
}
