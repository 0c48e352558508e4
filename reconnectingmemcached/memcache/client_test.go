package memcache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

func TestZeroOptionsWork(t *testing.T) {
	fake := testutil.StartFake(t)
	list := new(memcache.ServerList)
	if err := list.SetServers(fake.Addr()); err != nil {
		t.Fatal(err)
	}
	c, err := memcache.NewWithOptions(list, memcache.Options{})
	if err != nil {
		t.Fatalf("NewWithOptions with zero Options: %v", err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if it, err := c.Get("k"); err != nil || string(it.Value) != "v" {
		t.Errorf("Get = %v, %v", it, err)
	}
}

func TestBadOptions(t *testing.T) {
	list := new(memcache.ServerList)
	for want, o := range map[string]memcache.Options{
		"Timeout is -1":             {Timeout: -1},
		"MaxIdleConns is -2":        {MaxIdleConns: -2},
		"MaxInFlight is -3":         {MaxInFlight: -3},
		"MaxItemSize is -4":         {MaxItemSize: -4},
		"ConsecutiveFailures is -5": {ConsecutiveFailures: -5},
		"Overflow is 9":             {Overflow: 9},
	} {
		if _, err := memcache.NewWithOptions(list, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewWithOptions(%+v) = %v, want an error with %q", o, err, want)
		}
	}
	for _, addr := range []string{"", "localhost", "localhost:", "localhost:99999", "::1:11211:"} {
		_, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{addr}})
		if err == nil || !strings.Contains(err.Error(), "use ") {
			t.Errorf("NewWithOptions(%q) = %v, want an error that says what to use", addr, err)
		}
		c := memcache.New("127.0.0.1:1", addr)
		if _, err := c.Get("k"); !errors.Is(err, memcache.ErrNoServers) || !strings.Contains(err.Error(), fmt.Sprintf("%q", addr)) && addr != "" {
			t.Errorf("New(%q).Get = %v, want ErrNoServers that names it", addr, err)
		}
		_ = c.Close()
	}
	for addr, want := range map[string]bool{strings.Repeat("x", 254) + ":65535": true, strings.Repeat("x", 1<<20) + ":1": false} {
		c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{addr}})
		if (err == nil) != want || err != nil && (len(err.Error()) > 200 || !strings.Contains(err.Error(), "use at most 260")) {
			t.Errorf("NewWithOptions of an address of %d bytes = %v", len(addr), err)
		}
		if c != nil {
			check(t, c.Close())
		}
	}
	if _, err := memcache.NewWithOptions(nil, memcache.Options{}); !errors.Is(err, memcache.ErrNoServers) {
		t.Errorf("NewWithOptions without servers = %v, want ErrNoServers", err)
	}
	if _, err := memcache.NewWithOptions(list, memcache.Options{Servers: []string{"a:1"}}); err == nil {
		t.Error("NewWithOptions with a selector and servers = nil, want an error")
	}
}

func TestNoServers(t *testing.T) {
	for name, c := range map[string]*memcache.Client{"zero": {}, "New()": memcache.New(), "empty list": memcache.NewFromSelector(new(memcache.ServerList))} {
		if _, err := c.Get("k"); err != memcache.ErrNoServers { //nolint:errorlint // the very value.
			t.Errorf("%s: Get = %v, want ErrNoServers", name, err)
		}
		if err := c.Set(&memcache.Item{Key: "k"}); err != memcache.ErrNoServers { //nolint:errorlint // the very value.
			t.Errorf("%s: Set = %v, want ErrNoServers", name, err)
		}
		if c.Available() {
			t.Errorf("%s: Available() = true without servers", name)
		}
		if err := c.Close(); err != nil {
			t.Errorf("%s: Close = %v", name, err)
		}
	}
}

// TestCloseAndUseAgain: as gomemcache promises.
func TestCloseAndUseAgain(t *testing.T) {
	fake := testutil.StartFake(t)
	c := memcache.New(fake.Addr())
	c.Timeout = patience
	for range 3 {
		if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
			t.Fatalf("Set: %v", err)
		}
		if _, err := c.Get("k"); err != nil {
			t.Fatalf("Get: %v", err)
		}
		for range 2 {
			if err := c.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
		}
		eventually(t, "connections closed", func() bool { return fake.Stats().Open == 0 })
	}
}

