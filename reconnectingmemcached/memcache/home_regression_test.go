package memcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// twoHomes starts two memcacheds at one port of two addresses, as the pods of a headless service
// are.
func twoHomes(t *testing.T) (fakes [2]*testutil.Fake, addrs [2]netip.Addr, port string) {
	t.Helper()
	addrs = [2]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
	for range 20 {
		first := testutil.StartFake(t)
		_, port, _ = net.SplitHostPort(first.Addr())
		second, err := testutil.NewFake(testutil.FakeOptions{Addr: net.JoinHostPort(addrs[1].String(), port)})
		if err != nil {
			continue // somebody has the port there, or the system has no such address
		}
		t.Cleanup(func() { _ = second.Close() })
		return [2]*testutil.Fake{first, second}, addrs, port
	}
	if runtime.GOOS == "linux" {
		t.Fatal("no port is free on both 127.0.0.1 and 127.0.0.2")
	}
	testutil.Lack(t, "this system has no address 127.0.0.2")
	return fakes, addrs, port
}

// names is a name service whose answers a test changes.
type names struct{ answer atomic.Value }

func (n *names) set(addrs ...netip.Addr) { n.answer.Store(addrs) }

func (n *names) lookup(context.Context, string) ([]netip.Addr, error) {
	addrs := n.answer.Load().([]netip.Addr)
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return append([]netip.Addr(nil), addrs...), nil
}

// rotate answers with the same addresses in another order each time, as name servers do.
func rotate(addrs [2]netip.Addr) func(context.Context, string) ([]netip.Addr, error) {
	var turn atomic.Int64
	return func(context.Context, string) ([]netip.Addr, error) {
		i := turn.Add(1) % 2
		return []netip.Addr{addrs[i], addrs[1-i]}, nil
	}
}

// rotatingDialer is a caller's dialer of a name with two addresses.
func rotatingDialer(addrs [2]netip.Addr, port string) dialFunc {
	var turn atomic.Int64
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(addrs[turn.Add(1)%2].String(), port))
	}
}

