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

// withSecond runs a test with a client whose first connection is as it should be, and others as a
// function makes them, in a bubble's virtual time.
func withSecond(
	t *testing.T, second func(ctx context.Context, conn net.Conn) (net.Conn, error),
	test func(t *testing.T, fake *testutil.Fake, c *memcache.Client),
) {
	synctest.Test(t, func(t *testing.T) {
		fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
		var n atomic.Int64
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := fake.Dial(ctx, network, addr)
			if err != nil || n.Add(1) == 1 {
				return conn, err
			}
			return second(ctx, conn)
		}
		c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{fake.Addr()}, DialContext: dial})
		check(t, err)
		check(t, c.Set(&memcache.Item{Key: "n", Value: []byte("0")}))
		synctest.Wait() // the first connection is known to work once its reader goes on
		test(t, fake, c)
		check(t, c.Close())
		time.Sleep(time.Second) // for what stands for connections
	})
}

// TestFirstAddWhoseCallerLeaves tells of the Add that was given up while its own connection was
// dialled: it was sent in the end, behind the Delete that came next, which went on the connection
// that all share. The old value stayed.
func TestFirstAddWhoseCallerLeaves(t *testing.T) {
	late := func(ctx context.Context, conn net.Conn) (net.Conn, error) {
		sleep(ctx, 20*time.Millisecond)
		return conn, nil
	}
	withSecond(t, late, func(t *testing.T, _ *testutil.Fake, c *memcache.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := c.AddContext(ctx, &memcache.Item{Key: "k", Value: []byte("old")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Add = %v, want the context's end", err)
		}
		check(t, anyMiss(c.Delete("k")))
		time.Sleep(100 * time.Millisecond)
		if it, err := c.Get("k"); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Get after Delete = %v, %v, want a miss: an Add that was given up before came after it", it, err)
		}
		if _, err := c.Increment("n", 1); err != nil {
			t.Errorf("Increment = %v", err)
		}
		if err := c.Add(&memcache.Item{Key: "k", Value: []byte("new")}); err != nil {
			t.Errorf("Add = %v", err)
		}
	})
}

// turnedAway stands for a connection to a server that is full.
func turnedAway(_ context.Context, conn net.Conn) (net.Conn, error) {
	_ = conn.Close()
	near, far := net.Pipe()
	go func() {
		_, _ = far.Read(make([]byte, 1<<10)) // the network has it, memcached has not
		go func() { _, _ = io.Copy(io.Discard, far) }()
		_, _ = far.Write([]byte("ERROR Too many open connections\r\n"))
		time.Sleep(time.Millisecond) // a write to a pipe that is closed is no reset
		_ = far.Close()
	}()
	return near, nil
}

