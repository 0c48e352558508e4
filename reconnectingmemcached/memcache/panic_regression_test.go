package memcache_test

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// selecting is a selector of one server that panics while it is broken.
type selecting struct {
	addr   net.Addr
	broken atomic.Bool
}

func (s *selecting) PickServer(string) (net.Addr, error) {
	if s.broken.Load() {
		panic("oops")
	}
	return s.addr, nil
}

func (s *selecting) Each(f func(net.Addr) error) error {
	if s.broken.Load() {
		panic("oops")
	}
	return f(s.addr)
}

// A selector's panic ended the process where a goroutine of the client's asked it: with a gutter,
// once in each interval of its beacons.
func TestASelectorThatPanicsIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
		addr := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 11211}
		s := &selecting{addr: &addr}
		c, err := memcache.NewWithOptions(s, memcache.Options{DialContext: fake.Dial, Gutter: memcache.Gutter{Expiration: time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if err := c.Set(&memcache.Item{Key: "k"}); err != nil {
			t.Fatal(err)
		}
		s.broken.Store(true)
		time.Sleep(10 * time.Second) // beacons
		_, get := c.Get("k")
		_, multi := c.GetMulti([]string{"k", "l"})
		for name, err := range map[string]error{
			"Get": get, "GetMulti": multi, "Set": c.Set(&memcache.Item{Key: "k"}), "Ping": c.Ping(), "FlushAll": c.FlushAll(),
		} {
			if !errors.Is(err, memcache.ErrNoServers) || !strings.Contains(err.Error(), "the selector panicked: oops") {
				t.Errorf("%s = %v, want ErrNoServers with the panic", name, err)
			}
		}
		s.broken.Store(false)
		if _, err := c.Get("k"); err != nil {
			t.Errorf("Get afterwards: %v", err)
		}
	})
}

// A NoReplay that panics ended the process, or a call, once a write had failed.
func TestANoReplayThatPanicsExemptsNothing(t *testing.T) {
	var log strings.Builder
	c, fake, proxy := proxiedClient(t, memcache.Options{
		NoReplay: func(string) bool { panic("oops") }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	outage(t, c, proxy, func() {
		for _, key := range []string{"a", "b"} {
			if err := c.Set(&memcache.Item{Key: key}); !errors.Is(err, memcache.ErrServerDown) {
				t.Errorf("Set = %v, want ErrServerDown", err)
			}
		}
	})
	if deleted := strings.Join(fake.Deleted(), " "); !strings.Contains(deleted, "a") || !strings.Contains(deleted, "b") {
		t.Errorf("deleted at re-admission: %q, want a and b", deleted)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if told := strings.Count(log.String(), "Options.NoReplay panicked"); told != 1 {
		t.Errorf("the log tells %d times of it, want once:\n%s", told, log.String())
	}
}
