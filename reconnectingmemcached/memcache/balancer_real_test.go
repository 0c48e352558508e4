package memcache_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// refusal is what a balancer without servers does with a connection, which the network has accepted
// already.
type refusal func(conn *net.TCPConn)

func resetAtOnce(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

func closeAtOnce(conn *net.TCPConn) { _ = conn.Close() }

func resetAtRequest(conn *net.TCPConn) {
	_, _ = conn.Read(make([]byte, 1))
	resetAtOnce(conn)
}

func closeAtRequest(conn *net.TCPConn) {
	_, _ = conn.Read(make([]byte, 4096))
	_ = conn.Close()
}

// balancer hands on TCP connections to one server while there is one.
type balancer struct {
	listener *net.TCPListener
	server   string
	running  sync.WaitGroup
	refuse   atomic.Pointer[refusal] // nil: there is a server
	accepted atomic.Int64

	mu    sync.Mutex
	conns []*net.TCPConn // guarded by mu
}

func startBalancer(t *testing.T, server string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	b := &balancer{listener: l.(*net.TCPListener), server: server}
	b.running.Go(b.accept)
	t.Cleanup(func() {
		_ = l.Close()
		b.resetAll()
		b.running.Wait()
	})
	return b
}

func (b *balancer) accept() {
	for {
		conn, err := b.listener.AcceptTCP()
		if err != nil {
			return
		}
		b.accepted.Add(1)
		b.mu.Lock()
		b.conns = append(b.conns, conn)
		b.mu.Unlock()
		b.running.Go(func() { b.serve(conn) })
	}
}

func (b *balancer) serve(conn *net.TCPConn) {
	if refuse := b.refuse.Load(); refuse != nil {
		(*refuse)(conn)
		return
	}
	there, err := net.Dial("tcp", b.server)
	if err != nil {
		resetAtOnce(conn)
		return
	}
	b.running.Go(func() {
		_, _ = io.Copy(conn, there)
		resetAtOnce(conn)
	})
	_, _ = io.Copy(there, conn)
	_ = there.Close()
}

// lose is the loss of the last server: its connections end, and others are refused.
func (b *balancer) lose(how refusal) {
	b.refuse.Store(&how)
	b.resetAll()
}

func (b *balancer) resetAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, conn := range b.conns {
		resetAtOnce(conn)
	}
	b.conns = nil
}

// TestBalancerWithoutServers: connections that end as soon as they are there are no server. Calls
// fail without a dial each, probes keep their pauses, and what was written meanwhile is deleted
// when there is a server again.
func TestBalancerWithoutServers(t *testing.T) {
	t.Parallel()
	for what, how := range map[string]refusal{
		"reset at once": resetAtOnce, "closed at once": closeAtOnce,
		"reset at a request": resetAtRequest, "closed at a request": closeAtRequest,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			fake := testutil.StartFake(t)
			b := startBalancer(t, fake.Addr())
			addr := b.listener.Addr().String()
			c := newClient(t, memcache.Options{Servers: []string{addr}, ReportUnavailable: true})
			set(t, c)
			b.lose(how)
			before := b.accepted.Load()
			eventually(t, what+": the server is down", func() bool {
				_, _ = c.Get("k")
				return isDown(c, addr)()
			})
			began := time.Now()
			for ; time.Since(began) < time.Second; time.Sleep(time.Millisecond) {
				if _, err := c.Get("k"); !errors.Is(err, memcache.ErrServerDown) {
					t.Fatalf("Get = %v, want ErrServerDown", err)
				}
				if err := c.Set(&memcache.Item{Key: "k", Value: []byte("new")}); !errors.Is(err, memcache.ErrServerDown) {
					t.Fatalf("Set = %v, want ErrServerDown", err)
				}
			}
			// A probe asks twice if the connection ends at the first question.
			dials, most := b.accepted.Load()-before, int64(30+2*5*time.Since(began).Seconds())
			t.Logf("%d connections in %v", dials, time.Since(began).Round(time.Millisecond))
			if dials > most {
				t.Errorf("%d connections in %v, want at most %d", dials, time.Since(began), most)
			}
			b.refuse.Store(nil)
			eventually(t, what+": the server is used again", isUp(c, addr))
			if it, err := c.Get("k"); !errors.Is(err, memcache.ErrCacheMiss) {
				t.Errorf("Get after the return = %v, %v, want a miss: it was set since", it, err)
			}
			set(t, c)
		})
	}
}
