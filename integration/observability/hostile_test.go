package observability_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/dnspeers"
	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
)

// badNames are names that a registry, or its text, may not like, some of which look alike when they
// are cleaned or cut.
func badNames() []string {
	long := strings.Repeat("0123456789", 1000)
	return []string{
		`"quoted" {a="b"}`, "new\nline", `back\slash`, "\xff\xfe", "\xff\xfd", "\uFFFD\uFFFD", "nul\x00", long, long + "x", strings.Repeat("é", 5000), " ", "_other",
	}
}

// everything is a client of each kind, all of one name.
type everything struct {
	all    []prometheus.Collector
	users  *memcache.Client
	pages  *groupcache.Instance
	set    *breaker.Set
	closes []func()
}

// startEverything starts one whose servers are mostly away, and whose logger panics.
func startEverything(t *testing.T, name string, servers ...string) *everything {
	t.Helper()
	e := &everything{}
	t.Cleanup(e.close)
	log := slog.New(loud{slog.DiscardHandler})
	keep := func(c prometheus.Collector, err error) {
		check(t, err)
		e.all = append(e.all, c)
		switch c := c.(type) {
		case interface{ Close() error }:
			e.closes = append(e.closes, func() { _ = c.Close() })
		case interface{ Close() }:
			e.closes = append(e.closes, c.Close)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var err error
	e.set, err = breaker.NewSet("set "+name, breaker.SetOptions{Options: breaker.Options{Kind: name, Logger: log}})
	keep(e.set, err)
	e.users, err = memcache.NewWithOptions(nil, memcache.Options{Name: name, Servers: servers, Logger: log})
	keep(e.users, err)
	orders, err := sentinel.New(ctx, []string{"127.0.0.1:1"}, sentinel.Options{Name: name, Names: badNames(), StartDown: true, Logger: log})
	keep(orders, err)
	prices, err := autorefresh.New(func(context.Context, string, int) (int, error) { return 0, nil }, autorefresh.Options[string, int]{Name: name, Period: time.Minute, Logger: log})
	keep(prices, err)
	e.pages, err = groupcache.New(groupcache.Options{Name: name, Self: "http://127.0.0.1:1", Logger: log})
	keep(e.pages, err)
	posts, err := groupcache.New(groupcache.Options{Name: "posts " + name})
	keep(posts, err)
	network, err := grpcpeer.New(grpcpeer.Options{Name: name})
	keep(network, err)
	names, err := dnspeers.Watch(ctx, posts, "localhost", dnspeers.Options{Port: 1, Logger: log})
	keep(names, err)
	listed, err := etcdpeers.Watch(ctx, posts, "groupcache", etcdpeers.Options{Endpoints: []string{"127.0.0.1:1"}, Logger: log})
	keep(listed, err)
	return e
}

func (e *everything) close() {
	for _, close := range e.closes {
		close()
	}
}

// use makes a call that fails through a breaker of the set, and one to a server.
func (e *everything) use(endpoint string, n int) {
	_, _ = breaker.Do(context.Background(), e.set.Get(endpoint), func(context.Context) (int, error) { return 0, errBroken })
	_, _ = e.users.Get(fmt.Sprint("key", n))
}

func (e *everything) group(name string) error {
	_, err := e.pages.NewGroup(name, 1<<20, groupcache.GetterFunc(func(context.Context, string, groupcache.Sink) error { return nil }))
	return err
}

// loud is a slog.Handler that panics.
type loud struct{ slog.Handler }

func (loud) Enabled(context.Context, slog.Level) bool  { return true }
func (loud) Handle(context.Context, slog.Record) error { panic("loud") }
func (l loud) WithAttrs([]slog.Attr) slog.Handler      { return l }
func (l loud) WithGroup(string) slog.Handler           { return l }

// TestNamesThatNobodyLikes: whatever clients, endpoints and groups are called, a scrape has all of
// them, also in a second registry.
func TestNamesThatNobodyLikes(t *testing.T) {
	servers := []string{testutil.StartFake(t).Addr(), "[::1]:1", "localhost:1", t.TempDir() + "/" + strings.Repeat("s", 200)}
	path := strings.Repeat("/long", 60)
	for i, name := range []string{badNames()[0], badNames()[1], badNames()[3], badNames()[7]} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			e := startEverything(t, name, servers...)
			for n, bad := range badNames() {
				for range 5 {
					e.use(bad, n)
				}
				if err := e.group(bad); err != nil && !strings.Contains(err.Error(), "groupcache:") {
					t.Errorf("NewGroup(%.20q): %v", bad, err)
				}
			}
			check(t, e.pages.SetPeers("http://127.0.0.1:1", "http://[::1]:2", "http://127.0.0.1:3"+path+"/a", "http://127.0.0.1:3"+path+"/b"))
			for range 2 {
				registry := prometheus.NewPedanticRegistry()
				for _, c := range e.all {
					if err := registry.Register(c); err != nil {
						t.Errorf("Register(%T): %v", c, err)
					}
				}
				server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
				if text, err := (&prometheusServer{server.URL}).get(t.Context(), "", nil); err != nil || len(text) < 10_000 {
					t.Errorf("a scrape of %d bytes: %.2000v", len(text), err)
				}
				server.Close()
			}
		})
	}
}

// TestScrapesAreSafe: scrapes go side by side with all that clients do, and with Close.
func TestScrapesAreSafe(t *testing.T) {
	fake := testutil.StartFake(t)
	e := startEverything(t, "busy", fake.Addr(), "127.0.0.1:1")
	registry := prometheus.NewRegistry()
	registry.MustRegister(e.all...)
	ctx, end := context.WithCancel(t.Context())
	var scrapers sync.WaitGroup
	for range 4 {
		scrapers.Go(func() {
			for ctx.Err() == nil {
				if _, err := registry.Gather(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 100 {
		e.use(fmt.Sprint("e", n), n)
		if n == 50 {
			check(t, fake.Hang())
		}
		if n%10 == 0 {
			check(t, e.pages.SetPeers("http://127.0.0.1:1", fmt.Sprintf("http://127.0.0.1:%d", n+5)))
			check(t, e.group(fmt.Sprint("g", n)))
		}
	}
	e.close()
	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
	end()
	scrapers.Wait()
}