// TestCloseUnderLoad: calls under way end at once, none hangs, none panics.
func TestCloseUnderLoad(t *testing.T) {
	fake := testutil.StartFake(t)
	fake.SetFault(testutil.OnVerbs(testutil.DelayReply(10*time.Second), "gets"))
	c := memcache.New(fake.Addr())
	c.Timeout = time.Minute
	var calls sync.WaitGroup
	for i := range 3 { // fewer than hang detection takes notice of
		calls.Go(func() {
			if _, err := c.Get(fmt.Sprint("k", i)); !errors.Is(err, memcache.ErrCacheMiss) {
				t.Errorf("Get cut by Close: %v, want ErrCacheMiss", err)
			}
		})
	}
	eventually(t, "calls under way", func() bool { return c.Stats()[fake.Addr()].InFlight == 3 })
	start := time.Now()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	calls.Wait()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v with calls under way", took)
	}
}

func TestContext(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, Timeout: time.Minute, HangTimeout: -1})
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.GetContext(canceled, "k"); !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("GetContext with an ended context = %v", err)
	}

	if err := fake.Hang(); err != nil { // nobody is answered before Release
		t.Fatal(err)
	}
	calls := map[string]func(context.Context) error{
		"Get":            func(ctx context.Context) error { _, err := c.GetContext(ctx, "read"); return err },
		"GetMulti":       func(ctx context.Context) error { _, err := c.GetMultiContext(ctx, []string{"read"}); return err },
		"GetAndTouch":    func(ctx context.Context) error { _, err := c.GetAndTouchContext(ctx, "read", 0); return err },
		"Touch":          func(ctx context.Context) error { return c.TouchContext(ctx, "k", 0) },
		"Set":            func(ctx context.Context) error { return c.SetContext(ctx, &memcache.Item{Key: "k"}) },
		"Add":            func(ctx context.Context) error { return c.AddContext(ctx, &memcache.Item{Key: "k"}) },
		"Replace":        func(ctx context.Context) error { return c.ReplaceContext(ctx, &memcache.Item{Key: "k"}) },
		"Append":         func(ctx context.Context) error { return c.AppendContext(ctx, &memcache.Item{Key: "k"}) },
		"Prepend":        func(ctx context.Context) error { return c.PrependContext(ctx, &memcache.Item{Key: "k"}) },
		"CompareAndSwap": func(ctx context.Context) error { return c.CompareAndSwapContext(ctx, &memcache.Item{Key: "k"}) },
		"Delete":         func(ctx context.Context) error { return c.DeleteContext(ctx, "k") },
		"Increment":      func(ctx context.Context) error { _, err := c.IncrementContext(ctx, "k", 1); return err },
		"Decrement":      func(ctx context.Context) error { _, err := c.DecrementContext(ctx, "k", 1); return err },
		"Ping":           c.PingContext,
		"FlushAll":       c.FlushAllContext,
		"DeleteAll":      c.DeleteAllContext,
		"large Set": func(ctx context.Context) error {
			return c.SetContext(ctx, &memcache.Item{Key: "large", Value: make([]byte, memcache.LargeValue+1)})
		},
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		start := time.Now()
		err := call(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want context.DeadlineExceeded", name, err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s returned %v after its context's 20 ms", name, took)
		}
	}
	if err := fake.Release(); err != nil {
		t.Fatal(err)
	}
	if st := c.Stats()[fake.Addr()]; st.State != breaker.Closed || st.Refused > 0 {
		t.Errorf("callers' deadlines opened the breaker: %+v", st)
	}
	// The places of the callers that left stay in the order of replies: the next ones must get
	// their own answers.
	for i := range 5 {
		key := fmt.Sprint("after", i)
		if err := c.Set(&memcache.Item{Key: key, Value: []byte(key)}); err != nil {
			t.Errorf("Set after calls were abandoned: %v", err)
		}
		if it, err := c.Get(key); err != nil || string(it.Value) != key {
			t.Errorf("Get(%q) after calls were abandoned = %v, %v", key, it, err)
		}
	}
}

