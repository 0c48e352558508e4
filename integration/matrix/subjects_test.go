package matrix_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
)

// subject is a client of a package, with a server behind a way.
type subject struct {
	way       *way
	authority *testutil.Authority // nil: nothing is encrypted
	words     words
	// server is the server's own process; nil: it has none.
	server testutil.Server
	// fill gives a server what it has lost with its process.
	fill func(t *testing.T)
	// read makes one call about something that the server has. served reports whether the server
	// answered, and not something in its place. The error is one that must not be.
	read func(ctx context.Context) (served bool, err error)
	// write stores a number and returns what the caller is told of it. Nil: there is none.
	write func(ctx context.Context, n int) (fate, error)
	// audit looks whether what is stored is what was said. Nil: there is no write.
	audit func(ctx context.Context, s said) error
	close func()
}

// keys are how many things the servers have.
const keys = 500

// more are for a cache, which asks once for each: more than there are calls in the slowest try.
const more = 7000

func key(i int) string { return name(i % keys) }

func name(i int) string { return "key-" + strconv.Itoa(i) }

var (
	errWrong   = errors.New("the answer is another's")
	errLedger  = errors.New("not what was said")
	errTooMany = errors.New("there were more calls than the second level has keys")
)

// trusting is a client's configuration that trusts an authority; nil without one.
func trusting(a *testutil.Authority) *tls.Config {
	if a == nil {
		return nil
	}
	return &tls.Config{RootCAs: a.Pool, MinVersion: tls.VersionTLS12}
}

func memcached(t *testing.T, in surroundings) *subject {
	t.Helper()
	server := testutil.StartMemcached(t)
	fill := func(t *testing.T) {
		t.Helper()
		fill, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{server.Addr()}, Timeout: slack})
		if err != nil {
			t.Fatal(err)
		}
		defer fill.Close()
		for i := range keys {
			if err := fill.Set(&memcache.Item{Key: key(i), Value: []byte(key(i))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(t)
	w := newWay(t, server.Addr(), in, twemproxy)
	c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{w.addr()}, TLS: trusting(in.authority)})
	if err != nil {
		t.Fatal(err)
	}
	var next atomic.Int64
	return &subject{
		way: w, authority: in.authority, words: memcachedWords(), server: server, fill: fill, close: func() { _ = c.Close() },
		read: func(ctx context.Context) (bool, error) {
			k := key(int(next.Add(1)))
			it, err := c.GetContext(ctx, k)
			switch {
			case err == nil && string(it.Value) != k:
				return true, fmt.Errorf("%w: %q of %s", errWrong, it.Value, k)
			case err == nil:
				return true, nil
			case errors.Is(err, memcache.ErrCacheMiss), errors.Is(err, memcache.ErrServerError), ctx.Err() != nil:
				return false, nil
			}
			return false, err
		},
		write: func(ctx context.Context, n int) (fate, error) {
			if c.SetContext(ctx, &memcache.Item{Key: "ledger", Value: []byte(strconv.Itoa(n))}) != nil {
				return unknown, nil
			}
			return stored, nil
		},
		audit: func(ctx context.Context, s said) error {
			it, err := c.GetContext(ctx, "ledger")
			if errors.Is(err, memcache.ErrCacheMiss) {
				return nil
			}
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(string(it.Value))
			return cmp.Or(err, s.last(n))
		},
	}
}

