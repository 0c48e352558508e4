package observability_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/dnspeers"
	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
)

// lab is a process with a client of each kind, on real servers, under load, and the means to take
// the servers away.
type lab struct {
	log      *lines
	registry *prometheus.Registry
	url      string // of its metrics
	broken   atomic.Bool

	memcached, level *testutil.Process
	redis            *redis.Cluster
	etcd             *testutil.Etcd
	peer             *httptest.Server // another peer, over HTTP
	peerConns        *connections     // to it, those for frames too, which its server does not know any more

	users   *memcache.Client
	orders  *sentinel.Client
	prices  *autorefresh.Cache[string, int]
	pages   *groupcache.Group
	posts   *groupcache.Group
	billing *breaker.Breaker
}

var errBroken = errors.New("the source is broken")

func (l *lab) source(context.Context) error {
	if l.broken.Load() {
		return errBroken
	}
	return nil
}

func startLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{log: &lines{}, registry: prometheus.NewRegistry()}
	l.memcached, l.level = testutil.StartMemcached(t), testutil.StartMemcached(t)
	l.redis = redis.StartCluster(t, redis.ClusterOptions{Sentinels: 3, Replicas: 1, Fast: true})
	l.etcd = testutil.StartEtcd(t)
	l.startMemcached(t)
	l.startRedis(t)
	l.startAutorefresh(t)
	l.startPages(t)
	l.startPosts(t)
	var err error
	l.billing, err = breaker.New("billing", breaker.Options{
		SlowCallDuration: time.Second, Logger: l.logger(), Backoff: func(error, int) time.Duration { return 200 * time.Millisecond },
	})
	check(t, err)
	t.Cleanup(func() { _ = l.billing.Close() })
	l.registry.MustRegister(l.billing)
	server := httptest.NewServer(promhttp.HandlerFor(l.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	t.Cleanup(server.Close)
	l.url = server.URL
	l.load(t)
	return l
}

func (l *lab) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func (l *lab) startMemcached(t *testing.T) {
	t.Helper()
	var err error
	l.users, err = memcache.NewWithOptions(nil, memcache.Options{Name: "users", Servers: []string{l.memcached.Addr()}, Logger: l.logger()})
	check(t, err)
	t.Cleanup(func() { _ = l.users.Close() })
	l.registry.MustRegister(l.users)
}

func (l *lab) startRedis(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var err error
	l.orders, err = sentinel.New(ctx, l.redis.SentinelAddrs(), sentinel.Options{Name: "orders", Names: []string{"mymaster"}, Logger: l.logger()})
	check(t, err)
	t.Cleanup(l.orders.Close)
	l.registry.MustRegister(l.orders)
}

func (l *lab) startAutorefresh(t *testing.T) {
	t.Helper()
	client, err := memcache.NewWithOptions(nil, memcache.Options{Name: "prices", Servers: []string{l.level.Addr()}, Logger: l.logger()})
	check(t, err)
	store, err := memcachedstore.New(client, memcachedstore.Options{Namespace: "prices"})
	check(t, err)
	l.prices, err = autorefresh.New(func(ctx context.Context, _ string, old int) (int, error) { return old + 1, l.source(ctx) },
		autorefresh.Options[string, int]{
			Name: "prices", Period: time.Second, MaxStale: 30 * time.Second, Store: store, Logger: l.logger(),
			Breaker: breaker.Options{Backoff: func(error, int) time.Duration { return 200 * time.Millisecond }},
		})
	check(t, err)
	t.Cleanup(func() { _, _ = l.prices.Close(), client.Close() })
	l.registry.MustRegister(client, l.prices)
}

// connections is a listener that can close the connections it has accepted.
type connections struct {
	net.Listener

	mu   sync.Mutex
	open []net.Conn // guarded by mu
}

func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open = append(c.open, conn)
	}
	return conn, err
}

func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		_ = conn.Close()
	}
}

// startPages makes a peer cache over HTTP, of this process and another that DNS names.
func (l *lab) startPages(t *testing.T) {
	t.Helper()
	mine, other := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	l.peer, l.peerConns = other, &connections{Listener: other.Listener}
	other.Listener = l.peerConns
	self, elsewhere := "http://"+mine.Listener.Addr().String(), "http://"+other.Listener.Addr().String()
	for _, s := range []struct {
		server *httptest.Server
		self   string
		named  string
	}{{mine, self, "pages"}, {other, elsewhere, "pages at the other peer"}} {
		i, err := groupcache.New(groupcache.Options{
			Name: s.named, Self: s.self, Auth: groupcache.AuthRequire, Secret: []byte("known to both peers"), Logger: l.logger(),
		})
		check(t, err)
		t.Cleanup(func() { _ = i.Close() })
		g, err := i.NewGroup("pages", 1<<20, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
			return dest.SetString("page "+key, time.Now().Add(time.Second))
		}))
		check(t, err)
		check(t, i.SetPeers(self, elsewhere))
		s.server.Config.Handler = i.Handler()
		s.server.Start()
		if s.server == mine {
			l.pages = g
			l.registry.MustRegister(i)
		}
	}
	t.Cleanup(mine.Close)
	t.Cleanup(other.Close)
}