// TestFallbackErrors: what each call returns while its server is down.
func TestFallbackErrors(t *testing.T) {
	fake := testutil.StartFake(t)
	addr := fake.Addr()
	if err := fake.Kill(); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, memcache.Options{Servers: []string{addr}})
	for round := range 3 {
		if _, err := c.Get("k"); err != memcache.ErrCacheMiss { //nolint:errorlint // callers compare with ==.
			t.Errorf("round %d: Get = %v, want ErrCacheMiss itself", round, err)
		}
		if _, err := c.GetAndTouch("k", 1); err != memcache.ErrCacheMiss { //nolint:errorlint // callers compare with ==.
			t.Errorf("round %d: GetAndTouch = %v, want ErrCacheMiss itself", round, err)
		}
		if items, err := c.GetMulti([]string{"k"}); err != nil || items == nil || len(items) != 0 {
			t.Errorf("round %d: GetMulti = %v, %v, want an empty map and nil", round, items, err)
		}
		it := &memcache.Item{Key: "k"}
		writes := map[string]error{
			"set": c.Set(it), "add": c.Add(it), "replace": c.Replace(it), "append": c.Append(it), "prepend": c.Prepend(it),
			"compare_and_swap": c.CompareAndSwap(it), "delete": c.Delete("k"), "touch": c.Touch("k", 1), "ping": c.Ping(), "flush_all": c.FlushAll(),
		}
		_, writes["increment"] = c.Increment("k", 1)
		_, writes["decrement"] = c.Decrement("k", 1)
		for op, err := range writes {
			var down *memcache.ServerDownError
			if !errors.As(err, &down) || !errors.Is(err, memcache.ErrServerDown) {
				t.Errorf("round %d: %s = %v, want a *ServerDownError", round, op, err)
				continue
			}
			if down.Addr != addr || down.Op != op || down.Cause == nil || down.Sent {
				t.Errorf("round %d: %s = %+v, want address %s, operation %s, a cause, not sent", round, op, down, addr, op)
			}
			if errors.Is(err, memcache.ErrCacheMiss) || errors.Is(err, memcache.ErrNotStored) {
				t.Errorf("round %d: %s = %v, which reads as an answer", round, op, err)
			}
		}
	}
	r := c.Reporting()
	if _, err := r.Get("k"); !errors.Is(err, memcache.ErrServerDown) || errors.Is(err, memcache.ErrCacheMiss) {
		t.Errorf("Reporting().Get = %v, want ErrServerDown", err)
	}
	if _, err := r.GetMulti([]string{"k"}); !errors.Is(err, memcache.ErrServerDown) {
		t.Errorf("Reporting().GetMulti = %v, want ErrServerDown", err)
	}
	if c.Available() {
		t.Error("Available() = true with its only server down")
	}
}

func TestMaxInFlight(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, MaxInFlight: 2, Timeout: time.Minute, HangTimeout: -1, ReportUnavailable: true})
	if err := c.Set(&memcache.Item{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if err := fake.Hang(); err != nil { // nobody is answered before Release
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if _, err := c.Get("k"); err != nil {
				t.Errorf("Get within MaxInFlight: %v", err)
			}
		})
	}
	eventually(t, "two calls under way", func() bool { return c.Stats()[fake.Addr()].InFlight == 2 })
	start := time.Now()
	if _, err := c.Get("k"); !errors.Is(err, memcache.ErrBusy) || !errors.Is(err, memcache.ErrServerDown) {
		t.Errorf("third Get with MaxInFlight 2 = %v, want ErrBusy", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("the refusal took %v", took)
	}
	if got := c.Stats()[fake.Addr()].InFlight; got != 2 {
		t.Errorf("%d calls under way after the refusal, want the two before it", got)
	}
	if err := fake.Release(); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
}

