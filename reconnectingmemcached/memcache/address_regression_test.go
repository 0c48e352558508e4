package memcache_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestAddressWithScheme tells of http://cache-1:11211, which was taken for the path of a unix
// socket because it has a slash: every read was a miss for ever, without a word. The error says
// what to write instead, wherever the address was given.
func TestAddressWithScheme(t *testing.T) {
	for addr, want := range map[string]string{
		"http://cache-1:11211":            `use "cache-1:11211"`,
		"https://cache-1:11211/":          `use "cache-1:11211"`,
		"tcp://x:1":                       `use "x:1"`,
		"memcached://cache-1":             `use "cache-1:11211"`,
		"memcached://user:pw@cache-1:1/0": `use "cache-1:1"`,
		"tcp://[::1]:11211":               `use "[::1]:11211"`,
		"unix:///run/memcached.sock":      `use "/run/memcached.sock"`,
		"unix://run/memcached.sock":       `use "/run/memcached.sock"`,
		"unix:/run/memcached.sock":        `use "/run/memcached.sock"`,
		"file:///run/memcached.sock":      `use "/run/memcached.sock"`,
		"://":                             `use "host:11211"`,
		"cache-1:11211/":                  `use "cache-1:11211"`,
		"cache-1:11211/0":                 `use "cache-1:11211"`,
		"cache-1:11211,cache-2:11211":     "a string of its own",
		"cache-1:11211 cache-2:11211":     "a string of its own",
		" cache-1:11211":                  "a string of its own",
		"/run/a.sock,/run/b.sock":         "a string of its own",
		"cache-1:11211\n":                 "a string of its own",
	} {
		_, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{addr}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewWithOptions(%q) = %v, want %s", addr, err, want)
		}
		checkRefused(t, memcache.New("127.0.0.1:1", addr), addr, want)
		checkRefused(t, memcache.NewFromSelector(onlyServer{network: "tcp", addr: addr}), addr, want)
		checkRefused(t, memcache.NewFromSelector(onlyServer{network: "unix", addr: addr}), addr, want)
	}
	for _, addr := range []string{"127.0.0.1:11211", "cache-1:11211", "[::1]:11211", ":11211", "/run/memcached.sock", "run/memcached.sock", "./m.sock"} {
		if c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{addr}}); err != nil {
			t.Errorf("NewWithOptions(%q) = %v", addr, err)
		} else if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// checkRefused wants each call to fail with the same words.
func checkRefused(t *testing.T, c *memcache.Client, addr, want string) {
	t.Helper()
	defer func() { _ = c.Close() }()
	c.DialContext = func(context.Context, string, string) (net.Conn, error) {
		t.Errorf("%q was dialled", addr)
		return nil, net.ErrClosed
	}
	_, get := c.Get("k")
	_, multi := c.GetMulti([]string{"k"})
	for name, err := range map[string]error{"Get": get, "GetMulti": multi, "Set": c.Set(&memcache.Item{Key: "k"}), "Ping": c.Ping()} {
		if !errors.Is(err, memcache.ErrNoServers) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s with the server %q = %v, want ErrNoServers and %s", name, addr, err, want)
		}
	}
}

// onlyServer is a selector of one server, as it is.
type onlyServer struct{ network, addr string }

func (o onlyServer) Network() string                     { return o.network }
func (o onlyServer) String() string                      { return o.addr }
func (o onlyServer) PickServer(string) (net.Addr, error) { return o, nil }
func (o onlyServer) Each(visit func(net.Addr) error) error {
	return visit(o)
}

// nowhere is a selector that knows no server, and does not say so.
type nowhere struct{}

func (nowhere) PickServer(string) (net.Addr, error)        { return nil, nil } //nolint:nilnil // the mistake.
func (nowhere) Each(visit func(addr net.Addr) error) error { return visit(nil) }

// TestSelectorReturnsNothing tells of the selector without servers that was a nil pointer in every
// call, as it is with gomemcache: neither an address nor an error is an error.
func TestSelectorReturnsNothing(t *testing.T) {
	checkRefused(t, memcache.NewFromSelector(nowhere{}), "", "the selector returned neither an address nor an error")
}

// TestNeverAnswered tells of the client with a wrong address and no logger, which looked like a
// cold cache for ever. It says so once, after a while; one that had an answer, or lost its servers
// later, does not.
func TestNeverAnswered(t *testing.T) {
	var fallback lockedBuffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&fallback, nil)))
	defer slog.SetDefault(old)
	var own lockedBuffer
	logger := slog.New(slog.NewTextHandler(&own, nil))
	const words = "no answer from any server so far"
	for name, test := range map[string]struct {
		logger *slog.Logger
		up     bool
		said   *lockedBuffer
	}{
		"wrong address":             {nil, false, &fallback},
		"wrong address, own logger": {logger, false, &own},
		"was up":                    {nil, true, nil},
	} {
		fallback.reset()
		own.reset()
		synctest.Test(t, func(t *testing.T) {
			fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
			c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{fake.Addr()}, DialContext: fake.Dial, Logger: test.logger})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if test.up {
				_, _ = c.Get("k")
			}
			_ = fake.Kill()
			for range 100 {
				_, _ = c.Get("k")
				time.Sleep(time.Second)
			}
		})
		all := fallback.String() + own.String()
		if test.said == nil {
			if strings.Contains(all, words) {
				t.Errorf("%s: %s", name, all)
			}
			continue
		}
		if strings.Count(all, words) != 1 || strings.Count(test.said.String(), words) != 1 || !strings.Contains(all, "connection refused") {
			t.Errorf("%s: want one warning with the cause, to the right logger, got %q and %q", name, fallback.String(), own.String())
		}
	}
}
