package memcache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// source of values for Load, which counts its loads.
type origin struct {
	delay time.Duration
	calls atomic.Int64
	err   error
}

func (o *origin) load(ctx context.Context) ([]byte, error) {
	n := o.calls.Add(1)
	timer := time.NewTimer(o.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return []byte{'0' + byte(n)}, o.err
}

// playLoads has n clients, as of so many processes, of one server.
func playLoads(t *testing.T, n int, o memcache.Options, play func(t *testing.T, fake *testutil.Fake, clients []*memcache.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
		o.Servers, o.DialContext = []string{fake.Addr()}, fake.Dial
		clients := make([]*memcache.Client, n)
		for i := range clients {
			c, err := memcache.NewWithOptions(nil, o)
			check(t, err)
			clients[i] = c
		}
		play(t, fake, clients)
		for _, c := range clients {
			check(t, c.Close())
		}
	})
}

// loadAll has so many callers of each client ask at the same time, and returns what they all got.
func loadAll(t *testing.T, clients []*memcache.Client, callers int, ttl time.Duration, source *origin) string {
	t.Helper()
	var mu sync.Mutex
	got := make(map[string]int)
	var all sync.WaitGroup
	for _, c := range clients {
		for range callers {
			all.Go(func() {
				value, err := c.Load(t.Context(), "k", ttl, source.load)
				mu.Lock()
				defer mu.Unlock()
				if got[string(value)]++; err != nil {
					t.Errorf("Load: %v", err)
				}
			})
		}
	}
	all.Wait()
	for value := range got {
		if len(got) == 1 {
			return value
		}
	}
	t.Errorf("callers got %v", got)
	return ""
}

// TestManyProcessesLoadOnce: ten processes with a hundred callers each, of a key that is not there.
func TestManyProcessesLoadOnce(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, 50 * time.Millisecond, 20 * time.Second} { // shorter and longer than a lease lives
		playLoads(t, 10, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
			source := &origin{delay: delay}
			began := time.Now()
			if got := loadAll(t, clients, 100, time.Minute, source); got != "1" || source.calls.Load() != 1 {
				t.Errorf("%q after %d loads", got, source.calls.Load())
			}
			if took := time.Since(began); took > delay+150*time.Millisecond {
				t.Errorf("a load of %v took %v", delay, took)
			}
			if got := loadAll(t, clients, 1, time.Minute, source); got != "1" || source.calls.Load() != 1 {
				t.Errorf("%q after %d loads, of a key that is there", got, source.calls.Load())
			}
		})
	}
}

