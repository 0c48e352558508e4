package memcache_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// opaque is a connection that wraps another and shows nothing of it, as one that counts bytes does.
type opaque struct{ net.Conn }

func dialOpaque(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return opaque{conn}, nil
}

// secureFake starts a fake that speaks TLS, and returns what dials it.
func secureFake(t *testing.T) (*testutil.Fake, dialFunc) {
	t.Helper()
	authority := testutil.NewAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{authority.Here(t)}, MinVersion: tls.VersionTLS13}
	fake := testutil.StartFake(t, testutil.FakeOptions{TLS: config})
	client := &tls.Config{RootCAs: authority.Pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13}
	return fake, func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		socket := raw.(*net.TCPConn)
		conn := tls.Client(socket, client)
		// A handshake that is given up is reset, too: its own bytes do no harm, but tests look for
		// connections that are closed politely.
		if err := errors.Join(socket.SetLinger(0), conn.HandshakeContext(ctx), socket.SetLinger(-1)); err != nil {
			_ = socket.Close()
			return nil, err
		}
		return conn, nil
	}
}

// kinds of connections that a caller may have.
func eachKindOfConnection(t *testing.T, test func(t *testing.T, fake *testutil.Fake, dial dialFunc)) {
	t.Run("tcp", func(t *testing.T) { test(t, testutil.StartFake(t), nil) })
	t.Run("opaque", func(t *testing.T) { test(t, testutil.StartFake(t), dialOpaque) })
	t.Run("tls", func(t *testing.T) {
		fake, dial := secureFake(t)
		test(t, fake, dial)
	})
	t.Run("opaque tls", func(t *testing.T) {
		fake, dial := secureFake(t)
		test(t, fake, func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return opaque{conn}, err
		})
	})
}

// TestSurplusReplyToLargeSet tells of a confused proxy that answered a large Set twice: the second
// answer stayed in the private connection and was given to the next large Set, which was told that
// it was stored although the server had refused it.
func TestSurplusReplyToLargeSet(t *testing.T) {
	for name, surplus := range map[string]testutil.Fault{
		"at once": testutil.ExtraReply(), "on its own": testutil.ExtraReplyAfter(0), "later": testutil.ExtraReplyAfter(2 * time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			eachKindOfConnection(t, func(t *testing.T, fake *testutil.Fake, dial dialFunc) {
				fake.SetFault(func(cmd testutil.Command) testutil.Fault {
					switch {
					case cmd.Verb != "set":
						return testutil.Fault{}
					case strings.HasPrefix(cmd.Keys[0], "refused"):
						return testutil.ServerError("out of memory storing object")
					}
					return surplus
				})
				c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, DialContext: dial, Timeout: 10 * time.Second})
				for i := range 6 {
					before := bytesOutAtRest(fake)
					if c.Set(&memcache.Item{Key: fmt.Sprint("doubled", i), Value: make([]byte, memcache.LargeValue+1)}) == nil {
						eventually(t, "both replies sent", func() bool { return fake.Stats().BytesOut >= before+2*int64(len("STORED\r\n")) })
						time.Sleep(time.Millisecond)
					}
					_ = c.Reset(fake.Addr())
					refused := fmt.Sprint("refused", i)
					if err := c.Set(&memcache.Item{Key: refused, Value: make([]byte, memcache.LargeValue+1)}); err == nil {
						t.Fatalf("Set(%q) = nil, but the server refused it", refused)
					}
				}
			})
		})
	}
}

// TestSurplusReplyOnItsWay tells of the surplus that was still on its way when the next large Set
// was sent: it came first, and the Set was told that it was stored although the server refused it.
func TestSurplusReplyOnItsWay(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, Timeout: 10 * time.Second})
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("old")}); err != nil {
		t.Fatal(err)
	}
	fake.SetFault(testutil.OnVerbs(testutil.Garbage([]byte("STORED\r\nSERVER_ERROR out of memory storing object\r\n")), "set"))
	if err := c.Set(&memcache.Item{Key: "k", Value: make([]byte, memcache.LargeValue+1)}); !errors.Is(err, memcache.ErrBadReply) {
		t.Errorf("Set whose answer came second = %v, want ErrBadReply", err)
	}
	if it, err := c.Get("k"); err == nil {
		t.Errorf("Get after that = %q, want a miss", it.Value)
	}
}

// bytesOutAtRest waits until the fake sends nothing any more.
func bytesOutAtRest(fake *testutil.Fake) int64 {
	for last := int64(-1); ; time.Sleep(2 * time.Millisecond) {
		now := fake.Stats().BytesOut
		if now == last {
			return now
		}
		last = now
	}
}

