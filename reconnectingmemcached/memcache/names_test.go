package memcache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestANameThatIsGone tells of five look-ups a second and process, for as long as the name was
// gone.
func TestANameThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{"cache.test:11211"}})
		check(t, err)
		var lookups atomic.Int64
		check(t, c.SetLookup(func(context.Context, string) ([]netip.Addr, error) {
			lookups.Add(1)
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}))
		_, _ = c.Get("k")
		time.Sleep(time.Minute)
		n := lookups.Load()
		if n > 30 {
			t.Errorf("%d look-ups in a minute", n)
		}
		time.Sleep(time.Minute)
		if more := lookups.Load() - n; more < 8 || more > 20 {
			t.Errorf("%d look-ups in the second minute", more)
		}
		if err := c.Set(&memcache.Item{Key: "k"}); err == nil || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("Set = %v, want the cause", err)
		}
		check(t, c.Close())
	})
}

// moving is a connection that goes to an IP address.
type moving struct {
	net.Conn
	to netip.AddrPort
}

func (m moving) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(m.to) }
func (m moving) NetConn() net.Conn    { return m.Conn }

// TestANameBehindACallersDialer tells of clients with a dialer of their own, which stayed at the
// address where a name had been.
func TestANameBehindACallersDialer(t *testing.T) {
	for what, tt := range map[string]struct {
		at       func(dial int64) int // which server a dial goes to, after the name has changed
		interval time.Duration
		want     string
	}{
		"moved":                    {func(int64) int { return 1 }, 0, "1"},
		"several addresses":        {func(dial int64) int { return int(dial % 2) }, 0, "0"},
		"several others":           {func(dial int64) int { return 1 + int(dial%2) }, 0, "0"},
		"moved, and not looked at": {func(int64) int { return 1 }, -1, "0"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleetOf(t, newZipf(1), 3, testutil.FakeOptions{})
			for i, fake := range f.fakes {
				c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{fake.Addr()}, DialContext: fake.Dial})
				check(t, err)
				check(t, c.Set(&memcache.Item{Key: "k", Value: []byte(fmt.Sprint(i))}))
				check(t, c.Close())
			}
			var changed atomic.Bool
			var dials atomic.Int64
			c, err := memcache.NewWithOptions(nil, memcache.Options{
				Servers: []string{"cache.test:11211"}, ResolveInterval: tt.interval,
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					to := 0
					if n := dials.Add(1); changed.Load() {
						to = tt.at(n)
					}
					conn, err := f.fakes[to].Dial(ctx, network, addr)
					return moving{conn, netip.MustParseAddrPort(f.fakes[to].Addr())}, err
				},
			})
			check(t, err)
			read := func() string {
				it, err := c.Get("k")
				check(t, err)
				return string(it.Value)
			}
			if got := read(); got != "0" {
				t.Errorf("%s: %q at first", what, got)
			}
			changed.Store(true)
			for range 100 { // each 31 s: asked again
				time.Sleep(31 * time.Second)
				read()
				synctest.Wait()
				if got := read(); got != tt.want {
					t.Fatalf("%s: %q, want %q", what, got, tt.want)
				}
			}
			check(t, c.Close())
		})
	}
}

// TestPortsByName are those of gomemcache's addresses.
func TestPortsByName(t *testing.T) {
	c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{"127.0.0.1:http"}})
	check(t, err)
	check(t, c.Close())
	if _, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{"127.0.0.1:no-such-service"}}); err == nil || !strings.Contains(err.Error(), "no-such-service") {
		t.Errorf("NewWithOptions = %v", err)
	}
	if _, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{"127.0.0.1:"}}); err == nil {
		t.Error("an empty port is taken")
	}
}

// TestCanceledSets delete their keys, unless they are kept.
func TestCanceledSets(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		inLab(t, memcache.Options{KeepCanceledSets: keep, HangTimeout: -1, Timeout: 10 * time.Second}, func(t *testing.T, l *lab) {
			check(t, l.fake.Hang())
			for i := range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				if err := l.SetContext(ctx, &memcache.Item{Key: fmt.Sprint("k", i), Value: []byte("v")}); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Set = %v", err)
				}
				cancel()
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_ = l.DeleteContext(ctx, "gone")
			check(t, l.fake.Release())
			time.Sleep(5 * time.Second)
			sets, deletes := 0, 0
			for i := range 20 {
				if _, err := l.Get(fmt.Sprint("k", i)); err == nil {
					sets++
				}
			}
			for _, key := range l.fake.Deleted() {
				if key == "gone" {
					deletes++
				}
			}
			if want := map[bool]int{true: 20}[keep]; sets != want || deletes < 2 {
				t.Errorf("keep %v: %d of 20 values are there, want %d; a canceled Delete was carried out %d times", keep, sets, want, deletes)
			}
		})
	}
}