// TestAnOldValueIsLoadedAnewInTheBackground, once for all, and its callers do not wait.
func TestAnOldValueIsLoadedAnewInTheBackground(t *testing.T) {
	t.Parallel()
	playLoads(t, 10, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		source := &origin{delay: time.Second}
		loadAll(t, clients, 1, 10*time.Second, source)
		time.Sleep(11 * time.Second)
		began := time.Now()
		if got := loadAll(t, clients, 100, 10*time.Second, source); got != "1" || time.Since(began) > 0 {
			t.Errorf("%q after %v, want the old value at once", got, time.Since(began))
		}
		time.Sleep(2 * time.Second)
		if got := loadAll(t, clients, 100, 10*time.Second, source); got != "2" || source.calls.Load() != 2 {
			t.Errorf("%q after %d loads", got, source.calls.Load())
		}
		time.Sleep(11 * time.Second)
		source.err = errors.New("away") // the old value is good for a while
		for range 20 {
			if got := loadAll(t, clients, 10, 10*time.Second, source); got != "2" {
				t.Errorf("%q while the source is away", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := source.calls.Load(); n > 2+4 {
			t.Errorf("%d loads in 2 s of an outage that takes each of them a second", n-2)
		}
		time.Sleep(20 * time.Second)
		if value, err := clients[0].Load(t.Context(), "k", 10*time.Second, source.load); err != source.err || len(value) > 0 && value[0] == '2' { //nolint:errorlint // the very error.
			t.Errorf("Load = %q, %v after the old value has gone", value, err)
		}
	})
}

// TestAChangeWhileAKeyIsLoaded is not undone by a value loaded before it.
func TestAChangeWhileAKeyIsLoaded(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(c *memcache.Client) error{
		"delete": func(c *memcache.Client) error { return c.Delete("k") },
		"set":    func(c *memcache.Client) error { return c.Set(&memcache.Item{Key: "k", Value: []byte("new")}) },
	} {
		for _, old := range []bool{false, true} {
			playLoads(t, 2, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
				source := &origin{delay: time.Second}
				if old {
					loadAll(t, clients[:1], 1, 10*time.Second, source)
					time.Sleep(11 * time.Second)
				}
				var loading sync.WaitGroup
				loading.Go(func() { _, _ = clients[0].Load(t.Context(), "k", 10*time.Second, source.load) })
				time.Sleep(500 * time.Millisecond)
				check(t, change(clients[1]))
				loading.Wait()
				time.Sleep(time.Second)
				it, err := clients[1].Get("k")
				if what == "delete" && !errors.Is(err, memcache.ErrCacheMiss) || what == "set" && (err != nil || string(it.Value) != "new") {
					t.Errorf("old value %v: after a %s while it is loaded: %+v, %v", old, what, it, err)
				}
			})
		}
	}
}

func TestTheHolderOfALeaseDies(t *testing.T) {
	t.Parallel()
	playLoads(t, 2, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		check(t, clients[0].Add(&memcache.Item{Key: "k", Value: []byte("dead"), Flags: memcache.LeaseFlags, Expiration: 5}))
		source := &origin{}
		began := time.Now()
		if got := loadAll(t, clients, 10, time.Minute, source); got != "1" || time.Since(began) > 5200*time.Millisecond || time.Since(began) < 4*time.Second {
			t.Errorf("%q after %v", got, time.Since(began))
		}
		if n := source.calls.Load(); n != 1 {
			t.Errorf("%d loads", n)
		}
	})
}

// TestLoadWhileTheServerIsDown: once in each process.
func TestLoadWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	playLoads(t, 2, memcache.Options{}, func(t *testing.T, fake *testutil.Fake, clients []*memcache.Client) {
		check(t, fake.Kill())
		for _, c := range clients {
			for _, view := range []*memcache.Client{c, c.Reporting()} {
				source := &origin{delay: 10 * time.Millisecond}
				if got := loadAll(t, []*memcache.Client{view}, 100, time.Minute, source); got != "1" || source.calls.Load() != 1 {
					t.Errorf("%q after %d loads", got, source.calls.Load())
				}
			}
		}
	})
}

func TestErrorsOfLoad(t *testing.T) {
	t.Parallel()
	playLoads(t, 2, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		failed := &origin{err: errors.New("no rows")}
		for range 2 { // it leaves no lease behind
			began := time.Now()
			if _, err := clients[0].Load(t.Context(), "k", time.Minute, failed.load); err != failed.err || time.Since(began) > 0 { //nolint:errorlint // the very error.
				t.Errorf("Load = %v after %v", err, time.Since(began))
			}
		}
		_, err := clients[1].Load(t.Context(), "k", time.Minute, func(context.Context) ([]byte, error) { panic("oh") })
		if err == nil || !strings.Contains(err.Error(), "oh") {
			t.Errorf("Load of a function that panics: %v", err)
		}
		if _, err := clients[1].Load(t.Context(), "k k", time.Minute, failed.load); !errors.Is(err, memcache.ErrMalformedKey) {
			t.Errorf("Load of a malformed key: %v", err)
		}
		if _, err := clients[1].Load(t.Context(), "k", time.Millisecond, failed.load); err == nil || !strings.Contains(err.Error(), "second") {
			t.Errorf("Load with a short ttl: %v", err)
		}
	})
}

// TestAChangeInTheLastMoment comes between the look at the lease and its replacement.
func TestAChangeInTheLastMoment(t *testing.T) {
	t.Parallel()
	playLoads(t, 2, memcache.Options{}, func(t *testing.T, fake *testutil.Fake, clients []*memcache.Client) {
		fake.SetFault(func(cmd testutil.Command) testutil.Fault {
			if cmd.Verb == "cas" {
				check(t, clients[1].Delete("k"))
			}
			return testutil.Fault{}
		})
		source := &origin{}
		if value, err := clients[0].Load(t.Context(), "k", time.Minute, source.load); err != nil || string(value) != "1" {
			t.Errorf("Load = %q, %v", value, err)
		}
		if it, err := clients[1].Get("k"); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Get = %v, %v after a Delete", it, err)
		}
	})
}

