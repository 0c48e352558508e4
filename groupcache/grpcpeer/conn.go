package grpcpeer

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// conn is a connection to a peer, which grpc makes when it is needed, and again when it has ended.
type conn struct {
	*grpc.ClientConn
	foreign bool                  // requests run code of the user's: interceptors, credentials
	why     atomic.Pointer[error] // the last attempt to connect failed, nil if it did not
	users   int                   // requests under way; guarded by the mu of conns
	retired bool                  // is closed when the last user has gone; guarded by the mu of conns
}

// Invoke implements grpc.ClientConnInterface.
func (c *conn) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	if !c.foreign {
		return c.ClientConn.Invoke(ctx, method, in, out, opts...)
	}
	_, err := sound(func() (struct{}, error) { return struct{}{}, c.ClientConn.Invoke(ctx, method, in, out, opts...) })
	return err
}

// NewStream implements grpc.ClientConnInterface.
func (c *conn) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if !c.foreign {
		return c.ClientConn.NewStream(ctx, d, method, opts...)
	}
	return sound(func() (grpc.ClientStream, error) { return c.ClientConn.NewStream(ctx, d, method, opts...) })
}

// sound has a request made by what the user has a part in, whose panic is an error, and so is the
// end of its goroutine: requests are also made on goroutines of ours, which go on.
func sound[T any](request func() (T, error)) (T, error) {
	return observe.Sound("grpcpeer: Options.DialOptions or PerRPC", request)
}

// dialer connects. A peer that has vanished without a word is noticed by the system in the end,
// too.
var dialer = net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}} //nolint:gochecknoglobals // never changes

// errClosed is the error of requests to a peer that is not one any more.
var errClosed = errors.New("the connection is closed")

// conns has the connection to one peer, and those before it that are still in use. It is safe for
// concurrent use.
type conns struct {
	addr    string
	options func(dialer []grpc.DialOption) []grpc.DialOption // of connections that are made by dialer
	made    func(error)                                      // is told of each attempt to connect
	foreign bool                                             // requests run code of the user's

	mu      sync.Mutex
	current *conn // nil until it is needed; guarded by mu
	closed  bool  // guarded by mu
}

// connect makes a connection. The address is taken as it stands: names are resolved by each attempt
// to connect.
func (s *conns) connect() (*conn, error) {
	c := &conn{foreign: s.foreign}
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := dialer.DialContext(ctx, "tcp", addr)
		s.made(err)
		c.why.Store(nil)
		if err != nil {
			c.why.Store(&err)
		}
		return nc, err
	}
	var err error
	c.ClientConn, err = grpc.NewClient("passthrough:///"+url.PathEscape(s.addr), s.options([]grpc.DialOption{grpc.WithContextDialer(dial)})...)
	return c, err
}

// acquire returns the connection for a request, which releases it.
func (s *conns) acquire() (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if s.current == nil {
		c, err := s.connect()
		if err != nil {
			return nil, err
		}
		s.current = c
	}
	s.current.users++
	return s.current, nil
}

func (s *conns) release(c *conn) {
	s.mu.Lock()
	c.users--
	unused := c.retired && c.users == 0
	s.mu.Unlock()
	if unused {
		_ = c.Close()
	}
}

// retire makes later requests use another connection, and ends this one when its requests have
// ended.
func (s *conns) retire(c *conn) {
	s.mu.Lock()
	first := !c.retired
	c.retired = true
	if s.current == c {
		s.current = nil
	}
	unused := first && c.users == 0
	s.mu.Unlock()
	if unused {
		_ = c.Close()
	}
}

// close retires the connection, and refuses to make another.
func (s *conns) close() {
	s.mu.Lock()
	s.closed = true
	c := s.current
	s.mu.Unlock()
	if c != nil {
		s.retire(c)
	}
}