// TestIdleConnectionIsKept: looking into idle connections does not cost them.
func TestIdleConnectionIsKept(t *testing.T) {
	eachKindOfConnection(t, func(t *testing.T, fake *testutil.Fake, dial dialFunc) {
		c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, DialContext: dial, Timeout: 10 * time.Second})
		for i := range 20 {
			if err := c.Set(&memcache.Item{Key: fmt.Sprint("k", i), Value: make([]byte, memcache.LargeValue+1)}); err != nil {
				t.Fatal(err)
			}
			if i == 10 { // the server closes idle connections: that is seen before the next Set uses it
				if err := fake.Restart(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		if st := c.Stats()[fake.Addr()]; st.Dials != 2 || st.State != breaker.Closed || st.Refused > 0 {
			t.Errorf("%d connections for 20 large Sets and one restart, want 2: %+v", st.Dials, st)
		}
	})
}

// TestLargeSetTurnedAway tells of the large Set at the server's connection limit: the line with
// which memcached turned the connection away was booked as the answer, so the key was not deleted,
// and the old value was served for as long as it lived.
func TestLargeSetTurnedAway(t *testing.T) {
	for _, size := range []int{memcache.LargeValue + 1, 16 << 20} { // fits the socket's buffer, or not
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			fake := testutil.StartFake(t)
			c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, Timeout: 10 * time.Second})
			if err := c.Set(&memcache.Item{Key: "page", Value: []byte("old")}); err != nil {
				t.Fatal(err)
			}
			fake.SetFault(testutil.OnVerbs(testutil.TooManyConns(), testutil.VerbConnect))
			err := c.Set(&memcache.Item{Key: "page", Value: make([]byte, size)})
			if !errors.Is(err, memcache.ErrServerDown) {
				t.Errorf("large Set at the connection limit = %v, want ErrServerDown", err)
			}
			if got := c.State(fake.Addr()); got != breaker.Closed {
				t.Errorf("breaker is %v after one connection was turned away: %v", got, err)
			}
			if it, err := c.Get("page"); err == nil {
				t.Errorf("Get after the Set that failed = %q, want a miss", it.Value)
			}
			fake.SetFault(nil)
			eventually(t, "key deleted", func() bool { return c.Stats()[fake.Addr()].MissedInvalidations == 0 })
			if it, err := c.Get("page"); err == nil {
				t.Errorf("Get after the deletion = %q, want a miss", it.Value)
			}
		})
	}
}

// layered is a connection that wraps another and says so, as *tls.Conn does.
type layered struct{ opaque }

func (c layered) NetConn() net.Conn { return c.Conn }

// described shows no more of a socket than its descriptor.
type described struct {
	opaque
	syscall.Conn
}

// TestDiscardResets tells of the write over TLS that was reported as failed and arrived later, over
// two newer ones: the connection had been closed politely, so the kernel went on sending what it
// held. A connection that is given up is reset, whatever wraps it.
func TestDiscardResets(t *testing.T) {
	authority := testutil.NewAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{authority.Here(t)}, MinVersion: tls.VersionTLS12}
	client := &tls.Config{RootCAs: authority.Pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	for name, wrap := range map[string]func(*net.TCPConn) net.Conn{
		"tcp":        func(c *net.TCPConn) net.Conn { return c },
		"tls":        func(c *net.TCPConn) net.Conn { return tls.Client(c, client) },
		"tls, twice": func(c *net.TCPConn) net.Conn { return layered{opaque{tls.Client(layered{opaque{c}}, client)}} },
		"embedded":   func(c *net.TCPConn) net.Conn { return struct{ *net.TCPConn }{c} },
		"descriptor": func(c *net.TCPConn) net.Conn { return described{opaque{c}, c} },
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			ended := make(chan error, 1)
			accept := func(socket net.Conn) net.Conn { return socket }
			if strings.HasPrefix(name, "tls") {
				accept = func(socket net.Conn) net.Conn { return tls.Server(socket, server) }
			}
			go func() { ended <- endOfConnection(listener, accept) }()
			raw, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			conn := wrap(raw.(*net.TCPConn))
			if _, err := conn.Write([]byte("set k 0 0 1\r\nv\r\n")); err != nil {
				t.Fatal(err)
			}
			sockets.Discard(conn)
			if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the server saw the end as %v, want a reset", err)
			}
		})
	}
}

// endOfConnection accepts one connection, reads from it, and returns how its socket ends.
func endOfConnection(listener net.Listener, accept func(socket net.Conn) net.Conn) error {
	socket, err := listener.Accept()
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	b := make([]byte, 1024)
	if _, err := accept(socket).Read(b); err != nil {
		return fmt.Errorf("before the end: %w", err)
	}
	for err == nil {
		_, err = socket.Read(b)
	}
	return err
}
