package memcache_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/proxies"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// twemproxy is a real one in front of real servers.
type twemproxy struct {
	*proxies.Proxy
	t        *testing.T
	backends []*testutil.Process
}

func startTwemproxy(t *testing.T, backends int) *twemproxy {
	t.Helper()
	p := &twemproxy{t: t}
	var addrs []string
	for range backends {
		b := testutil.StartMemcached(t)
		p.backends, addrs = append(p.backends, b), append(addrs, b.Addr())
	}
	p.Proxy = proxies.Start(t, proxies.Twemproxy(5*time.Second, addrs...))
	return p
}

// keysAt returns the keys of each backend: it asks them for those stored through the proxy.
func (p *twemproxy) keysAt(c *memcache.Client, most int) [][]string {
	p.t.Helper()
	keys := make([][]string, len(p.backends))
	for i := range most {
		key := fmt.Sprint("key", i)
		check(p.t, c.Set(&memcache.Item{Key: key, Value: []byte(key)}))
		for b, backend := range p.backends {
			direct := memcache.New(backend.Addr())
			direct.Timeout = 20 * time.Second
			if _, err := direct.Get(key); err == nil {
				keys[b] = append(keys[b], key)
			}
			check(p.t, direct.Close())
		}
	}
	return keys
}

// TestTwemproxy: all calls work through it; a dead backend fails the calls for its keys and no
// others, although twemproxy ends a connection on which several keys were asked for with one line;
// and the proxy is used again after its own restart.
func TestTwemproxy(t *testing.T) {
	p := startTwemproxy(t, 2)
	c := newClient(t, memcache.Options{Servers: []string{p.Addr()}, Timeout: 20 * time.Second})
	keys := p.keysAt(c, 30)
	dead, alive := keys[0], keys[1]
	if len(dead) == 0 || len(alive) == 0 {
		t.Fatalf("keys of the two backends: %q", keys)
	}
	if items, err := c.GetMulti([]string{dead[0], alive[0], "none"}); err != nil || len(items) != 2 {
		t.Errorf("GetMulti = %v, %v", items, err)
	}
	it, err := c.Get(alive[0])
	check(t, err)
	it.Value = []byte("swapped")
	check(t, c.CompareAndSwap(it))
	check(t, c.Set(&memcache.Item{Key: "n", Value: []byte("7")}))
	if n, err := c.Increment("n", 1); n != 8 || err != nil {
		t.Errorf("Increment = %d, %v", n, err)
	}

	check(t, p.backends[0].Kill())
	dials := c.Stats()[p.Addr()].Dials
	var callers sync.WaitGroup
	for i := range 60 {
		callers.Go(func() {
			if _, err := c.Reporting().Get(alive[i%len(alive)]); err != nil {
				t.Errorf("Get of a key of the backend that lives = %v", err)
			}
			if _, err := c.Get(dead[i%len(dead)]); !errors.Is(err, memcache.ErrServerError) {
				t.Errorf("Get of a key of the dead backend = %v, want ErrServerError", err)
			}
			if items, err := c.GetMulti(alive); err != nil || len(items) != len(alive) {
				t.Errorf("GetMulti of the backend that lives = %d of %d keys, %v", len(items), len(alive), err)
			}
		})
	}
	callers.Wait()
	if st := c.Stats()[p.Addr()]; st.State != breaker.Closed || st.Dials > dials+5 {
		t.Errorf("%d dials after %d: %+v", st.Dials, dials, st)
	}
	if _, err := c.GetMulti([]string{alive[0], dead[0]}); !errors.Is(err, memcache.ErrServerError) {
		t.Errorf("GetMulti of keys of both = %v, want ErrServerError", err)
	}
	check(t, p.backends[0].Restart())

	p.Kill()
	for c.State(p.Addr()) == breaker.Closed {
		_, _ = c.Get(alive[0])
	}
	p.Restart()
	for end := time.Now().Add(30 * time.Second); c.State(p.Addr()) != breaker.Closed; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not used again: %+v", c.Stats()[p.Addr()])
		}
	}
	if _, err := c.Get(alive[0]); err != nil {
		t.Errorf("Get after the restart of the proxy = %v", err)
	}
	if _, err := c.Get(dead[0]); err != nil && !errors.Is(err, memcache.ErrCacheMiss) && !strings.Contains(err.Error(), "refused") {
		t.Errorf("Get from the backend that is back = %v", err)
	}
}

// TestFirstGetAndTouchThroughTwemproxy: that ends the connection at gat. The Sets of others, which
// are under way at any moment, do not notice.
func TestFirstGetAndTouchThroughTwemproxy(t *testing.T) {
	p := startTwemproxy(t, 1)
	for range 5 {
		c := newClient(t, memcache.Options{Servers: []string{p.Addr()}, Timeout: 20 * time.Second})
		check(t, c.Set(&memcache.Item{Key: "k", Value: []byte("v")}))
		stop := make(chan struct{})
		_, failedSets, _, wait := work(c, stop)
		for range 5 {
			if _, err := c.GetAndTouch("k", 10); err == nil {
				t.Error("GetAndTouch = nil: is it known to this version?")
			}
		}
		close(stop)
		wait()
		if n := failedSets.Load(); n > 0 {
			t.Errorf("%d Sets of others failed", n)
		}
	}
}
