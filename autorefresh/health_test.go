package autorefresh_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// fleet is a second level of several servers, of which some are down. Like a client it says which.
type fleet struct {
	leasing
	mu   sync.Mutex
	dead map[string]bool
}

func (s *fleet) set(server string, dead bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead[server] = dead
}

func (s *fleet) Servers() map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	servers := make(map[string]error)
	for server, dead := range s.dead {
		servers[server] = nil
		if dead {
			servers[server] = errDown
		}
	}
	return servers
}

// without are the keys whose server is up, and an error if there are others.
func (s *fleet) without(keys []string) (up []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		n, _ := strconv.Atoi(key)
		if s.dead["cache-"+strconv.Itoa(n%3)] {
			err = errDown
		} else {
			up = append(up, key)
		}
	}
	return up, err
}

func (s *fleet) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	up, err := s.without(keys)
	found, bad := s.leasing.GetMulti(ctx, up)
	return found, errors.Join(err, bad)
}

func (s *fleet) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	some := make(map[string][]byte)
	var err error
	for key, value := range values {
		if up, bad := s.without([]string{key}); bad == nil {
			some[up[0]] = value
		} else {
			err = bad
		}
	}
	return errors.Join(err, s.leasing.SetMulti(ctx, some, ttl))
}

func (s *fleet) Lease(ctx context.Context, keys []string, ttl time.Duration) (map[string]bool, error) {
	up, err := s.without(keys)
	taken, bad := s.leasing.Lease(ctx, up, ttl)
	return taken, errors.Join(err, bad)
}

func (s *fleet) Release(ctx context.Context, keys ...string) error {
	up, err := s.without(keys)
	return errors.Join(err, s.leasing.Release(ctx, up...))
}

// leased are the keys that have leases.
func (s *fleet) leased() []string {
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	return slices.Sorted(maps.Keys(s.leases))
}

func newFleet() *fleet {
	return &fleet{leasing: leasing{newShared()}, dead: map[string]bool{"cache-0": false, "cache-1": false, "cache-2": false}}
}

// downs are the servers that the metric says are down, of all.
func downs(t *testing.T, c prometheus.Collector) (down []string, all int) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "holdfast_autorefresh_store_down" {
			continue
		}
		for _, m := range f.GetMetric() {
			all++
			if m.GetGauge().GetValue() == 1 {
				for _, label := range m.GetLabel() {
					if label.GetName() == "endpoint" {
						down = append(down, label.GetValue())
					}
				}
			}
		}
	}
	return down, all
}

// With one of three servers dead, calls for its keys said "down" and calls for others "is back": 80
// to 300 lines a second, and a metric that was a coin toss.
func TestDeadServerIsSaidOnceAndMeasured(t *testing.T) {
	store, log := newFleet(), new(journal)
	o := options{Name: "prices", Period: 10 * time.Second, Store: store, Logger: log.logger()}
	inBubble(t, o, newSource().refresh, func(t *testing.T, c *cache) {
		createMany(t, c, 300)
		settle(30 * time.Second)
		if down, all := downs(t, c); len(down) != 0 || all != 3 || log.String() != "" {
			t.Fatalf("%v of %d servers are down, log %s", down, all, log)
		}
		store.set("cache-1", true)
		for range 20 {
			settle(3 * time.Second)
			if down, _ := downs(t, c); len(down) != 1 || down[0] != "cache-1" || !c.Stats().StoreDown {
				t.Fatalf("servers down: %v, want cache-1 all the time", down)
			}
		}
		store.set("cache-1", false)
		settle(10 * time.Second)
		if down, _ := downs(t, c); len(down) != 0 || c.Stats().StoreDown {
			t.Errorf("servers down: %v, want none", down)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines, want one when it went down and one when it came back:\n%.2000s", len(lines), log)
		}
		for i, want := range []string{`level=WARN msg="autorefresh: second level is down" client=prices endpoint=[cache-1] cause="source is down"`, `is back" client=prices endpoint=[cache-1] after=`} {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line %s, want %s", lines[i], want)
			}
		}
	})
}

// Leases on a dead server are not asked for, and those on others still are.
func TestOtherServersStillShareLeases(t *testing.T) {
	s, store := newSource(), newFleet()
	s.cost = time.Second
	store.set("cache-1", true)
	o := options{Period: time.Minute, Store: store, First: autorefresh.FirstImmediate}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 0, 1)
		settle(500 * time.Millisecond)
		if got := store.leased(); !slices.Equal(got, []string{"0"}) {
			t.Errorf("leases %v, want that of the server that is up", got)
		}
		settle(time.Second)
		if got := store.leased(); len(got) != 0 {
			t.Errorf("leases %v after the calls, want none", got)
		}
	})
}

// The shield's rate is for keys that cannot be shared.
func TestShieldIsForKeysOfDeadServers(t *testing.T) {
	s, store := newSource(), newFleet()
	store.set("cache-1", true)
	o := options{Period: time.Hour, Store: store, ShieldRate: 1, First: autorefresh.FirstAfterPeriod}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		begin := time.Now()
		for key := range 30 {
			if key%3 != 1 {
				_, _ = c.Load(t.Context(), key)
			}
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("20 loads of keys whose servers are up took %v, want no wait", d)
		}
		for key := range 30 {
			if key%3 == 1 {
				_, _ = c.Load(t.Context(), key)
			}
		}
		if d := time.Since(begin); d < 8*time.Second {
			t.Errorf("10 loads of keys whose server is down took %v, want one a second", d)
		}
	})
}

// flipping is a store that does not say how it is, and fails every other call.
type flipping struct {
	*shared
	calls *int
}

func (s flipping) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	s.mu.Lock()
	*s.calls++
	odd := *s.calls%2 == 1
	s.mu.Unlock()
	if odd {
		return nil, errDown
	}
	return s.shared.GetMulti(ctx, keys)
}

func TestChangesAreSaidOnceASecond(t *testing.T) {
	log := new(journal)
	o := options{Name: "prices", Period: time.Second, Store: flipping{newShared(), new(int)}, Logger: log.logger()}
	inBubble(t, o, newSource().refresh, func(t *testing.T, c *cache) {
		createMany(t, c, cut(300, 3))
		settle(time.Minute)
		if lines := strings.Count(log.String(), "\n"); lines > 61 || lines < 2 || !strings.Contains(log.String(), "client=prices cause=") {
			t.Errorf("%d lines in a minute, want at most one a second, with the cache's name: %.500s", lines, log)
		}
		if _, all := downs(t, c); all != 1 {
			t.Errorf("%d series for a store that does not say how it is, want 1", all)
		}
	})
}

// Registering the nil of a failed constructor panicked, instead of returning the constructor's
// error.
func TestNilIsRefusedWithAReason(t *testing.T) {
	var c *cache
	if err := prometheus.NewRegistry().Register(c); err == nil || !strings.Contains(err.Error(), "nil *Cache: check the error of New") {
		t.Errorf("Register of a nil *Cache: %v", err)
	}
	metrics := make(chan prometheus.Metric, 1)
	c.Collect(metrics)
	if err := (<-metrics).Write(nil); err == nil || !strings.Contains(err.Error(), "nil *Cache") {
		t.Errorf("Collect of a nil *Cache: %v", err)
	}
}