func redisPrimary(t *testing.T, in surroundings) *subject {
	t.Helper()
	server := redis.StartServer(t, redis.ServerOptions{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	w := newWay(t, server.Addr(), in, haproxy)
	fill := func(t *testing.T) {
		t.Helper()
		direct, err := (radix.PoolConfig{}).New(t.Context(), "tcp", server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer direct.Close()
		for i := range keys {
			if err := direct.Do(t.Context(), radix.Cmd(nil, "SET", key(i), key(i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(t)
	c, err := sentinel.New(t.Context(), nil, sentinel.Options{
		Names: []string{"m"}, Servers: []string{w.addr()}, Server: sentinel.Endpoint{TLS: trusting(in.authority)}, StartDown: in.absent,
	})
	if err != nil {
		t.Fatal(err)
	}
	documented := func(ctx context.Context, err error) error {
		if err == nil || errors.Is(err, sentinel.ErrNotSent) || errors.Is(err, sentinel.ErrOutcomeUnknown) || ctx.Err() != nil {
			return nil
		}
		return err
	}
	var next atomic.Int64
	return &subject{
		way: w, authority: in.authority, words: redisWords(), server: server, fill: func(*testing.T) {}, close: c.Close,
		read: func(ctx context.Context) (bool, error) {
			k, v := key(int(next.Add(1))), ""
			err := c.Do(ctx, "m", radix.Cmd(&v, "GET", k))
			if err == nil && v != k {
				return true, fmt.Errorf("%w: %q of %s", errWrong, v, k)
			}
			return err == nil, documented(ctx, err)
		},
		write: func(ctx context.Context, n int) (fate, error) {
			switch err := c.Do(ctx, "m", radix.Cmd(nil, "RPUSH", "ledger", strconv.Itoa(n))); {
			case err == nil:
				return stored, nil
			case errors.Is(err, sentinel.ErrNotSent):
				return notStored, nil
			default:
				return unknown, documented(ctx, err)
			}
		},
		audit: func(ctx context.Context, s said) error {
			var there []int
			err := c.Do(ctx, "m", radix.Cmd(&there, "LRANGE", "ledger", "0", "-1"))
			return cmp.Or(err, s.all(there))
		},
	}
}

// peers are two processes that share a cache. One knows only the other, and asks it for all keys.
func peers(t *testing.T, in surroundings) *subject {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newWay(t, listener.Addr().String(), in, nginx)
	scheme := "http://"
	if in.authority != nil {
		scheme = "https://"
	}
	member := func(name, self string) (*groupcache.Instance, *groupcache.Group) {
		i, err := groupcache.New(groupcache.Options{Self: self, TLS: trusting(in.authority)})
		if err != nil {
			t.Fatal(err)
		}
		g, err := i.NewGroup("g", 1<<20, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
			return dest.SetString(name+key, time.Time{})
		}))
		if err != nil {
			t.Fatal(err)
		}
		if err := i.SetPeers(scheme + w.addr()); err != nil {
			t.Fatal(err)
		}
		return i, g
	}
	owner, _ := member("owner:", scheme+w.addr())
	server := &http.Server{Handler: owner.Handler(), ReadHeaderTimeout: time.Minute}
	served := running(func() { _ = server.Serve(listener) })
	asker, group := member("asker:", scheme+"127.0.0.1:1")
	var next atomic.Int64
	return &subject{
		way: w, authority: in.authority, words: httpWords(),
		close: func() {
			_ = asker.Close()
			_ = owner.Close()
			_ = server.Close()
			<-served
		},
		read: func(ctx context.Context) (bool, error) {
			k := "key-" + strconv.FormatInt(next.Add(1), 10)
			v, err := group.View(ctx, k)
			if err != nil {
				if ctx.Err() != nil {
					return false, nil
				}
				return false, err
			}
			by, got, _ := strings.Cut(v.String(), ":")
			if got != k {
				return true, fmt.Errorf("%w: %q of %s", errWrong, v.String(), k)
			}
			return by == "owner", nil
		},
	}
}

// running runs f and returns a channel that is closed when it has returned.
func running(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return done
}

// cache is one whose source says who it is.
func cache(from string, store autorefresh.Store) (*autorefresh.Cache[string, string], error) {
	return autorefresh.New(func(_ context.Context, key, _ string) (string, error) { return from + key, nil },
		autorefresh.Options[string, string]{Name: "matrix", Period: time.Hour, Store: store})
}

// inMemory is a second level without a server.
type inMemory struct {
	mu     sync.Mutex
	values map[string][]byte // guarded by mu
}

func (m *inMemory) GetMulti(context.Context, []string) (map[string][]byte, error) { return nil, nil }

func (m *inMemory) SetMulti(_ context.Context, values map[string][]byte, _ time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.values, values)
	return nil
}

func (m *inMemory) Delete(context.Context, ...string) error { return nil }

// levels is what another process has stored in the second level: it is computed once.
//
//nolint:gochecknoglobals // see above.
var levels = sync.OnceValues(func() (map[string][]byte, error) {
	m := &inMemory{values: make(map[string][]byte)}
	c, err := cache("level:", m)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for i := range more {
		if _, err := c.Load(context.Background(), name(i)); err != nil {
			return nil, err
		}
	}
	return m.values, nil
})

// secondLevel is a cache that finds in memcached what another process has stored.
func secondLevel(t *testing.T, in surroundings) *subject {
	t.Helper()
	server := testutil.StartMemcached(t)
	w := newWay(t, server.Addr(), in, twemproxy)
	open := func(t *testing.T, o memcache.Options) (*memcache.Client, *memcachedstore.Store) {
		t.Helper()
		client, err := memcache.NewWithOptions(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		store, err := memcachedstore.New(client, memcachedstore.Options{Namespace: "matrix"})
		if err != nil {
			t.Fatal(err)
		}
		return client, store
	}
	fill := func(t *testing.T) {
		t.Helper()
		first, level := open(t, memcache.Options{Servers: []string{server.Addr()}, Timeout: slack})
		defer first.Close()
		stored, err := levels()
		if err != nil {
			t.Fatal(err)
		}
		if err := level.SetMulti(t.Context(), stored, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	fill(t)
	client, store := open(t, memcache.Options{Servers: []string{w.addr()}, TLS: trusting(in.authority)})
	c, err := cache("source:", store)
	if err != nil {
		t.Fatal(err)
	}
	var next atomic.Int64
	return &subject{
		way: w, authority: in.authority, words: memcachedWords(), server: server, fill: fill,
		close: func() {
			c.Close()
			_ = client.Close()
		},
		read: func(ctx context.Context) (bool, error) {
			n := next.Add(1)
			if n >= more {
				return false, errTooMany
			}
			k := name(int(n))
			v, err := c.Load(ctx, k)
			if err != nil {
				if ctx.Err() != nil {
					return false, nil
				}
				return false, err
			}
			from, got, _ := strings.Cut(v, ":")
			if got != k {
				return true, fmt.Errorf("%w: %q of %s", errWrong, v, k)
			}
			return from == "level", nil
		},
	}
}
