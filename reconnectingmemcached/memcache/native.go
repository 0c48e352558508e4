package memcache

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

// Native returns a client of gomemcache's own type, for code that names that type. It shares the
// servers and their breakers with c: while a server is down its reads are misses and its writes
// fail at once, and the keys of writes that it misses are deleted before the server is used again,
// as c's are. It does not share connections, so it has gomemcache's speed, and none of c's checks
// of keys and replies. Prefer c where you can.
func (c *Client) Native() *gomemcache.Client {
	n := gomemcache.NewFromSelector(nativeSelector{c})
	n.Timeout, n.MaxIdleConns = c.Timeout, c.MaxIdleConns
	if n.MaxIdleConns == 0 {
		n.MaxIdleConns = defaultIdleConns
	}
	n.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		n := &nativeConn{client: c, network: network, address: address}
		return n, n.attach()
	}
	return n
}

// nativeConn is a connection that exists while its server is up. While it is down, requests are
// answered here. gomemcache uses a connection for one request at a time, which begins with a Write
// after a Read.
type nativeConn struct {
	client           *Client
	network, address string

	core   *core // both are the user's own
	server *server.Server

	mu       sync.Mutex // Close and the deadline may come from another goroutine
	real     net.Conn   // guarded by mu
	deadline time.Time  // guarded by mu

	started bool             // a request is being written
	asked   protocol.Request // its operation and, of a write, its key
	permit  breaker.Permit   // of that request
	answer  []byte           // the rest of an answer given here
	failure error            // or the error in its place
}

func (n *nativeConn) Write(b []byte) (int, error) {
	if n.started && n.current() == nil {
		return len(b), nil // the rest of a request that is answered here
	}
	if !n.started {
		n.started, n.answer, n.failure, n.asked = true, nil, nil, parseRequest(b)
		if err := n.attach(); err != nil {
			return 0, err
		}
		n.core.nativeWrote(&n.asked)
		permit, err := n.server.Breaker.Allow()
		if err != nil {
			n.refuse()
			return len(b), nil
		}
		n.permit = permit
		if err := n.connect(); err != nil {
			return 0, n.broken(err)
		}
	}
	written, err := n.current().Write(b)
	if err != nil {
		return written, n.broken(err)
	}
	return written, nil
}

func (n *nativeConn) Read(b []byte) (int, error) {
	n.started = false
	real := n.current()
	switch {
	case len(n.answer) > 0:
		got := copy(b, n.answer)
		n.answer = n.answer[got:]
		return got, nil
	case n.failure != nil:
		return 0, n.failure
	case real == nil:
		return 0, net.ErrClosed
	}
	got, err := real.Read(b)
	if err != nil {
		return got, n.broken(err)
	}
	n.server.Heard()
	n.permit.Done(nil)
	return got, nil
}

// nativeWrote sees to the traces that a write of Native leaves: values at former owners, and loads
// that began before it.
func (c *core) nativeWrote(r *protocol.Request) {
	if r.Op.LeavesOldValue() {
		c.loads.Forget(r.Key)
		c.lists.Wrote(c.Ctx, r.Key)
	}
}

// refuse answers a request for a server that is down: a read with a miss, all else with an error.
func (n *nativeConn) refuse() {
	n.drop()
	n.server.NoteMissed(&n.asked, server.Outcome{})
	if n.asked.Op.Reads() {
		n.answer = []byte("END\r\n")
		return
	}
	n.failure = downError(n.server, n.asked.Op, server.Outcome{Err: server.ErrRefused})
}

// parseRequest finds the operation of a request of gomemcache's, which writes the line as a whole,
// and the key of a write. A command that it does not know is taken for a read.
func parseRequest(b []byte) (r protocol.Request) {
	line, _, _ := bytes.Cut(b, []byte("\r\n"))
	word, rest, _ := bytes.Cut(line, []byte{' '})
	for o := range protocol.OpCount {
		if o.Word() == string(word) {
			r.Op = o
			break
		}
	}
	if r.Op.LeavesOldValue() {
		key, _, _ := bytes.Cut(rest, []byte{' '})
		r.Key = string(key)
	}
	return r
}

// attach finds the server, which is another one once the first was let go, or its client was closed
// and is used again.
func (n *nativeConn) attach() error {
	core, err := n.client.start()
	if err != nil {
		return err
	}
	if s := core.Server(n.network, n.address); s != n.server {
		n.drop()
		n.core, n.server = core, s
	}
	return nil
}

func (n *nativeConn) connect() error {
	if n.current() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.core.Ctx, n.core.options.Timeout)
	defer cancel()
	conn, err := n.server.Dial(ctx)
	if err != nil {
		return err
	}
	if err := n.server.Adopt(conn); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.real = conn
	return conn.SetDeadline(n.deadline)
}

func (n *nativeConn) current() net.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.real
}

// broken charges the breaker and gives the connection up. A write under way may have been carried
// out, or may yet be.
func (n *nativeConn) broken(err error) error {
	n.drop()
	n.server.NoteMissed(&n.asked, server.Outcome{Sent: true})
	if faults.IsTimeout(err) {
		err = faults.Soft(err)
	}
	n.permit.Done(server.UsedFault(err))
	return faults.Plain(err)
}

func (n *nativeConn) drop() {
	n.mu.Lock()
	real := n.real
	n.real = nil
	n.mu.Unlock()
	if real != nil {
		n.server.Release(real)
		sockets.Discard(real)
	}
}

func (n *nativeConn) Close() error {
	n.drop()
	return nil
}

func (n *nativeConn) SetDeadline(t time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deadline = t
	if n.real == nil {
		return nil
	}
	return n.real.SetDeadline(t)
}

// SetReadDeadline and SetWriteDeadline are not used by gomemcache; a connection has one deadline.
func (n *nativeConn) SetReadDeadline(t time.Time) error  { return n.SetDeadline(t) }
func (n *nativeConn) SetWriteDeadline(t time.Time) error { return n.SetDeadline(t) }

func (n *nativeConn) LocalAddr() net.Addr {
	if real := n.current(); real != nil {
		return real.LocalAddr()
	}
	return n.RemoteAddr()
}

func (n *nativeConn) RemoteAddr() net.Addr {
	return addresses.Addr{NetworkName: n.server.Network, Text: n.server.Address}
}

// nativeSelector shows c's choice of server to gomemcache.
type nativeSelector struct{ client *Client }

func (n nativeSelector) PickServer(key string) (net.Addr, error) {
	core, err := n.client.listed(context.Background())
	if err != nil {
		return nil, err
	}
	s, err := core.picker.Pick(key)
	if err != nil {
		return nil, err
	}
	return addresses.Addr{NetworkName: s.Network, Text: s.Address}, nil
}

func (n nativeSelector) Each(visit func(net.Addr) error) error {
	core, err := n.client.listed(context.Background())
	if err != nil {
		return err
	}
	servers, err := core.picker.Each()
	if err != nil {
		return err
	}
	for _, s := range servers {
		if err := visit(addresses.Addr{NetworkName: s.Network, Text: s.Address}); err != nil {
			return err
		}
	}
	return nil
}
