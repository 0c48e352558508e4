package memcache_test

import (
	"cmp"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// spinEnv makes this binary waste CPU for so long, for the test of a starved machine.
const spinEnv = "HOLDFAST_TEST_SPIN"

func TestMain(m *testing.M) {
	if limit, err := time.ParseDuration(os.Getenv(spinEnv)); err == nil {
		for end := time.Now().Add(limit); time.Now().Before(end); {
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is a Timeout for tests that are not about silence: a server that a busy machine lets
// stand still has not failed.
const patience = 20 * time.Second

// newClient returns a client that ends with the test, and is patient unless the options say
// otherwise.
func newClient(t testing.TB, o memcache.Options) *memcache.Client {
	t.Helper()
	o.Timeout = cmp.Or(o.Timeout, patience)
	c, err := memcache.NewWithOptions(nil, o)
	if err != nil {
		t.Fatalf("NewWithOptions(%+v): %v", o, err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// eventually waits for what a background task brings about. It fails after a time that only a hang
// needs.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