// startPosts makes a peer cache over gRPC, of two peers that etcd names; a watcher of DNS looks on.
func (l *lab) startPosts(t *testing.T) {
	t.Helper()
	for n := range 2 {
		network, err := grpcpeer.New(grpcpeer.Options{
			Name: fmt.Sprint("posts ", n), Authorize: func(context.Context, string) error { return nil }, // all who ask are on this machine
		})
		check(t, err)
		i, err := groupcache.New(groupcache.Options{Name: fmt.Sprint("posts ", n), Network: network, Logger: l.logger()})
		check(t, err)
		g, err := i.NewGroup("posts", 1<<20, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
			return dest.SetString("post "+key, time.Now().Add(time.Second))
		}))
		check(t, err)
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		check(t, err)
		go func() { _ = network.Serve(listener) }()
		w, err := etcdpeers.Watch(t.Context(), i, "posts", etcdpeers.Options{
			Self: listener.Addr().String(), Endpoints: []string{l.etcd.Addr()}, TTL: 2 * time.Second, Logger: l.logger(),
		})
		check(t, err)
		t.Cleanup(func() {
			_, _, _ = w.Close(), i.Close(), network.Shutdown(context.Background())
		})
		l.registry.MustRegister(network)
		if n == 0 {
			l.posts = g
			l.registry.MustRegister(i, w)
		}
	}
	quiet, err := groupcache.New(groupcache.Options{Name: "comments"})
	check(t, err)
	d, err := dnspeers.Watch(t.Context(), quiet, "comments.svc", dnspeers.Options{
		Port: 8080, Interval: 500 * time.Millisecond, Resolver: resolver{l}, Logger: l.logger(),
	})
	check(t, err)
	t.Cleanup(func() { _, _ = d.Close(), quiet.Close() })
	l.registry.MustRegister(d)
}

// resolver is DNS that fails when the lab does.
type resolver struct{ lab *lab }

func (r resolver) LookupHost(ctx context.Context, host string) ([]string, error) {
	if r.lab.source(ctx) != nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []string{"127.0.0.1"}, nil
}

func (r resolver) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, errBroken
}

// load uses all clients, a hundred times a second each.
func (l *lab) load(t *testing.T) {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	var users sync.WaitGroup
	use := func(fn func(key string)) {
		users.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				fn(fmt.Sprint("key", n%50))
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	use(func(key string) {
		if _, err := l.users.Get(key); err != nil {
			_ = l.users.Set(&memcache.Item{Key: key, Value: []byte("value")})
		}
		_, _ = l.users.GetMulti([]string{key, "absent"})
	})
	use(func(key string) {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = l.orders.Do(limited, "mymaster", radix.Cmd(nil, "SET", key, "1"))
	})
	use(func(key string) {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, _ = l.prices.Load(limited, key)
	})
	use(func(key string) { _, _ = l.pages.View(ctx, key) })
	use(func(key string) { _, _ = l.posts.View(ctx, key) })
	use(func(string) {
		_, _ = breaker.Do(ctx, l.billing, func(ctx context.Context) (struct{}, error) { return struct{}{}, l.source(ctx) })
	})
	t.Cleanup(func() { end(); users.Wait() })
}

// break takes everything away.
func (l *lab) breakAll(t *testing.T) {
	t.Helper()
	l.broken.Store(true)
	check(t, l.memcached.Kill())
	check(t, l.level.Kill())
	check(t, l.etcd.Kill())
	l.peer.Listener.Close() //nolint:errcheck // and the connections below.
	l.peerConns.closeAll()
	for _, s := range l.redis.Sentinels() {
		check(t, s.Hang())
	}
	check(t, l.redis.HangPrimary(t.Context(), "mymaster"))
}

// healAll brings everything back.
func (l *lab) healAll(t *testing.T) {
	t.Helper()
	l.broken.Store(false)
	check(t, l.memcached.Restart())
	check(t, l.level.Restart())
	check(t, l.etcd.Restart())
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", l.peer.Listener.Addr().String())
	check(t, err)
	go func() { _ = http.Serve(listener, l.peer.Config.Handler) }() //nolint:gosec // a test's peer.
	t.Cleanup(func() { _ = listener.Close() })
	for _, s := range l.redis.Servers("mymaster") {
		_ = s.Release()
	}
	for _, s := range l.redis.Sentinels() {
		check(t, s.Release())
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lines keeps the log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns the lines since the last take.
func (l *lines) take(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		var attrs map[string]any
		check(t, json.Unmarshal([]byte(line), &attrs))
		all = append(all, attrs)
	}
	l.text.Reset()
	return all
}
