package memcache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// pods is a caller's selector whose only server changes, and a network in memory.
type pods struct {
	mu     sync.Mutex
	now    net.Addr                  // guarded by mu
	fakes  map[string]*testutil.Fake // by address; guarded by mu
	dials  map[string]int            // guarded by mu
	failed error                     // what Each returns; guarded by mu
	hidden bool                      // Each names nobody; guarded by mu
}

type podAddr string

func (podAddr) Network() string  { return "tcp" }
func (a podAddr) String() string { return string(a) }

func (p *pods) set(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = podAddr(addr)
}

func (p *pods) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = err
}

func (p *pods) hide() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hidden = true
}

func (p *pods) dialled(addr string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials[addr]
}

func (p *pods) PickServer(string) (net.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, nil
}

func (p *pods) Each(visit func(net.Addr) error) error {
	p.mu.Lock()
	addr, err, hidden := p.now, p.failed, p.hidden
	p.mu.Unlock()
	if err != nil || hidden {
		return err
	}
	return visit(addr)
}

func (p *pods) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	p.mu.Lock()
	fake := p.fakes[addr]
	p.dials[addr]++
	p.mu.Unlock()
	if fake == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("no route to host")}
	}
	return fake.Dial(ctx, network, addr)
}

// withPods runs a test in virtual time.
func withPods(t *testing.T, test func(t *testing.T, c *memcache.Client, p *pods)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pods{fakes: map[string]*testutil.Fake{}, dials: map[string]int{}}
		for _, addr := range []string{"10.0.0.1:11211", "10.0.0.2:11211"} {
			p.fakes[addr] = testutil.StartFake(t, testutil.FakeOptions{InMemory: true, Addr: addr})
		}
		p.set("10.0.0.1:11211")
		c, err := memcache.NewWithOptions(p, memcache.Options{DialContext: p.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		test(t, c, p)
	})
}

