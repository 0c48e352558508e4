package memcache_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// The bounds below are the targets of docs/benchmarks; each test logs what it measured. Times are
// only logged: timing_test.go has them, in virtual time. What a machine is too busy for at the
// usual pace it must show at a slower one.

func isUp(c *memcache.Client, addr string) func() bool {
	return func() bool { return c.State(addr) == breaker.Closed }
}

func isDown(c *memcache.Client, addr string) func() bool {
	return func() bool { return c.State(addr) != breaker.Closed }
}

// TestKilled: one of three servers dies by SIGKILL and comes back. The others do not notice.
func TestKilled(t *testing.T) {
	testutil.AtSomePace(t, func(p *testutil.Pace) { killed(t, p) })
}

func killed(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	servers, addrs := threeServers(t)
	c := newClient(t, memcache.Options{Servers: addrs, Timeout: pace.Longer(memcache.DefaultTimeout), ReportUnavailable: true})
	l := startLoad(t, c)
	defer l.end()
	l.reset()
	began, dialsBefore := time.Now(), dials(c, addrs[2])
	if err := servers[2].Kill(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(pace.Longer(2 * time.Second))
	elapsed := time.Since(began)
	share, slowest := l.healthyShare(2)
	broken := l.byIndex[2].take()
	perSecond := float64(dials(c, addrs[2])-dialsBefore) / elapsed.Seconds()
	t.Logf("killed: healthy calls answered %.4f, slowest %v; broken server: %v; %.1f dials/s", share, slowest, broken, perSecond)
	if share < 0.99 {
		pace.Errorf("healthy servers answered %.4f of their calls, want 0.99", share)
	}
	if broken.other > 0 {
		t.Errorf("errors seen: %v, want failed writes and no other", broken)
	}
	if broken.failedWrites > 16 {
		pace.Errorf("errors seen: %v, want at most 16 failed writes", broken)
	}
	if broken.refused < 1000 {
		pace.Errorf("only %d calls to the dead server were refused: the load did not run", broken.refused)
	}

	back := healTime(t, c, addrs[2], servers[2].Restart)
	t.Logf("healed %v after the restart", back)
}

// healTime heals a server and waits for the client to use it again.
func healTime(t *testing.T, c *memcache.Client, addr string, heal func() error) time.Duration {
	t.Helper()
	if err := heal(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	eventually(t, "server used again", isUp(c, addr))
	return time.Since(start)
}

func dials(c *memcache.Client, addr string) uint64 {
	st := c.Stats()[addr]
	return st.Dials + st.DialErrors
}

// TestHung: one of three servers is stopped by SIGSTOP: the kernel accepts connections and data,
// nobody answers. And the same with a black hole in front.
func TestHung(t *testing.T) {
	for _, hole := range []bool{false, true} {
		t.Run(fmt.Sprintf("black hole=%v", hole), func(t *testing.T) {
			testutil.AtSomePace(t, func(p *testutil.Pace) {
				servers, addrs := threeServers(t)
				if hole {
					proxy := testutil.StartProxy(t, addrs[2])
					servers[2], addrs[2] = proxy, proxy.Addr()
				}
				c := newClient(t, memcache.Options{Servers: addrs, Timeout: p.Longer(memcache.DefaultTimeout), ReportUnavailable: true})
				hung(t, p, c, servers[2], addrs[2])
			})
		})
	}
}

// hung hangs the last server of a client.
func hung(t *testing.T, pace *testutil.Pace, c *memcache.Client, server testutil.Server, addr string) {
	t.Helper()
	l := startLoad(t, c)
	defer l.end()
	l.reset()
	start := time.Now()
	if err := server.Hang(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "hang found", isDown(c, addr))
	found := time.Since(start)
	time.Sleep(pace.Longer(1200*time.Millisecond) - found)
	share, slowest := l.healthyShare(2)
	broken := l.byIndex[2].take()
	t.Logf("hung: found after %v; healthy calls answered %.4f, slowest %v; broken server: %v", found, share, slowest, broken)
	if broken.totalTime > pace.Longer(10*time.Second) { // target 5 goroutine-seconds of 38
		pace.Errorf("%v goroutine time lost at the hung server, want 5 s", broken.totalTime)
	}
	if share < 0.97 {
		pace.Errorf("healthy servers answered %.4f of their calls, want 0.97", share)
	}
	back := healTime(t, c, addr, server.Release)
	t.Logf("healed %v after the release", back)
}

// TestQuickRestart: a server restarts within 35 ms. Reads carry on, and it is used again within
// moments.
func TestQuickRestart(t *testing.T) {
	testutil.AtSomePace(t, func(p *testutil.Pace) { restartQuickly(t, p) })
}

func restartQuickly(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	servers, addrs := threeServers(t)
	c := newClient(t, memcache.Options{Servers: addrs, Timeout: pace.Longer(memcache.DefaultTimeout), ReportUnavailable: true})
	l := startLoad(t, c)
	defer l.end()
	l.reset()
	start := time.Now()
	if err := servers[2].Kill(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(35*time.Millisecond - time.Since(start))
	if err := servers[2].Restart(); err != nil {
		t.Fatal(err)
	}
	restarted := time.Now()
	eventually(t, "shard back", func() bool { return c.State(addrs[2]) == breaker.Closed && l.byIndex[2].misses.Load() > 20 })
	back := time.Since(restarted)
	broken := l.byIndex[2].take()
	t.Logf("restart took %v, shard back after %v: %v", restarted.Sub(start), back, broken)
	if broken.other > 0 {
		t.Errorf("errors seen: %v, want failed writes and no other", broken)
	}
	if broken.failedWrites > 5 {
		pace.Errorf("errors seen: %v, want at most 5 failed writes", broken)
	}
}

// TestRestartOfHealthyServer tells of the pool of N stale connections that failed N calls after a
// restart: here no Get fails, and stale connections do not open the breaker.
func TestRestartOfHealthyServer(t *testing.T) {
	server := testutil.StartMemcached(t)
	proxy := testutil.StartProxy(t, server.Addr())
	c := newClient(t, memcache.Options{Servers: []string{proxy.Addr()}, ReportUnavailable: true, Timeout: 10 * time.Second})
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	for range 8 { // leaves idle private connections, which go stale too
		var sets sync.WaitGroup
		for range 8 {
			sets.Go(func() { _ = c.Set(&memcache.Item{Key: "large", Value: make([]byte, memcache.LargeValue+1)}) })
		}
		sets.Wait()
	}
	stop := make(chan struct{})
	var callers sync.WaitGroup
	var answered [16]atomic.Int64
	for i := range answered {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if it, err := c.Get("k"); err != nil || string(it.Value) != "v" {
					t.Errorf("Get while connections are cut: %v, %v", it, err)
					answered[i].Store(math.MaxInt64)
					return
				}
				answered[i].Add(1)
			}
		})
	}
	for range 20 {
		time.Sleep(20 * time.Millisecond)
		for i := range answered { // a call is tried twice: it must not meet a second cut
			for before := answered[i].Load(); answered[i].Load() < before+2 && before < math.MaxInt64; {
				time.Sleep(time.Millisecond)
			}
		}
		if err := proxy.Cut(); err != nil { // what a restart that nobody can dial into does to connections
			t.Error(err)
		}
	}
	close(stop)
	callers.Wait()
	if st := c.Stats()[proxy.Addr()]; st.Refused > 0 || st.State != breaker.Closed {
		t.Errorf("stale connections opened the breaker: %+v", st)
	}
}

