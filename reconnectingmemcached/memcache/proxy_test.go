package memcache_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// A proxy answers as a memcached does, but for one backend, verb or key.

// deadBackend answers all requests that name one of its keys as twemproxy does while a backend is
// down, the other keys included.
func deadBackend(owns func(key string) bool) testutil.Chooser {
	return func(cmd testutil.Command) testutil.Fault {
		for _, key := range cmd.Keys {
			if owns(key) {
				return testutil.ServerError("Connection refused")
			}
		}
		return testutil.Fault{}
	}
}

func ofBadBackend(key string) bool { return strings.HasPrefix(key, "bad") }

// proxied runs a test with a client of one proxy, which is a fake that misbehaves, in a bubble's
// virtual time.
func proxied(t *testing.T, o memcache.Options, test func(t *testing.T, proxy *testutil.Fake, c *memcache.Client)) {
	synctest.Test(t, func(t *testing.T) {
		proxy := testutil.StartFake(t, testutil.FakeOptions{InMemory: true, Addr: "198.18.0.1:11211"})
		o.Servers, o.DialContext, o.Timeout = []string{proxy.Addr()}, proxy.Dial, exploreTimeout
		c, err := memcache.NewWithOptions(nil, o)
		check(t, err)
		test(t, proxy, c)
		check(t, c.Close())
	})
}

// TestDeadBackendOfAProxy: callers of its keys get its error; nobody else notices, on one
// connection.
func TestDeadBackendOfAProxy(t *testing.T) {
	proxied(t, memcache.Options{}, func(t *testing.T, proxy *testutil.Fake, c *memcache.Client) {
		proxy.SetFault(deadBackend(ofBadBackend))
		check(t, c.Set(&memcache.Item{Key: "good", Value: []byte("v")}))
		var callers sync.WaitGroup
		for range 200 {
			callers.Go(func() {
				if it, err := c.Get("good"); err != nil || string(it.Value) != "v" {
					t.Errorf("Get of another backend's key = %v, %v", it, err)
				}
			})
			callers.Go(func() {
				if _, err := c.Get("bad"); !errors.Is(err, memcache.ErrServerError) {
					t.Errorf("Get = %v, want ErrServerError", err)
				}
			})
			callers.Go(func() {
				if err := c.Set(&memcache.Item{Key: "other", Value: []byte("v")}); err != nil {
					t.Errorf("Set of another backend's key = %v", err)
				}
			})
			callers.Go(func() {
				if items, err := c.GetMulti([]string{"good", "bad"}); !errors.Is(err, memcache.ErrServerError) {
					t.Errorf("GetMulti = %v, %v, want ErrServerError", items, err)
				}
			})
		}
		callers.Wait()
		if st := c.Stats()[proxy.Addr()]; st.Dials != 1 || st.State != breaker.Closed || st.MissedInvalidations > 0 {
			t.Errorf("after errors of one backend: %+v, want one connection and nothing missed", st)
		}
	})
}

// TestDeadBackendOfTwemproxy: that ends the connection after an error line for several keys, and
// the end may be noticed first. Calls of other backends' keys shared lines with those of the dead
// one again and again, so that all lost their connection each time.
func TestDeadBackendOfTwemproxy(t *testing.T) {
	for what, last := range map[string]testutil.Fault{"error line": testutil.ServerError("Connection refused"), "end": testutil.CloseMidReply(0)} {
		proxied(t, memcache.Options{}, func(t *testing.T, proxy *testutil.Fake, c *memcache.Client) {
			check(t, c.Set(&memcache.Item{Key: "good", Value: []byte("v")}))
			proxy.SetFault(asTwemproxy(last))
			for range 50 {
				var callers sync.WaitGroup
				for range 20 {
					callers.Go(func() {
						if it, err := c.Get("good"); err != nil || string(it.Value) != "v" {
							t.Errorf("%s first: Get of another backend's key = %v, %v", what, it, err)
						}
					})
					callers.Go(func() {
						if _, err := c.Get("bad"); !errors.Is(err, memcache.ErrServerError) {
							t.Errorf("%s first: Get = %v, want ErrServerError", what, err)
						}
					})
				}
				callers.Wait()
			}
			if st := c.Stats()[proxy.Addr()]; st.Dials > 3 || st.State != breaker.Closed {
				t.Errorf("%s first: %+v, want few connections", what, st)
			}
		})
	}
}