// TestAShortLife: each load anew gives its lease back, so that the next may begin.
func TestAShortLife(t *testing.T) {
	t.Parallel()
	playLoads(t, 3, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		source := &origin{}
		loadAll(t, clients, 1, 2*time.Second, source)
		source.delay = 500 * time.Millisecond
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			for _, c := range clients {
				began := time.Now()
				if _, err := c.Load(t.Context(), "k", 2*time.Second, source.load); err != nil || time.Since(began) > 0 {
					t.Errorf("Load: %v, after %v although there is a value", err, time.Since(began))
				}
			}
		}
		if n := source.calls.Load(); n < 4 || n > 6 {
			t.Errorf("%d loads in 10 s of a value that is old after 2 s", n)
		}
	})
}

// TestCallersOfLoadLeave: the load goes on while one waits, and ends with the last.
func TestCallersOfLoadLeave(t *testing.T) {
	t.Parallel()
	playLoads(t, 1, memcache.Options{}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		source := &origin{delay: 10 * time.Second}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if value, err := clients[0].Load(t.Context(), "k", time.Minute, source.load); err != nil || string(value) != "1" {
				t.Errorf("Load = %q, %v", value, err)
			}
		})
		if _, err := clients[0].Load(short, "k", time.Minute, source.load); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Load = %v, want the context's error", err)
		}
		waiting.Wait()

		check(t, clients[0].Delete("k"))
		again, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := clients[0].Load(again, "k", time.Minute, source.load); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Load = %v, want the context's error", err)
		}
		began := time.Now()
		if value, err := clients[0].Load(t.Context(), "k", time.Minute, source.load); err != nil || string(value) != "3" || time.Since(began) > 11*time.Second {
			t.Errorf("Load = %q, %v after %v, and an abandoned one", value, err, time.Since(began))
		}
	})
}

func TestCloseEndsLoads(t *testing.T) {
	t.Parallel()
	playLoads(t, 1, memcache.Options{}, func(t *testing.T, fake *testutil.Fake, clients []*memcache.Client) {
		source := &origin{delay: time.Hour}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := clients[0].Load(t.Context(), "k", time.Minute, source.load); err == nil {
				t.Error("Load has a value from a source that has not answered")
			}
		})
		time.Sleep(time.Second)
		check(t, clients[0].Close())
		waiting.Wait()

		check(t, clients[0].Set(&memcache.Item{Key: "k", Value: []byte("old"), Flags: uint32(time.Now().Unix())}))
		for range 3 { // nothing in the background uses the client after its end
			if _, err := clients[0].Load(t.Context(), "k", time.Minute, source.load); err != nil {
				t.Errorf("Load: %v", err)
			}
			time.Sleep(time.Second)
			check(t, clients[0].Close())
			if synctest.Wait(); fake.Stats().Open > 0 {
				t.Error("connections after Close")
			}
		}
	})
}

// TestLoadThroughAPlainProxy, which refuses gets, so that there are no CasIDs.
func TestLoadThroughAPlainProxy(t *testing.T) {
	t.Parallel()
	playLoads(t, 10, memcache.Options{PlainGet: true}, func(t *testing.T, _ *testutil.Fake, clients []*memcache.Client) {
		source := &origin{delay: 50 * time.Millisecond}
		if got := loadAll(t, clients, 10, 10*time.Second, source); got != "1" || source.calls.Load() != 1 {
			t.Errorf("%q after %d loads", got, source.calls.Load())
		}
		time.Sleep(11 * time.Second)
		loadAll(t, clients, 10, 10*time.Second, source)
		time.Sleep(time.Second)
		if got := loadAll(t, clients, 10, 10*time.Second, source); got != "2" || source.calls.Load() != 2 {
			t.Errorf("%q after %d loads", got, source.calls.Load())
		}
	})
}
