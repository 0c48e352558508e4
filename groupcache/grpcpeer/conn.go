package grpcpeer

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// conn is a connection to a peer, which grpc makes when it is needed, and again when it has ended.
type conn struct {
	*grpc.ClientConn
	why     atomic.Pointer[error] // the last attempt to connect failed, nil if it did not
	users   int                   // requests under way; guarded by the transport's mu
	retired bool                  // is closed when the last user has gone; guarded by the transport's mu
}

// dialer connects. A peer that has vanished without a word is noticed by the system in the end,
// too.
var dialer = net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}} //nolint:gochecknoglobals // never changes

// errClosed is the error of requests to a peer that is not one any more.
var errClosed = errors.New("the connection is closed")

// connect makes a connection. The address is taken as it stands: names are resolved by each attempt
// to connect.
func (t *transport) connect() (*conn, error) {
	c := &conn{}
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := dialer.DialContext(ctx, "tcp", addr)
		t.network.counts.connected(err)
		c.why.Store(nil)
		if err != nil {
			c.why.Store(&err)
		}
		return nc, err
	}
	var err error
	c.ClientConn, err = grpc.NewClient("passthrough:///"+url.PathEscape(t.addr), t.network.options.dial([]grpc.DialOption{grpc.WithContextDialer(dial)})...)
	return c, err
}

// acquire returns the connection for a request, which releases it.
func (t *transport) acquire() (*conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	if t.current == nil {
		c, err := t.connect()
		if err != nil {
			return nil, err
		}
		t.current = c
	}
	t.current.users++
	return t.current, nil
}

func (t *transport) release(c *conn) {
	t.mu.Lock()
	c.users--
	unused := c.retired && c.users == 0
	t.mu.Unlock()
	if unused {
		_ = c.Close()
	}
}

// retire makes later requests use another connection, and ends this one when its requests have
// ended.
func (t *transport) retire(c *conn) {
	t.mu.Lock()
	first := !c.retired
	c.retired = true
	if t.current == c {
		t.current = nil
	}
	unused := first && c.users == 0
	t.mu.Unlock()
	if unused {
		_ = c.Close()
	}
}

// Close implements peer.Transport.
func (t *transport) Close() {
	t.mu.Lock()
	t.closed = true
	c := t.current
	t.mu.Unlock()
	if c != nil {
		t.retire(c)
	}
}
