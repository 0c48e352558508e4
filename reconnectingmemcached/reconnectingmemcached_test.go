package reconnectingmemcached_test

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The original's face: code written for its page compiles.
var _ reconnectingmemcached.Client = reconnectingmemcached.NewClient(reconnectingmemcached.Options{
	Servers: []string{"127.0.0.1:1"}, Timeout: time.Second, MaxIdleConnections: 2, AllowedFailuresBeforeHealing: 1,
})

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// keyOf returns a key of server i of n, as gomemcache chooses.
func keyOf(i, n int) string {
	for k := 0; ; k++ {
		if key := fmt.Sprint("k", k); int(crc32.ChecksumIEEE([]byte(key)))%n == i {
			return key
		}
	}
}

func start(t *testing.T, o reconnectingmemcached.Options) *reconnectingmemcached.HealingClient {
	t.Helper()
	o.Timeout = cmp.Or(o.Timeout, 20*time.Second) // a server that a busy machine lets stand still has not failed
	c := reconnectingmemcached.NewClient(o)
	t.Cleanup(func() {
		for range 2 {
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	return c
}

func TestHealthy(t *testing.T) {
	fake := testutil.StartFake(t)
	c := start(t, reconnectingmemcached.Options{Servers: []string{fake.Addr()}})
	if !c.ConnectionAvailable() {
		t.Error("ConnectionAvailable() = false before the first use")
	}
	if !c.Set(&gomemcache.Item{Key: "a", Value: []byte("1")}) || !c.Set(nil) {
		t.Error("Set = false, want true, also for nil")
	}
	items, ok := c.GetMulti([]string{"a", "absent"})
	if !ok || len(items) != 1 || string(items["a"].Value) != "1" {
		t.Errorf("GetMulti = %v, %v", items, ok)
	}
	if items, ok := c.GetMulti([]string{"absent"}); !ok || len(items) != 0 {
		t.Errorf("GetMulti of nothing = %v, %v, want ok: the server answered", items, ok)
	}
	if items, ok := c.GetMulti(nil); !ok || len(items) != 0 {
		t.Errorf("GetMulti(nil) = %v, %v, want ok", items, ok)
	}
	if items, ok := c.GetMulti([]string{"a b"}); ok || items != nil {
		t.Errorf("GetMulti of a malformed key = %v, %v, want nil, false", items, ok)
	}
	if c.Set(&gomemcache.Item{Key: ""}) {
		t.Error("Set of an empty key = true")
	}
	if err := c.Ping(); err != nil {
		t.Errorf("Ping = %v", err)
	}
	if err := prometheus.NewPedanticRegistry().Register(c); err != nil {
		t.Errorf("Register: %v", err)
	}
}

// TestOneOfTwoDown tells of the original's way: one server down took all of them out of use.
func TestOneOfTwoDown(t *testing.T) {
	up, down := testutil.StartFake(t), testutil.StartFake(t)
	c := start(t, reconnectingmemcached.Options{Servers: []string{up.Addr(), down.Addr()}})
	onUp, onDown := keyOf(0, 2), keyOf(1, 2)
	for _, key := range []string{onUp, onDown} {
		if !c.Set(&gomemcache.Item{Key: key, Value: []byte("v")}) {
			t.Fatalf("Set(%q) = false", key)
		}
	}
	if err := down.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "found down", func() bool { _, ok := c.GetMulti([]string{onDown}); return !ok })
	if !c.ConnectionAvailable() {
		t.Error("ConnectionAvailable() = false while one of two is up")
	}
	if items, ok := c.GetMulti([]string{onUp, onDown}); !ok || len(items) != 1 || items[onUp] == nil {
		t.Errorf("GetMulti of both = %v, %v, want the item of the one that is up, and ok", items, ok)
	}
	if items, ok := c.GetMulti([]string{onUp + "absent", onDown}); int(crc32.ChecksumIEEE([]byte(onUp+"absent")))%2 == 0 && (!ok || len(items) != 0) {
		t.Errorf("GetMulti of an absent key = %v, %v, want ok: a server that owns a key answered", items, ok)
	}
	if items, ok := c.GetMulti([]string{onDown}); ok || items != nil {
		t.Errorf("GetMulti of the one that is down = %v, %v, want nil, false", items, ok)
	}
	if c.Set(&gomemcache.Item{Key: onDown}) || !c.Set(&gomemcache.Item{Key: onUp, Value: []byte("v")}) {
		t.Error("Set must fail for the server that is down and work for the other")
	}
	if err := c.Ping(); err == nil || !strings.Contains(err.Error(), down.Addr()) || strings.Contains(err.Error(), up.Addr()) {
		t.Errorf("Ping = %v, want an error that names %s alone", err, down.Addr())
	}
	if err := up.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both found down", func() bool { c.GetMulti([]string{onUp}); return !c.ConnectionAvailable() })
	if items, ok := c.GetMulti([]string{onUp, onDown}); ok || items != nil {
		t.Errorf("GetMulti with both down = %v, %v, want nil, false", items, ok)
	}
	if err := down.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "healed", c.ConnectionAvailable)
}

// TestAllowedFailures tells of the original's threshold, which compared a number with itself and
// opened at the first error.
func TestAllowedFailures(t *testing.T) {
	for allowed, want := range map[int]int{0: 1, 1: 1, 3: 3, 7: 7} {
		fake := testutil.StartFake(t)
		addr := fake.Addr()
		if err := fake.Kill(); err != nil {
			t.Fatal(err)
		}
		c := start(t, reconnectingmemcached.Options{Servers: []string{addr}, AllowedFailuresBeforeHealing: allowed})
		for range 20 {
			c.GetMulti([]string{"k"})
		}
		st := c.Client().Stats()[addr]
		if got := 20 - int(st.Refused); got != want {
			t.Errorf("AllowedFailuresBeforeHealing %d: %d calls were tried before it opened, want %d", allowed, got, want)
		}
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []reconnectingmemcached.Options{
		{},
		{Servers: []string{"no-port"}},
		{Servers: []string{"a:1"}, Timeout: -1},
		{Servers: []string{"a:1"}, MaxIdleConnections: -1},
		{Servers: []string{"a:1"}, AllowedFailuresBeforeHealing: -1},
	} {
		_, wrong := reconnectingmemcached.New(o)
		if wrong == nil {
			t.Errorf("New(%+v) = nil error", o)
			continue
		}
		for name, c := range map[string]*reconnectingmemcached.HealingClient{"NewClient": start(t, o), "zero": {}} {
			items, ok := c.GetMulti([]string{"k"})
			if items != nil || ok || c.Set(&gomemcache.Item{Key: "k"}) || c.ConnectionAvailable() || c.Client() != nil {
				t.Errorf("%s of %+v answers", name, o)
			}
			if err := c.Ping(); err == nil || name == "NewClient" && err.Error() != wrong.Error() {
				t.Errorf("%s of %+v: Ping = %v, want %v", name, o, err, wrong)
			}
		}
	}
	if err := new(reconnectingmemcached.HealingClient).Ping(); !errors.Is(err, memcache.ErrNoServers) {
		t.Errorf("Ping of the zero value = %v, want ErrNoServers", err)
	}
}

// TestNilClientIsNotRegistered tells of the client that was registered before its error was looked
// at: the process crashed on a nil pointer, in a line that said nothing of why.
func TestNilClientIsNotRegistered(t *testing.T) {
	c, err := reconnectingmemcached.New(reconnectingmemcached.Options{})
	if err == nil {
		t.Fatal("New without servers = nil error")
	}
	if err := prometheus.NewRegistry().Register(c); err == nil || !strings.Contains(err.Error(), "nil *HealingClient: check the error of New") {
		t.Errorf("Register of a nil client = %v, want what to do", err)
	}
	metrics := make(chan prometheus.Metric, 1)
	c.Collect(metrics)
	if m := <-metrics; !strings.Contains(m.Desc().String(), "invalid") && m.Write(nil) == nil {
		t.Error("Collect of a nil client sent a metric that counts")
	}
}
