package memcachedstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

type (
	options = autorefresh.Options[int, int64]
	cache   = autorefresh.Cache[int, int64]
)

// source counts its calls, which give their number.
type source struct {
	calls atomic.Int64
	down  atomic.Bool
}

func (s *source) load(ctx context.Context, _ int, _ int64) (int64, error) {
	n := s.calls.Add(1)
	if s.down.Load() {
		return 0, errors.New("source is down")
	}
	select {
	case <-time.After(2 * time.Millisecond):
		return n, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// replica makes a cache as a process of its own would: with its own client, a patient one unless it
// is in the options.
func replica(t *testing.T, addr string, s *source, o options) *cache {
	t.Helper()
	if addr != "" && o.Store == nil {
		o.StoreTimeout = patience
		o.Store = newStore(t, newClient(t, memcache.Options{Servers: []string{addr}}))
	}
	c, err := autorefresh.New(s.load, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestReplicasShareRefreshes: three replicas cost the source hardly more than one.
func TestReplicasShareRefreshes(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(p *testutil.Pace) { shareRefreshes(t, p) })
}

// shareRefreshes compares three replicas with one for six periods. A machine that cannot keep up
// with so many refreshes leaves leases to end, and does better with longer periods.
func shareRefreshes(t *testing.T, p *testutil.Pace) {
	t.Helper()
	const items, periods = 200, 6
	period := p.Longer(500 * time.Millisecond)
	server := testutil.StartMemcached(t)
	var alone, together source
	all := []*cache{replica(t, "", &alone, options{Period: period})}
	for range 3 {
		all = append(all, replica(t, server.Addr(), &together, options{Period: period}))
	}
	for key := range items {
		for _, c := range all {
			if _, _, err := c.GetOrCreate(key, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(2 * period)
	one, three := alone.calls.Load(), together.calls.Load()
	time.Sleep(periods * period)
	one, three = alone.calls.Load()-one, together.calls.Load()-three
	t.Logf("three replicas: %.3f times the calls of one (%d and %d)", float64(three)/float64(one), three, one)
	if float64(three) > 1.1*float64(one) {
		p.Errorf("%d calls by three replicas, %d by one, want 10 %% more at most", three, one)
	}
	for i, c := range all {
		for key := range items {
			fresh := func() bool {
				e, _ := c.Lookup(key)
				return time.Since(e.LoadedAt) <= 3*period+time.Second
			}
			for began := time.Now(); !fresh(); time.Sleep(time.Millisecond) {
				if time.Since(began) > 20*time.Second {
					p.Errorf("cache %d: key %d is not refreshed", i, key)
					break
				}
			}
		}
	}
	if n := all[1].Stats(); n.Adopted == 0 || n.StoreErrors > 0 || n.StoreUndecodable > 0 {
		t.Errorf("Stats() = %+v, want adopted values and no errors", n)
	}
	for _, c := range all { // the next try is to have the machine to itself
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHerdLoadsOnce: what many ask for in three processes at the same time is asked for once.
func TestHerdLoadsOnce(t *testing.T) {
	server := testutil.StartMemcached(t)
	var s source
	var callers sync.WaitGroup
	for range 3 {
		c := replica(t, server.Addr(), &s, options{Period: time.Minute})
		for range 20 {
			callers.Go(func() {
				if v, err := c.Load(t.Context(), 1); err != nil || v != 1 {
					t.Errorf("Load(1) = %d, %v, want 1", v, err)
				}
			})
		}
	}
	callers.Wait()
	if n := s.calls.Load(); n != 1 {
		t.Errorf("%d calls of the source, want 1", n)
	}
}

// TestServerBreaksAndHeals: whatever happens to memcached, values are served, the source sees no
// more than the shield's rate, and replicas share again afterwards.
func TestServerBreaksAndHeals(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name        string
		hurt, mend  func(*testutil.Process) error
		stillStored bool
	}{
		{"killed", (*testutil.Process).Kill, (*testutil.Process).Restart, false},
		{"hung", (*testutil.Process).Hang, (*testutil.Process).Release, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel() // each has a server and a source of its own
			const items, rate = 400, 20.0
			server := testutil.StartMemcached(t)
			var s source
			o := options{Period: time.Second, ShieldRate: rate, StoreTTL: time.Hour}
			o.Store = newStore(t, newClient(t, memcache.Options{Servers: []string{server.Addr()}, Timeout: memcache.DefaultTimeout}))
			c := replica(t, server.Addr(), &s, o)
			fill(t, c, items)
			if err := x.hurt(server); err != nil {
				t.Fatal(err)
			}
			eventually(t, "found down", func() bool { return c.Stats().StoreDown })
			before, began := s.calls.Load(), time.Now()
			slowest := readFor(t, c, items, 1200*time.Millisecond)
			seconds := time.Since(began).Seconds()
			calls := float64(s.calls.Load() - before)
			t.Logf("%s: %.0f calls of the source in %.1f s, slowest read %v", x.name, calls, seconds, slowest)
			// Calls under way when it was found down are not held back.
			if calls > rate*seconds+8+16 {
				t.Errorf("%.0f calls of the source in %.1f s, want %v a second at most", calls, seconds, rate)
			}
			if v, err := c.Load(t.Context(), items+1); err != nil || v == 0 {
				t.Errorf("Load of a new key = %d, %v", v, err)
			}
			if err := x.mend(server); err != nil {
				t.Fatal(err)
			}
			eventually(t, "used again", func() bool { return !c.Stats().StoreDown })
			sharesAgain(t, server.Addr(), c, &s)
		})
	}
}

// fill has a cache load its items, some at a time.
func fill(t *testing.T, c *cache, items int) {
	t.Helper()
	var loaders sync.WaitGroup
	for first := range 16 {
		loaders.Go(func() {
			for key := first; key < items; key += 16 {
				if _, err := c.Load(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	loaders.Wait()
}

// readFor reads all items over and over, none of which may be missing.
func readFor(t *testing.T, c *cache, items int, d time.Duration) (slowest time.Duration) {
	t.Helper()
	for began := time.Now(); time.Since(began) < d; time.Sleep(time.Millisecond) {
		for key := range items {
			start := time.Now()
			if _, err := c.Load(t.Context(), key); err != nil {
				t.Fatalf("Load(%d): %v", key, err)
			}
			slowest = max(slowest, time.Since(start))
		}
	}
	return slowest
}

// sharesAgain waits until another replica can adopt what this one loads.
func sharesAgain(t *testing.T, addr string, c *cache, s *source) {
	t.Helper()
	quiet := options{Period: time.Hour}
	other := replica(t, addr, s, quiet)
	key := 1000
	eventually(t, "values are shared again", func() bool {
		key++
		mine, err := c.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := other.Load(t.Context(), key)
		return err == nil && mine == theirs
	})
}

// TestShieldServesWhatMemcachedHas: a process that starts while the source is down has the values
// that others have loaded.
func TestShieldServesWhatMemcachedHas(t *testing.T) {
	server := testutil.StartMemcached(t)
	var s source
	o := options{Period: 200 * time.Millisecond, MaxStale: time.Hour}
	c := replica(t, server.Addr(), &s, o)
	want, err := c.Load(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	s.down.Store(true)
	time.Sleep(300 * time.Millisecond)
	late := replica(t, server.Addr(), &s, o)
	if v, err := late.Load(t.Context(), 1); err != nil || v < want {
		t.Errorf("Load(1) = %d, %v while the source is down, want %d", v, err, want)
	}
	if n := late.Stats(); n.LoadsShielded != 1 {
		t.Errorf("Stats() = %+v, want one load shielded", n)
	}
}

// TestLeasesLastAsLongAsTheyMust: memcached counts whole seconds by its own clock, whose phase must
// not matter.
func TestLeasesLastAsLongAsTheyMust(t *testing.T) {
	t.Parallel()
	const ttl = time.Second
	server := testutil.StartMemcached(t)
	mine := newStore(t, newClient(t, memcache.Options{Servers: []string{server.Addr()}}))
	others := newStore(t, newClient(t, memcache.Options{Servers: []string{server.Addr()}}))
	var waiters sync.WaitGroup
	for i := range 10 {
		key, began := fmt.Sprint(i), time.Now()
		if taken, err := mine.Lease(t.Context(), []string{key}, ttl); err != nil || len(taken) > 0 {
			t.Fatalf("Lease() = %v, %v", taken, err)
		}
		waiters.Go(func() {
			for time.Since(began) < 20*time.Second {
				taken, err := others.Lease(t.Context(), []string{key}, ttl)
				if err != nil {
					t.Error(err)
					return
				}
				if !taken[key] {
					// A memcached that a busy machine wakes late has a clock that is late. A phase
					// that mattered would end some at once.
					if d := time.Since(began); d < ttl/2 {
						t.Errorf("a lease for %v ended after %v", ttl, d)
					}
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
			t.Errorf("a lease for %v does not end", ttl)
		})
		time.Sleep(100 * time.Millisecond)
	}
	waiters.Wait()
}

func TestReleaseEndsALeaseAtOnce(t *testing.T) {
	server := testutil.StartMemcached(t)
	mine := newStore(t, newClient(t, memcache.Options{Servers: []string{server.Addr()}}))
	others := newStore(t, newClient(t, memcache.Options{Servers: []string{server.Addr()}}))
	for range 20 {
		if taken, err := mine.Lease(t.Context(), []string{"1"}, time.Hour); err != nil || taken["1"] {
			t.Fatalf("Lease() = %v, %v", taken, err)
		}
		if err := others.Release(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		if taken, err := others.Lease(t.Context(), []string{"1"}, time.Hour); err != nil || !taken["1"] {
			t.Fatalf("Lease() by another = %v, %v, want it taken", taken, err)
		}
		if err := mine.Release(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTooLargeAValueIsNoOutage(t *testing.T) {
	server := testutil.StartMemcached(t)
	s := newStore(t, newClient(t, memcache.Options{Servers: []string{server.Addr()}}))
	err := s.SetMulti(t.Context(), map[string][]byte{"1": make([]byte, 2<<20)}, time.Minute)
	if !errors.Is(err, autorefresh.ErrRefused) {
		t.Errorf("SetMulti() = %v, want ErrRefused", err)
	}
}