// firstUses are rare commands, all for the first time and at once. They return what went wrong.
func firstUses(c *memcache.Client) (errs []error) {
	var mu sync.Mutex
	var callers sync.WaitGroup
	for _, call := range []func() error{
		func() error { _, err := c.Increment("n", 1); return err },
		func() error { _, err := c.Decrement("n", 1); return err },
		func() error { return c.Add(&memcache.Item{Key: "added", Value: []byte("v")}) },
		func() error { return c.Touch("n", 10) },
		func() error { return c.Append(&memcache.Item{Key: "n", Value: []byte("0")}) },
		func() error { _, err := c.GetAndTouch("n", 10); return err },
		c.Ping,
	} {
		callers.Go(func() {
			if err := call(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	callers.Wait()
	return errs
}

// TestManyFirstCommandsAtAFullServer: each was turned away on a connection of its own, which three
// times in a row took a server out of use that answered on the one that all share.
func TestManyFirstCommandsAtAFullServer(t *testing.T) {
	for name, second := range map[string]func(context.Context, net.Conn) (net.Conn, error){
		"turned away": turnedAway,
		// As a memcached with no_maxconns_fast: the machine has taken it, memcached has not.
		"not taken": func(_ context.Context, conn net.Conn) (net.Conn, error) {
			_ = conn.Close()
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far); _ = far.Close() }()
			return near, nil
		},
		"slow to dial": func(ctx context.Context, conn net.Conn) (net.Conn, error) {
			_ = conn.Close()
			sleep(ctx, 450*time.Millisecond)
			return nil, errors.New("no route to host")
		},
	} {
		t.Run(name, func(t *testing.T) {
			withSecond(t, second, func(t *testing.T, fake *testutil.Fake, c *memcache.Client) {
				began := time.Now()
				if errs := firstUses(c); len(errs) > 0 {
					t.Errorf("%d calls failed: %v", len(errs), errs)
				}
				took := time.Since(began)
				if st := c.Stats()[fake.Addr()]; c.State(fake.Addr()) != breaker.Closed || took > 100*time.Millisecond {
					t.Errorf("after %v: %+v, want the server in use, by its shared connection", took, st)
				}
			})
		})
	}
}

// TestLargeSetsAtAFullServer: three that were turned away took a server out of use that answered on
// the connection that all share, and for as long as it was full: probes were turned away, too.
func TestLargeSetsAtAFullServer(t *testing.T) {
	var roomy atomic.Bool
	second := func(ctx context.Context, conn net.Conn) (net.Conn, error) {
		if roomy.Load() {
			return conn, nil
		}
		return turnedAway(ctx, conn)
	}
	withSecond(t, second, func(t *testing.T, fake *testutil.Fake, c *memcache.Client) {
		for range 5 {
			if err := c.Set(&memcache.Item{Key: "k", Value: make([]byte, memcache.LargeValue+1)}); !errors.Is(err, memcache.ErrServerDown) {
				t.Errorf("large Set at the connection limit = %v, want ErrServerDown", err)
			}
		}
		time.Sleep(5 * time.Second) // the deletion of the key is tried, too
		if _, err := c.Get("n"); err != nil || c.State(fake.Addr()) != breaker.Closed {
			t.Errorf("Get on the shared connection = %v, the breaker is %v: %v", err, c.State(fake.Addr()), c.Stats()[fake.Addr()].DownCause)
		}
		roomy.Store(true)
		time.Sleep(2 * time.Second)
		if n := c.Stats()[fake.Addr()].MissedInvalidations; n > 0 {
			t.Errorf("%d keys were not deleted", n)
		}
	})
}

// TestServerThatHangsAtFirstCommands is found as soon as any other.
func TestServerThatHangsAtFirstCommands(t *testing.T) {
	asIs := func(_ context.Context, conn net.Conn) (net.Conn, error) { return conn, nil }
	withSecond(t, asIs, func(t *testing.T, fake *testutil.Fake, c *memcache.Client) {
		time.Sleep(time.Second)
		check(t, fake.Hang())
		began := time.Now()
		_ = firstUses(c)
		if took := time.Since(began); took > 150*time.Millisecond || c.State(fake.Addr()) == breaker.Closed {
			t.Errorf("after %v the breaker is %v, want it open within 150 ms", took, c.State(fake.Addr()))
		}
		check(t, fake.Release())
	})
}

// TestUnusedConnectionThatEnds: the only caller has left before it was there. That the server ends
// it, as it does with all that are idle, says nothing about the server.
func TestUnusedConnectionThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			sleep(ctx, 20*time.Millisecond)
			return fake.Dial(ctx, network, addr)
		}
		c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{fake.Addr()}, DialContext: dial})
		check(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.IncrementContext(ctx, "n", 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Increment = %v, want the context's end", err)
		}
		time.Sleep(time.Second)
		check(t, fake.Kill())
		check(t, fake.Restart())
		synctest.Wait()
		if st := c.State(fake.Addr()); st != breaker.Closed {
			t.Errorf("the breaker is %v: %v", st, c.Stats()[fake.Addr()].DownCause)
		}
		check(t, c.Close())
	})
}