// TestOneNameSeveralAddresses tells of a headless service, whose name has the addresses of all
// pods: each connection looked it up anew, so that of twenty large Sets that succeeded twelve were
// followed by the old value, read from another pod.
func TestOneNameSeveralAddresses(t *testing.T) {
	_, addrs, port := twoHomes(t)
	for name, dial := range map[string]dialFunc{"own dialer": nil, "caller's dialer": rotatingDialer(addrs, port)} {
		t.Run(name, func(t *testing.T) {
			var log lockedBuffer
			c := newClient(t, memcache.Options{
				Servers: []string{"cache.test:" + port}, DialContext: dial, Timeout: 10 * time.Second,
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err := c.SetLookup(rotate(addrs)); err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				key := fmt.Sprint(name[:3], i)
				if err := c.Set(&memcache.Item{Key: key, Value: []byte("old")}); err != nil {
					t.Fatal(err)
				}
				var sets sync.WaitGroup
				for j := range 4 { // each needs a connection of its own
					sets.Go(func() {
						if err := c.Set(&memcache.Item{Key: fmt.Sprint(key, j), Value: make([]byte, memcache.LargeValue+1)}); err != nil {
							t.Error(err)
						}
					})
				}
				sets.Wait()
				if err := c.Set(&memcache.Item{Key: key, Value: make([]byte, memcache.LargeValue+1)}); err != nil {
					t.Fatal(err)
				}
				for _, read := range []string{key, key + "0", key + "1", key + "2", key + "3"} {
					if it, err := c.Get(read); err != nil || len(it.Value) <= memcache.LargeValue {
						t.Fatalf("Get(%q) after a large Set = %v, want the value", read, err)
					}
				}
			}
			if n := strings.Count(log.String(), "several addresses"); n != 1 {
				t.Errorf("that the name has several addresses was said %d times, want once: %s", n, log.String())
			}
		})
	}
}

// TestReplayGoesHome: a write that failed is deleted where it would have been read from, and
// nowhere else.
func TestReplayGoesHome(t *testing.T) {
	for name, own := range map[string]bool{"own dialer": true, "caller's dialer": false} {
		t.Run(name, func(t *testing.T) {
			fakes, addrs, port := twoHomes(t)
			o := memcache.Options{Servers: []string{"cache.test:" + port}, Timeout: 10 * time.Second}
			if !own {
				o.DialContext = rotatingDialer(addrs, port)
			}
			c := newClient(t, o)
			if err := c.SetLookup(rotate(addrs)); err != nil {
				t.Fatal(err)
			}
			if err := c.Set(&memcache.Item{Key: "k"}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for _, f := range fakes {
				f.SetFault(testutil.OnVerbs(testutil.DelayReply(5*time.Millisecond), "set"))
			}
			for i := range 4 {
				_ = c.SetContext(ctx, &memcache.Item{Key: fmt.Sprint("failed", i)})
				eventually(t, "key deleted", func() bool { return c.Stats()[o.Servers[0]].MissedInvalidations == 0 })
			}
			for i, f := range fakes {
				if home := f.Stats().Commands["set"] > 0; home != (len(f.Deleted()) > 0) {
					t.Errorf("at address %d: home: %v, deleted there: %q", i, home, f.Deleted())
				}
			}
		})
	}
}

// TestNameMoves: a host name that comes to mean another address is followed as a whole, though the
// old one still answers; a name service that fails or answers in another order moves nothing.
func TestNameMoves(t *testing.T) {
	fakes, addrs, port := twoHomes(t)
	addr := "cache.test:" + port
	c := newClient(t, memcache.Options{Servers: []string{addr}, ResolveInterval: time.Millisecond, Timeout: 10 * time.Second})
	var n names
	n.set(addrs[0])
	if err := c.SetLookup(n.lookup); err != nil {
		t.Fatal(err)
	}
	use := func() {
		if err := c.Set(&memcache.Item{Key: "large", Value: make([]byte, memcache.LargeValue+1)}); err != nil {
			t.Errorf("Set: %v", err)
		}
		if _, err := c.Get("large"); err != nil {
			t.Errorf("Get after Set: %v", err)
		}
	}
	for _, answer := range [][]netip.Addr{{addrs[0]}, {addrs[1], addrs[0]}, {}} {
		n.set(answer...)
		for range 10 {
			use()
			time.Sleep(time.Millisecond)
		}
	}
	if got := fakes[1].Stats().Accepted; got != 0 {
		t.Fatalf("%d connections to an address that the server need not move to", got)
	}
	n.set(addrs[1])
	eventually(t, "moved", func() bool {
		_, _ = c.Get("k")
		return fakes[1].Stats().Accepted > 0
	})
	before := fakes[0].Stats().Commands["set"]
	for range 5 {
		use()
	}
	if after := fakes[0].Stats().Commands["set"]; after != before {
		t.Errorf("%d Sets went to the former address after the move", after-before)
	}
	if st := c.Stats()[addr]; st.State != breaker.Closed || st.Refused > 0 {
		t.Errorf("moving opened the breaker: %+v", st)
	}
}

// TestDeadHome: a server whose address is gone for good is found at another one: at once when the
// name says so, else after a while.
func TestDeadHome(t *testing.T) {
	fakes, addrs, port := twoHomes(t)
	c := newClient(t, memcache.Options{Servers: []string{"cache.test:" + port}, Timeout: time.Second})
	var n names
	n.set(addrs[0])
	if err := c.SetLookup(n.lookup); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(&memcache.Item{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if err := fakes[0].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "found down", func() bool { _, _ = c.Get("k"); return !c.Available() })
	n.set(addrs[1])
	eventually(t, "found at its new address", func() bool { return c.Set(&memcache.Item{Key: "k"}) == nil })
}

// TestStrayDialer: a caller's dialer that reaches the server's address once and never again does
// not keep large values from it, nor the server out of use.
func TestStrayDialer(t *testing.T) {
	fakes, addrs, port := twoHomes(t)
	var dials atomic.Int64
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		to := addrs[1]
		if dials.Add(1) == 1 {
			to = addrs[0]
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(to.String(), port))
	}
	c := newClient(t, memcache.Options{Servers: []string{"cache.test:" + port}, DialContext: dial, Timeout: 10 * time.Second})
	for i := range 5 {
		key := fmt.Sprint("k", i)
		if err := c.Set(&memcache.Item{Key: key, Value: []byte("old")}); err != nil {
			t.Fatal(err)
		}
		if err := c.Set(&memcache.Item{Key: key, Value: make([]byte, memcache.LargeValue+1)}); err != nil {
			t.Fatal(err)
		}
		if it, err := c.Get(key); err != nil || len(it.Value) <= memcache.LargeValue {
			t.Fatalf("Get after a large Set: %v, want its value", err)
		}
	}
	if got := dials.Load(); got > 10 {
		t.Errorf("%d dials for five large Sets", got)
	}
	if err := fakes[0].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "used at the other address", func() bool { return c.Set(&memcache.Item{Key: "k"}) == nil })
	if err := c.Set(&memcache.Item{Key: "fresh", Value: make([]byte, memcache.LargeValue+1)}); err != nil {
		t.Error(err)
	}
	if it, err := c.Get("fresh"); err != nil || len(it.Value) <= memcache.LargeValue {
		t.Errorf("Get after the move: %v", err)
	}
}

// TestDialContextReturnsNothing: neither a connection nor an error is an error.
func TestDialContextReturnsNothing(t *testing.T) {
	nothing := func(context.Context, string, string) (net.Conn, error) { return nil, nil } //nolint:nilnil // the mistake.
	c := newClient(t, memcache.Options{Servers: []string{"cache.test:1"}, DialContext: nothing})
	if err := c.Ping(); !errors.Is(err, memcache.ErrServerDown) || !strings.Contains(err.Error(), "DialContext returned neither") {
		t.Errorf("Ping = %v, want what the dialer did wrong", err)
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}