func TestForceDown(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}})
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if !c.ForceDown(fake.Addr()) || c.ForceDown("elsewhere:1") {
		t.Error("ForceDown must tell servers that it knows from others")
	}
	eventually(t, "down", func() bool { return !c.Available() })
	if _, err := c.Get("k"); !errors.Is(err, memcache.ErrCacheMiss) {
		t.Errorf("Get while forced down = %v, want ErrCacheMiss", err)
	}
	c.Reset(fake.Addr())
	eventually(t, "up again", func() bool { it, err := c.Get("k"); return err == nil && string(it.Value) == "v" })
}

// TestDistribution: keys go where gomemcache sends them, listed twice means twice the keys, and a
// key has one owner.
func TestDistribution(t *testing.T) {
	addrs := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:2"}
	list := new(memcache.ServerList)
	if err := list.SetServers(addrs...); err != nil {
		t.Fatal(err)
	}
	names := newClient(t, memcache.Options{Servers: addrs})
	foreign := memcache.NewFromSelector(list)
	defer func() { _ = foreign.Close() }()
	for i := range 1000 {
		key := strings.Repeat("k", i%200) + fmt.Sprint(i)
		want, err := list.PickServer(key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := names.Owner(key); err != nil || got != want.String() {
			t.Fatalf("Owner(%q) = %v, %v; gomemcache picks %v", key, got, err, want)
		}
		if got, err := foreign.Owner(key); err != nil || got != want.String() {
			t.Fatalf("Owner(%q) through a selector = %v, %v; it picks %v", key, got, err, want)
		}
	}
}

func TestDialContext(t *testing.T) {
	fake := testutil.StartFake(t)
	var dialled atomic.Value
	c := memcache.New("cache.example:11211")
	c.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Store(network + " " + address)
		return new(net.Dialer).DialContext(ctx, "tcp", fake.Addr())
	}
	defer func() { _ = c.Close() }()
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
	if got := dialled.Load(); got != "tcp cache.example:11211" {
		t.Errorf("DialContext was given %q, want the name as configured", got)
	}

	panics := memcache.New("cache.example:11211")
	panics.DialContext = func(context.Context, string, string) (net.Conn, error) { panic("oops") }
	defer func() { _ = panics.Close() }()
	if err := panics.Ping(); !errors.Is(err, memcache.ErrServerDown) || !strings.Contains(err.Error(), "oops") {
		t.Errorf("Ping with a dialer that panics = %v, want a *ServerDownError with its words", err)
	}
}

// TestManyKeys: GetMulti splits lists too long for one request, and large values pass.
func TestManyKeys(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}})
	keys := make([]string, 3*memcache.MaxMultiKeys+7)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
		if err := c.Set(&memcache.Item{Key: keys[i], Value: []byte(keys[i])}); err != nil {
			t.Fatal(err)
		}
	}
	items, err := c.GetMulti(append(keys, keys[0], "absent"))
	if err != nil || len(items) != len(keys) {
		t.Fatalf("GetMulti of %d keys = %d items, %v", len(keys), len(items), err)
	}
	for k, it := range items {
		if string(it.Value) != k {
			t.Errorf("item %q has value %q", k, it.Value)
		}
	}
	for _, size := range []int{memcache.LargeValue, memcache.LargeValue + 1, 64 << 10, 64<<10 - 1, 500_000} {
		value := make([]byte, size)
		value[0], value[size-1] = 1, 2
		if err := c.Set(&memcache.Item{Key: "large", Value: value}); err != nil {
			t.Fatalf("Set of %d bytes: %v", size, err)
		}
		it, err := c.Get("large")
		if err != nil || len(it.Value) != size || it.Value[0] != 1 || it.Value[size-1] != 2 {
			t.Errorf("Get of %d bytes: %v", size, err)
		}
	}
}

// TestOwnCopies: no two callers share an item.
func TestOwnCopies(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}})
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("0123456789")}); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for g := range 16 {
		callers.Go(func() {
			for range 200 {
				it, err := c.Get("k")
				if err != nil || string(it.Value) != "0123456789" {
					t.Errorf("Get = %v, %v", it, err)
					return
				}
				for i := range it.Value {
					it.Value[i] = byte(g)
				}
				it.Key = ""
			}
		})
	}
	callers.Wait()
}
