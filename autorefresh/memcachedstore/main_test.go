package memcachedstore_test

import (
	"cmp"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is a Timeout for tests that are not about silence: a server that a busy machine lets
// stand still has not failed.
const patience = 5 * time.Second

// newClient makes a client for one test, a patient one unless the options say otherwise.
func newClient(t *testing.T, o memcache.Options) *memcache.Client {
	t.Helper()
	o.Timeout = cmp.Or(o.Timeout, patience)
	c, err := memcache.NewWithOptions(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newStore(t *testing.T, c *memcache.Client) *memcachedstore.Store {
	t.Helper()
	s, err := memcachedstore.New(c, memcachedstore.Options{Namespace: "users"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fakeStore makes a store on fake servers.
func fakeStore(t *testing.T, n int) (*memcachedstore.Store, *memcache.Client, []*testutil.Fake) {
	t.Helper()
	var servers []*testutil.Fake
	var addrs []string
	for range n {
		f := testutil.StartFake(t)
		servers, addrs = append(servers, f), append(addrs, f.Addr())
	}
	c := newClient(t, memcache.Options{Servers: addrs})
	return newStore(t, c), c, servers
}

// eventually waits for what must come true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