// TestServersThatLeft tells of the client whose selector had had fifty servers before: it probed
// them for ever, 265 dials a second to addresses that others may have had by then, with a breaker,
// a goroutine and thirty series each.
func TestServersThatLeft(t *testing.T) {
	t.Parallel()
	withPods(t, func(t *testing.T, c *memcache.Client, p *pods) {
		registry := prometheus.NewPedanticRegistry()
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			p.set(fmt.Sprintf("10.9.0.%d:11211", i))
			for range 4 {
				_, _ = c.Get("k")
			}
		}
		p.set("10.0.0.1:11211")
		if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if n := len(c.Stats()); n != 51 {
			t.Fatalf("%d servers half a minute after they left, want 51: a selector may change its mind", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		before, counted := p.dialled("10.9.0.7:11211"), total(gather(t, registry, "holdfast_memcached_operations_total"))
		time.Sleep(time.Hour)
		if after := total(gather(t, registry, "holdfast_memcached_operations_total")); after < counted || counted < 50 {
			t.Errorf("the client counted %v operations, and %v once the servers were let go: a counter must not fall", counted, after)
		}
		if after := p.dialled("10.9.0.7:11211"); after != before {
			t.Errorf("%d dials to a server that left an hour ago", after-before)
		}
		if n := len(c.Stats()); n != 1 {
			t.Errorf("%d servers, want the one that is named", n)
		}
		for labels := range gather(t, registry, "holdfast_memcached_dials_total") {
			if !strings.Contains(labels, "endpoint=10.0.0.1:11211") {
				t.Errorf("series of a server that left: %s", labels)
			}
		}
		if it, err := c.Get("k"); err != nil || string(it.Value) != "v" {
			t.Errorf("Get from the server that stayed: %v", err)
		}
		if n := p.dialled("10.0.0.1:11211"); n != 1 {
			t.Errorf("%d dials to the server that stayed, want 1", n)
		}
	})
}

// TestServerThatIsUsedStays: a selector whose Each fails, or leaves out what its PickServer names,
// loses nothing.
func TestServerThatIsUsedStays(t *testing.T) {
	t.Parallel()
	withPods(t, func(t *testing.T, c *memcache.Client, p *pods) {
		p.hide()
		for range 40 {
			if err := c.Set(&memcache.Item{Key: "k"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		p.fail(errors.New("the name service is down"))
		time.Sleep(time.Hour)
		if err := c.Set(&memcache.Item{Key: "k"}); err != nil {
			t.Fatal(err)
		}
		if n := p.dialled("10.0.0.1:11211"); n != 1 {
			t.Errorf("%d dials, want 1", n)
		}
	})
}

// TestServerThatComesBack: what a server missed before it left is deleted when it is named again;
// until then it is a miss.
func TestServerThatComesBack(t *testing.T) {
	t.Parallel()
	withPods(t, func(t *testing.T, c *memcache.Client, p *pods) {
		first := p.fakes["10.0.0.1:11211"]
		for _, key := range []string{"k", "untouched"} {
			if err := c.Set(&memcache.Item{Key: key, Value: []byte("old")}); err != nil {
				t.Fatal(err)
			}
		}
		_ = first.Hang() // cut off, but alive
		for range 10 {
			if err := c.Set(&memcache.Item{Key: "k", Value: []byte("new")}); err == nil {
				t.Fatal("Set on a hung server = nil")
			}
		}
		p.set("10.0.0.2:11211")
		if err := c.Set(&memcache.Item{Key: "k", Value: []byte("newer")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if n := len(c.Stats()); n != 1 {
			t.Fatalf("%d servers, want 1", n)
		}
		_ = first.Release()
		time.Sleep(time.Second)
		p.set("10.0.0.1:11211")
		if it, err := c.Get("k"); err == nil {
			t.Errorf("Get at once after the return = %q, want a miss", it.Value)
		}
		time.Sleep(time.Second)
		if it, err := c.Get("k"); err == nil {
			t.Errorf("Get after the return = %q, want a miss", it.Value)
		}
		if it, err := c.Get("untouched"); err != nil || string(it.Value) != "old" {
			t.Errorf("Get of a key that was not written meanwhile: %v", err)
		}
		if st := c.Stats()["10.0.0.1:11211"]; st.MissedInvalidations != 0 || st.Replayed == 0 {
			t.Errorf("after the return: %+v", st)
		}
	})
}

// TestCallWhileServerIsLetGo tells of the Set that began in the moment in which its server was let
// go: nobody remembered that it had failed, and when the server was named again the old value was
// served.
func TestCallWhileServerIsLetGo(t *testing.T) {
	t.Parallel()
	withPods(t, func(t *testing.T, c *memcache.Client, p *pods) {
		const addr = "10.0.0.1:11211"
		if err := c.Set(&memcache.Item{Key: "k", Value: []byte("old")}); err != nil {
			t.Fatal(err)
		}
		_ = p.fakes[addr].Hang()
		var late sync.WaitGroup
		late.Go(func() {
			if err := c.Set(&memcache.Item{Key: "k", Value: []byte("new")}); !errors.Is(err, memcache.ErrServerDown) {
				t.Errorf("Set on a server that is let go = %v, want ErrServerDown", err)
			}
		})
		time.Sleep(time.Millisecond)
		c.LetGo(addr)
		late.Wait()
		_ = p.fakes[addr].Release()
		for range 3 {
			if it, err := c.Get("k"); err == nil {
				t.Errorf("Get once the server is named again = %q, want a miss", it.Value)
			}
			time.Sleep(time.Second)
		}
		if st := c.Stats()[addr]; st.MissedInvalidations > 0 || st.Replayed == 0 {
			t.Errorf("%+v, want the key deleted", st)
		}
	})
}

// TestNativeOutlivesItsServer: a connection of gomemcache's pool works on after its server was let
// go and named again.
func TestNativeOutlivesItsServer(t *testing.T) {
	t.Parallel()
	withPods(t, func(t *testing.T, c *memcache.Client, p *pods) {
		native := c.Native()
		for range 2 {
			p.set("10.0.0.1:11211")
			if err := native.Set(&memcache.Item{Key: "k"}); err != nil {
				t.Fatalf("Set: %v", err)
			}
			p.set("10.0.0.2:11211")
			time.Sleep(10 * time.Minute)
		}
		_ = native.Close()
	})
}

func total(samples map[string]float64) (sum float64) {
	for _, n := range samples {
		sum += n
	}
	return sum
}
