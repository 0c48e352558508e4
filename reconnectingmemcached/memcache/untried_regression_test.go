package memcache_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestCommandsThatWereNotAnsweredYet tells of the first gat of a caller: the proxy ended the
// connection at it, and with it the Sets of all others that were under way. Before its first answer
// a command has a connection of its own.
func TestCommandsThatWereNotAnsweredYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{"198.18.0.1:11211"}, DialContext: slowProxy})
		check(t, err)
		set(t, c)
		stop := make(chan struct{})
		_, failedSets, _, wait := work(c, stop)
		time.Sleep(100 * time.Millisecond)
		var last error
		for range 10 {
			_, last = c.GetAndTouch("k", 10)
			if _, err := c.Increment("n", 1); !errors.Is(err, memcache.ErrCacheMiss) {
				t.Errorf("Increment beside it = %v, want a miss", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		close(stop)
		wait()
		if n := failedSets.Load(); n > 0 || !errors.Is(last, memcache.ErrServerError) {
			t.Errorf("%d Sets of others failed; GetAndTouch at last = %v, want ErrServerError", n, last)
		}
		check(t, c.Close())
	})
}

// TestConnectionsThatEndByChance tells of a network that resets connections now and then: it did so
// twice while a command was under way, and once as that was tried alone. The command was refused
// from then on, for ten minutes, by a server that knew it.
func TestConnectionsThatEndByChance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends atomic.Int64
		ends.Store(4) // the last two of them as it is tried alone
		dial := func(context.Context, string, string) (net.Conn, error) {
			return slowProxyThat(func() bool { return ends.Add(-1) >= 0 }), nil
		}
		c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{"198.18.0.1:11211"}, DialContext: dial})
		check(t, err)
		set(t, c)
		for range 10 {
			_, err = c.GetAndTouch("k", 10)
			time.Sleep(20 * time.Millisecond)
		}
		if ends.Load() >= 0 || !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("GetAndTouch at last = %v, %d ends to come; want a miss: the server has answered it", err, ends.Load())
		}
		check(t, c.Close())
	})
}

// TestCommandsThatWereAnswered share the connection of all others from then on: the one that each
// had for itself is closed.
func TestCommandsThatWereAnswered(t *testing.T) {
	proxied(t, memcache.Options{}, func(t *testing.T, proxy *testutil.Fake, c *memcache.Client) {
		it := &memcache.Item{Key: "k", Value: []byte("1")}
		check(t, c.Set(it))
		all := func() {
			_ = c.Add(it)
			check(t, c.Replace(it))
			check(t, c.Touch("k", 10))
			_, err := c.Increment("k", 1)
			check(t, err)
			_, err = c.Decrement("k", 1)
			check(t, err)
			check(t, c.Append(it))
			check(t, c.Prepend(it))
			_, err = c.GetAndTouch("k", 10)
			check(t, err)
			got, err := c.Get("k")
			check(t, err)
			got.Value = []byte("1")
			check(t, c.CompareAndSwap(got))
			check(t, c.Ping())
			check(t, c.FlushAll())
			check(t, c.Set(it))
		}
		all()
		synctest.Wait()
		dialled := dials(c, proxy.Addr())
		if open := proxy.Stats().Open; open != 1 {
			t.Errorf("%d connections are open, want the one that all share", open)
		}
		for range 10 {
			all()
		}
		if n := dials(c, proxy.Addr()); n != dialled {
			t.Errorf("%d connections, after %d with the first calls", n, dialled)
		}
	})
}

// TestNoConnectionForAnUntriedCommand: where the server takes no second connection, or hangs on it,
// such commands take their turn on the one that all share.
func TestNoConnectionForAnUntriedCommand(t *testing.T) {
	for name, second := range map[string]func(conn net.Conn) (net.Conn, error){
		"refused": func(conn net.Conn) (net.Conn, error) {
			_ = conn.Close()
			return nil, errors.New("connection refused")
		},
		"turned away": func(conn net.Conn) (net.Conn, error) {
			_ = conn.Close()
			near, far := net.Pipe()
			go func() {
				_, _ = far.Read(make([]byte, 1<<10)) // the network has it, memcached has not
				_, _ = far.Write([]byte("ERROR Too many open connections\r\n"))
				_, _ = io.Copy(io.Discard, far) // a write to a pipe that is closed is no reset
				_ = far.Close()
			}()
			return near, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
				var n atomic.Int64
				c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{fake.Addr()}, DialContext: nthDial(fake, &n, second)})
				check(t, err)
				set(t, c)
				check(t, c.Set(&memcache.Item{Key: "n", Value: []byte("0")}))
				var callers sync.WaitGroup
				for i := range 8 {
					callers.Go(func() {
						if _, err := c.Increment("n", 1); err != nil {
							t.Errorf("Increment %d = %v", i, err)
						}
					})
				}
				callers.Wait()
				if it, err := c.Get("n"); err != nil || string(it.Value) != "8" {
					t.Errorf("Get = %v, %v, want 8: each Increment counts once", it, err)
				}
				if c.State(fake.Addr()) != breaker.Closed {
					t.Errorf("the server is down: %+v", c.Stats()[fake.Addr()])
				}
				check(t, c.Close())
			})
		})
	}
}

// nthDial lets the first connection be as it is, and has others made by a function.
func nthDial(
	fake *testutil.Fake, n *atomic.Int64, second func(net.Conn) (net.Conn, error),
) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := fake.Dial(ctx, network, addr)
		if err != nil || n.Add(1) == 1 {
			return conn, err
		}
		return second(conn)
	}
}

// TestFirstCommandAtAServerThatIsNotThere: that such a command would have had a connection of its
// own hides nothing: the first call opens the breaker.
func TestFirstCommandAtAServerThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const addr = "198.18.0.1:11211"
		for what, call := range map[string]func(c *memcache.Client) error{
			"Ping":      (*memcache.Client).Ping,
			"Increment": func(c *memcache.Client) error { _, err := c.Increment("k", 1); return err },
			"Add":       func(c *memcache.Client) error { return c.Add(&memcache.Item{Key: "k"}) },
		} {
			c, err := memcache.NewWithOptions(nil, memcache.Options{
				Servers: []string{addr}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					sleep(ctx, 400*time.Millisecond) // of the 500 that a call has
					return nil, errors.New("no route to host")
				},
			})
			check(t, err)
			err = call(c)
			synctest.Wait()
			if !errors.Is(err, memcache.ErrServerDown) || c.State(addr) == breaker.Closed {
				t.Errorf("%s = %v, and the breaker is %v, want it open", what, err, c.State(addr))
			}
			check(t, c.Close())
		}
	})
}