// asTwemproxy ends a connection on which several keys were asked for with one line, one of them of
// a dead backend. Last is what the line is answered with.
func asTwemproxy(last testutil.Fault) testutil.Chooser {
	var mu sync.Mutex
	ended := make(map[int]bool)
	dead := deadBackend(ofBadBackend)
	return func(cmd testutil.Command) testutil.Fault {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case ended[cmd.Conn]:
			return testutil.CloseMidReply(0)
		case len(cmd.Keys) > 1 && slices.ContainsFunc(cmd.Keys, ofBadBackend):
			ended[cmd.Conn] = true
			return last
		}
		return dead(cmd)
	}
}

// TestProxyIsBackWhileABackendIsDead: neither the canary's backend nor a deletion that is refused
// keeps the others' keys away.
func TestProxyIsBackWhileABackendIsDead(t *testing.T) {
	t.Parallel()
	for name, owns := range map[string]func(string) bool{
		"of the canary":           func(key string) bool { return key == memcache.CanaryKey },
		"of a key to be deleted":  ofBadBackend,
		"of both":                 func(key string) bool { return key == memcache.CanaryKey || ofBadBackend(key) },
		"of none, as a yardstick": func(string) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			proxied(t, memcache.Options{}, func(t *testing.T, proxy *testutil.Fake, c *memcache.Client) {
				for _, key := range []string{"good", "bad"} {
					check(t, c.Set(&memcache.Item{Key: key, Value: []byte("old")}))
				}
				check(t, proxy.Hang())
				for range 3 {
					_, _ = c.Get("good")
				}
				for _, key := range []string{"good", "bad"} {
					if err := c.Delete(key); !errors.Is(err, memcache.ErrServerDown) {
						t.Fatalf("Delete while down = %v", err)
					}
				}
				proxy.SetFault(deadBackend(owns))
				check(t, proxy.Release())
				time.Sleep(3 * time.Second)
				if st := c.Stats()[proxy.Addr()]; st.State != breaker.Closed {
					t.Fatalf("3 s after its return: %+v", st)
				}
				check(t, c.Set(&memcache.Item{Key: "good", Value: []byte("new")}))
				if it, err := c.Get("good"); err != nil || string(it.Value) != "new" {
					t.Errorf("Get = %v, %v, want the new value", it, err)
				}
				proxy.SetFault(nil)
				if it, err := c.Get("bad"); err == nil {
					t.Errorf("Get of a key whose deletion was refused = %q, which was overwritten", it.Value)
				}
				time.Sleep(3 * time.Second)
				if st := c.Stats()[proxy.Addr()]; st.MissedInvalidations > 0 {
					t.Errorf("3 s after its backend is back: %+v, want nothing missed", st)
				}
				if it, err := c.Get("bad"); err == nil {
					t.Errorf("Get of a deleted key = %q", it.Value)
				}
			})
		})
	}
}

// TestProxyThatEndsConnectionsAtVersion as twemproxy before 0.5 does.
func TestProxyThatEndsConnectionsAtVersion(t *testing.T) {
	proxied(t, memcache.Options{}, func(t *testing.T, proxy *testutil.Fake, c *memcache.Client) {
		check(t, c.Set(&memcache.Item{Key: "k", Value: []byte("old")}))
		proxy.SetFault(testutil.OnVerbs(testutil.CloseMidReply(0), "version"))
		check(t, proxy.Hang())
		for range 3 {
			_, _ = c.Get("k")
		}
		check(t, proxy.Release())
		time.Sleep(3 * time.Second)
		if st := c.Stats()[proxy.Addr()]; st.State != breaker.Closed {
			t.Fatalf("3 s after its return: %+v", st)
		}
		large := &memcache.Item{Key: "large", Value: make([]byte, memcache.LargeValue+1)}
		check(t, c.Set(large))
		if it, err := c.Get("large"); err != nil || !bytes.Equal(it.Value, large.Value) {
			t.Errorf("Get of a large value = %v", err)
		}
	})
}

// TestProxyThatRefusesGets as mcrouter does with replication.
func TestProxyThatRefusesGets(t *testing.T) {
	proxied(t, memcache.Options{PlainGet: true}, func(t *testing.T, proxy *testutil.Fake, c *memcache.Client) {
		proxy.SetFault(testutil.OnVerbs(testutil.ServerError("Command not supported"), "gets"))
		check(t, c.Set(&memcache.Item{Key: "k", Value: []byte("v")}))
		check(t, proxy.Hang())
		for range 3 {
			_, _ = c.Get("k")
		}
		check(t, proxy.Release())
		time.Sleep(3 * time.Second)
		if st := c.Stats()[proxy.Addr()]; st.State != breaker.Closed {
			t.Fatalf("3 s after its return: %+v", st)
		}
		if it, err := c.Get("k"); err != nil || string(it.Value) != "v" || it.CasID != 0 {
			t.Errorf("Get = %+v, %v", it, err)
		}
		if items, err := c.GetMulti([]string{"k", "l"}); err != nil || len(items) != 1 {
			t.Errorf("GetMulti = %v, %v", items, err)
		}
		if n := proxy.Stats().Commands["gets"]; n > 0 {
			t.Errorf("%d times gets was sent", n)
		}
	})
}