// TestGetMultiWithOneDown: the items of the other servers come at once, without an error.
func TestGetMultiWithOneDown(t *testing.T) {
	servers, addrs := threeServers(t)
	c := newClient(t, memcache.Options{Servers: addrs})
	keys := make([]string, 30)
	for i := range keys {
		keys[i] = keyOf(i%3, i)
		if err := c.Set(&memcache.Item{Key: keys[i], Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := servers[1].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "server found down", func() bool { _, _ = c.Get(keys[1]); return isDown(c, addrs[1])() })
	var times []time.Duration
	for range 500 {
		start := time.Now()
		items, err := c.GetMulti(keys)
		times = append(times, time.Since(start))
		if err != nil || len(items) != 20 {
			t.Fatalf("GetMulti = %d items, %v; want 20, nil", len(items), err)
		}
	}
	t.Logf("GetMulti of 30 keys with 1 of 3 servers down: 20 items, p99 %v", percentile(times, 0.99))

	items, err := c.Reporting().GetMulti(keys)
	var down *memcache.ServerDownError
	if len(items) != 20 || !errors.As(err, &down) || down.Addr != addrs[1] {
		t.Errorf("Reporting().GetMulti = %d items, %v; want 20 and an error that names %s", len(items), err, addrs[1])
	}
	if err := c.Ping(); !errors.As(err, &down) || down.Addr != addrs[1] {
		t.Errorf("Ping = %v, want an error that names %s", err, addrs[1])
	}
}

// TestNoStaleReads tells of the write that failed during an outage: after it, the server served the
// old value for as long as that lived, and a write that had been given up became visible later.
func TestNoStaleReads(t *testing.T) {
	runs := 10
	if testing.Short() {
		runs = 2
	}
	rehearse := func(t *testing.T, addr string, breakIt, heal func() error) {
		t.Parallel() // most of the time it waits
		stale := 0
		for range runs {
			stale += staleReads(t, addr, breakIt, heal)
		}
		t.Logf("%d stale or zombie reads in %d runs of 40 writes", stale, runs)
		if stale > 0 {
			t.Errorf("%d stale or zombie reads, want 0", stale)
		}
	}
	t.Run("hung", func(t *testing.T) {
		process := testutil.StartMemcached(t)
		rehearse(t, process.Addr(), process.Hang, process.Release)
	})
	t.Run("cut off", func(t *testing.T) {
		proxy := testutil.StartProxy(t, testutil.StartMemcached(t).Addr())
		rehearse(t, proxy.Addr(), proxy.Kill, proxy.Restart)
	})
}

// staleReads overwrites and deletes 40 keys during an outage, and counts old values and resurrected
// writes after it.
func staleReads(t *testing.T, addr string, breakIt, heal func() error) (stale int) {
	t.Helper()
	c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{addr}, Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for i := range 40 {
		eventually(t, "stored", func() bool { // the time limit is short for a busy machine
			return c.Set(&memcache.Item{Key: fmt.Sprint("k", i), Value: []byte("old")}) == nil
		})
	}
	if err := breakIt(); err != nil {
		t.Fatal(err)
	}
	var writes sync.WaitGroup
	failed := make([]bool, 40)
	for i := range 40 {
		writes.Go(func() {
			var err error
			if i%4 == 0 {
				err = c.Delete(fmt.Sprint("k", i))
			} else {
				err = c.Set(&memcache.Item{Key: fmt.Sprint("k", i), Value: []byte("new")})
			}
			failed[i] = err != nil
		})
	}
	writes.Wait()
	if slices.Contains(failed, false) {
		t.Error("a write succeeded during the outage")
	}
	if err := heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "server used again", func() bool { _, _ = c.Get("other"); return c.Available() })
	for pause := range 3 {
		for i := range 40 {
			if it, err := c.Get(fmt.Sprint("k", i)); err == nil {
				t.Logf("look %d: key k%d = %q after an outage in which its write failed", pause, i, it.Value)
				stale++
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return stale
}

// TestApplicationErrorsDoNotTrip: what the server refuses to do says nothing about its health.
func TestApplicationErrorsDoNotTrip(t *testing.T) {
	server := testutil.StartMemcached(t)
	c := newClient(t, memcache.Options{Servers: []string{server.Addr()}})
	for range 50 {
		if err := c.Set(&memcache.Item{Key: "huge", Value: make([]byte, 2<<20)}); !errors.Is(err, memcache.ErrServerError) {
			t.Fatalf("Set of 2 MiB: %v, want ErrServerError", err)
		}
		if err := c.Set(&memcache.Item{Key: "text", Value: []byte("x")}); err != nil {
			t.Fatalf("Set after a refused one: %v", err)
		}
		if _, err := c.Increment("text", 1); err == nil {
			t.Fatal("Increment of text = nil, want an error")
		}
		if err := c.Replace(&memcache.Item{Key: "absent"}); !errors.Is(err, memcache.ErrNotStored) {
			t.Fatalf("Replace of nothing: %v, want ErrNotStored", err)
		}
		if _, err := c.Get("absent"); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Fatalf("Get of nothing: %v, want ErrCacheMiss", err)
		}
	}
	if st := c.Stats()[server.Addr()]; st.State != breaker.Closed || st.Refused > 0 || st.Dials > 60 {
		t.Errorf("after 250 application errors: %+v, want a closed breaker", st)
	}
}
