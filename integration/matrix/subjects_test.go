package matrix_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp/resp3"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
)

// subject is a client of a package, with a server behind a way.
type subject struct {
	way       *way
	ways      []*way              // to all servers, if there are several: the first is way
	cluster   *redis.Cluster      // nil: its servers have no sentinels
	authority *testutil.Authority // nil: nothing is encrypted
	words     words
	within    time.Duration // the deadline of its calls; 0: deadline
	callbacks *callbacks    // nil: it has none
	// server is the server's own process; nil: it has none.
	server testutil.Server
	// exhaust leaves the server no room for what it is to store. Nil: it stores nothing.
	exhaust func(t *testing.T, s *subject)
	// refusals counts the writes that the server has refused.
	refusals *atomic.Int64
	// forged says that an answer has been changed.
	forged atomic.Bool
	// elsewhere makes a call about another primary. Nil: there is none.
	elsewhere func(ctx context.Context) error
	// list has the client's list of servers have the server, or nothing. Nil: there is none.
	list func(there bool)
	// fill gives a server what it has lost with its process.
	fill func(t *testing.T)
	// read makes one call about something that the server has. served reports whether the server
	// answered, and not something in its place. The error is one that must not be.
	read func(ctx context.Context) (served bool, err error)
	// write stores a number and returns what the caller is told of it. Nil: there is none.
	write func(ctx context.Context, n int) (fate, error)
	// audit compares the server with the answers that callers had. Nil: there is no write.
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
	var process testutil.ProcessOptions
	if in.full {
		process = testutil.ProcessOptions{MemoryMB: 2, Args: []string{"-M"}}
	}
	server := testutil.StartMemcached(t, process)
	fill := func(t *testing.T) { t.Helper(); fillKeys(t, server.Addr()) }
	fill(t)
	w := newWay(t, server.Addr(), in, twemproxy)
	ways := append([]*way{w}, otherWays(t, in, fillKeys)...)
	c, change := memcacheClient(t, ways, in)
	var next, refusals atomic.Int64
	return &subject{
		way: w, ways: ways, authority: in.authority, words: memcachedWords(), server: server, fill: fill, close: func() { _ = c.Close() },
		exhaust: fillMemcached, refusals: &refusals, list: change,
		read: func(ctx context.Context) (bool, error) {
			k := key(int(next.Add(1)))
			it, err := c.GetContext(ctx, k)
			switch {
			case err == nil && string(it.Value) != k:
				return true, fmt.Errorf("%w: %q of %s", errWrong, it.Value, k)
			case err == nil:
				return true, nil
			case errors.Is(err, memcache.ErrCacheMiss), errors.Is(err, memcache.ErrServerError), ctx.Err() != nil,
				(in.listed || in.callbacks != nil) && errors.Is(err, memcache.ErrNoServers):
				return false, nil
			}
			return false, err
		},
		write: func(ctx context.Context, n int) (fate, error) {
			err := c.SetContext(ctx, &memcache.Item{Key: "ledger", Value: []byte(strconv.Itoa(n))})
			if errors.Is(err, memcache.ErrServerError) {
				refusals.Add(1)
			}
			if err != nil {
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

// fillKeys gives a memcached the keys.
func fillKeys(t *testing.T, addr string) {
	t.Helper()
	var sets bytes.Buffer
	for i := range keys {
		writeSet(&sets, key(i), fmt.Sprint("0 0 ", len(key(i))), key(i))
	}
	carryOut(t, addr, sets.Bytes())
}

// memcacheClient returns a client of some ways, and what changes its list of servers.
func memcacheClient(t *testing.T, ways []*way, in surroundings) (*memcache.Client, func(there bool)) {
	t.Helper()
	o := memcache.Options{Servers: addrs(ways), TLS: trusting(in.authority), Timeout: in.within}
	in.callbacks.ofMemcache(&o)
	var selector memcache.ServerSelector
	var change func(bool)
	if in.listed || in.callbacks != nil {
		l := listOf(t, ways[0].addr())
		selector, change, o.Servers = placed{l, in.callbacks}, l.change, nil
	}
	c, err := memcache.NewWithOptions(selector, o)
	if err != nil {
		t.Fatal(err)
	}
	return c, change
}

func redisPrimary(t *testing.T, in surroundings) *subject {
	t.Helper()
	if in.several {
		return redisCluster(t, in)
	}
	server := redis.StartServer(t, redis.ServerOptions{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	w := newWay(t, server.Addr(), in, haproxy)
	tell(t, server, fillCommand()...)
	o := sentinel.Options{
		Names: []string{"m"}, Servers: []string{w.addr()}, Server: sentinel.Endpoint{TLS: trusting(in.authority)},
		HeartbeatTimeout: in.within,
		StartDown:        true, // on a busy machine the servers of many cells start at once
	}
	in.callbacks.ofSentinel(&o)
	c, err := sentinel.New(t.Context(), nil, o)
	if err != nil {
		t.Fatal(err)
	}
	s := redisSubject(c, "m")
	s.way, s.authority, s.words, s.server, s.exhaust, s.fill = w, in.authority, redisWords(), server, fillRedis, func(*testing.T) {}
	return s
}

// fillCommand gives a Redis the keys: one command, since the server writes to its disk after each.
func fillCommand() []string {
	command := []string{"MSET"}
	for i := range keys {
		command = append(command, key(i), key(i))
	}
	return command
}

// redisSubject is a client of Redis, without what is special to its servers.
func redisSubject(c *sentinel.Client, primary string) *subject {
	documented := func(ctx context.Context, err error) error {
		if err == nil || errors.Is(err, sentinel.ErrNotSent) || errors.Is(err, sentinel.ErrOutcomeUnknown) || ctx.Err() != nil {
			return nil
		}
		return err
	}
	var next, refusals atomic.Int64
	return &subject{
		refusals: &refusals, close: c.Close,
		read: func(ctx context.Context) (bool, error) {
			k, v := key(int(next.Add(1))), ""
			err := c.Do(ctx, primary, radix.Cmd(&v, "GET", k))
			if err == nil && v != k {
				return true, fmt.Errorf("%w: %q of %s", errWrong, v, k)
			}
			return err == nil, documented(ctx, err)
		},
		write: func(ctx context.Context, n int) (fate, error) {
			switch err := c.Do(ctx, primary, radix.Cmd(nil, "RPUSH", "ledger", strconv.Itoa(n))); {
			case err == nil:
				return stored, nil
			case errors.Is(err, sentinel.ErrNotSent):
				return notStored, nil
			case refusedByRedis(err):
				refusals.Add(1)
				return notStored, nil
			default:
				return unknown, documented(ctx, err)
			}
		},
		audit: func(ctx context.Context, s said) error {
			var there []int
			err := c.Do(ctx, primary, radix.Cmd(&there, "LRANGE", "ledger", "0", "-1"))
			return cmp.Or(err, s.all(there))
		},
	}
}

// refusedByRedis reports whether a Redis said that it does not carry out a write.
func refusedByRedis(err error) bool {
	var reply resp3.SimpleError
	if !errors.As(err, &reply) {
		return false
	}
	word, _, _ := strings.Cut(reply.S, " ")
	return slices.Contains([]string{"OOM", "NOREPLICAS", "READONLY", "MISCONF"}, word)
}

// peers are two processes that share a cache. One knows only the other, and asks it for all keys.
func peers(t *testing.T, in surroundings) *subject {
	t.Helper()
	scheme := "http://"
	if in.authority != nil {
		scheme = "https://"
	}
	var listeners []net.Listener
	var ways []*way
	var urls []string
	for range in.servers() {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w := newWay(t, listener.Addr().String(), in, nginx)
		listeners, ways, urls = append(listeners, listener), append(ways, w), append(urls, scheme+w.addr())
	}
	var ends []func()
	member := func(name, self string) (*groupcache.Instance, *groupcache.Group) {
		o := groupcache.Options{Self: self, TLS: trusting(in.authority)}
		ends = append(ends, in.callbacks.ofInstance(&o))
		i, err := groupcache.New(o)
		if err != nil {
			t.Fatal(err)
		}
		options := in.callbacks.ofGroup()
		if in.picked {
			options = append(options, groupcache.WithPeerPicker(picked{i.PeerPicker(), in.callbacks}))
		}
		g, err := i.NewGroup("g", 1<<20, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
			in.callbacks.call(sources)
			return dest.SetString(name+key, time.Time{})
		}), options...)
		if err != nil {
			t.Fatal(err)
		}
		if err := i.SetPeers(urls...); err != nil {
			t.Fatal(err)
		}
		return i, g
	}
	for n, listener := range listeners {
		owner, _ := member("owner:", urls[n])
		server := &http.Server{Handler: owner.Handler(), ReadHeaderTimeout: time.Minute}
		if in.callbacks != nil {
			server.ErrorLog = log.New(io.Discard, "", 0) // it tells of each panic
		}
		served := running(func() { _ = server.Serve(listener) })
		ends = append(ends, func() {
			_ = owner.Close()
			_ = server.Close()
			<-served
		})
	}
	asker, group := member("asker:", scheme+"127.0.0.1:1")
	var next atomic.Int64
	return &subject{
		way: ways[0], ways: ways, authority: in.authority, words: httpWords(),
		list: func(there bool) {
			var listed []string
			if there {
				listed = urls
			}
			if err := asker.SetPeers(listed...); err != nil {
				t.Error(err)
			}
		},
		close: func() {
			_ = asker.Close()
			for _, end := range ends {
				end()
			}
		},
		read: func(ctx context.Context) (bool, error) {
			k := "key-" + strconv.FormatInt(next.Add(1), 10)
			v, err := group.View(ctx, k)
			if err != nil {
				if ctx.Err() != nil || in.callbacks.hasFailed() && errors.Is(err, groupcache.ErrGetterPanicked) {
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