// TestProxyThatEndsConnectionsAtACommand: after the first tries it is not sent any more, and other
// callers notice nothing.
func TestProxyThatEndsConnectionsAtACommand(t *testing.T) {
	proxied(t, memcache.Options{}, func(t *testing.T, proxy *testutil.Fake, c *memcache.Client) {
		proxy.SetFault(testutil.OnVerbs(testutil.CloseMidReply(0), "gat"))
		var last error
		failed := 0
		for range 300 {
			_, last = c.GetAndTouch("k", 10)
			if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
				failed++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !errors.Is(last, memcache.ErrServerError) || !strings.Contains(last.Error(), "gat") {
			t.Errorf("GetAndTouch = %v, want an ErrServerError that names the command", last)
		}
		if st := c.Stats()[proxy.Addr()]; failed > 2 || st.Dials > 8 || st.State != breaker.Closed {
			t.Errorf("%d Sets failed; %+v", failed, st)
		}
		proxy.SetFault(nil)
		time.Sleep(10 * time.Minute)
		if _, err := c.GetAndTouch("k", 10); err != nil {
			t.Errorf("GetAndTouch ten minutes later = %v: it is not tried again", err)
		}
	})
}

// TestProxyThatEndsConnectionsAtOneOfTwoCommands is about one that left the command before without
// its answer. That was taken for the one that the proxy does not know, and was not sent for ten
// minutes.
func TestProxyThatEndsConnectionsAtOneOfTwoCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{"198.18.0.1:11211"}, DialContext: slowProxy})
		check(t, err)
		var lastIncr, lastGat error
		for range 10 {
			var callers sync.WaitGroup
			callers.Go(func() { _, lastIncr = c.Increment("k", 1) })
			time.Sleep(time.Millisecond)
			callers.Go(func() { _, lastGat = c.GetAndTouch("k", 10) })
			callers.Wait()
			time.Sleep(10 * time.Millisecond)
		}
		if !errors.Is(lastGat, memcache.ErrServerError) || !strings.Contains(lastGat.Error(), "gat") {
			t.Errorf("GetAndTouch = %v, want an ErrServerError that names the command", lastGat)
		}
		if !errors.Is(lastIncr, memcache.ErrCacheMiss) {
			t.Errorf("Increment = %v, want a miss", lastIncr)
		}
		check(t, c.Close())
	})
}

// slowProxy has nothing of any key, and takes two milliseconds to say so. At gat it ends the
// connection at once.
func slowProxy(context.Context, string, string) (net.Conn, error) {
	return slowProxyThat(func() bool { return true }), nil
}

// slowProxyThat may end the connection at gat.
func slowProxyThat(endsAtGat func() bool) net.Conn {
	near, far := net.Pipe()
	replies := make(chan string, 100)
	go func() {
		for reply := range replies {
			time.Sleep(2 * time.Millisecond)
			if _, err := io.WriteString(far, reply); err != nil {
				break
			}
		}
	}()
	go func() {
		defer close(replies)
		defer func() { _ = far.Close() }()
		for in := bufio.NewScanner(far); in.Scan(); {
			switch verb, _, _ := strings.Cut(in.Text(), " "); verb {
			case "gat":
				if endsAtGat() {
					return
				}
				replies <- "END\r\n"
			case "version":
				replies <- "VERSION 1\r\n"
			case "incr":
				replies <- "NOT_FOUND\r\n"
			case "set":
				in.Scan() // its value
				replies <- "STORED\r\n"
			default:
				replies <- "END\r\n"
			}
		}
	}()
	return near
}

// TestServerThatEndsAllConnections is down, and no command is to blame.
func TestServerThatEndsAllConnections(t *testing.T) {
	proxied(t, memcache.Options{}, func(t *testing.T, proxy *testutil.Fake, c *memcache.Client) {
		proxy.SetFault(testutil.Always(testutil.CloseMidReply(0)))
		for range 10 {
			_, _ = c.Increment("k", 1)
			time.Sleep(10 * time.Millisecond)
		}
		if _, err := c.Increment("k", 1); !errors.Is(err, memcache.ErrServerDown) || c.Available() {
			t.Errorf("Increment = %v, available: %v, want ErrServerDown of a server that is taken for down", err, c.Available())
		}
		proxy.SetFault(nil)
		time.Sleep(time.Second)
		if _, err := c.Increment("k", 1); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Increment of a key that is not there, after the return = %v, want ErrCacheMiss", err)
		}
	})
}
