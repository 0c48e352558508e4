package testutil

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
	"github.com/holdfast-go/holdfast/internal/testutil/internal/memnet"
)

// proxyDialTimeout bounds how long a proxied connection waits for the target.
const proxyDialTimeout = 10 * time.Second

// Proxy stands before a TCP server and breaks the way to it; the server itself is never touched.
// Kill refuses and cuts connections, Hang accepts them and holds back the data of both directions
// until Release. It has no useful zero value; NewProxy makes one. It is safe for concurrent use.
type Proxy struct {
	target  string
	addr    string
	delay   atomic.Int64 // nanoseconds there and back
	workers sync.WaitGroup

	mu     sync.Mutex
	way    *way // guarded by mu; the current one, or the last
	closed bool // guarded by mu
}

// way is the time between a start of a proxy and its Kill.
type way struct {
	proxy    *Proxy
	listener net.Listener
	gate     memnet.Gate

	mu    sync.Mutex
	conns map[*proxied]struct{} // guarded by mu
	over  bool                  // guarded by mu
}

// StartProxy makes a proxy for one test and closes it when the test ends.
func StartProxy(tb TB, target string) *Proxy {
	tb.Helper()
	p, err := NewProxy(target)
	if err != nil {
		tb.Fatalf("starting a proxy to %s: %v", target, err)
		return nil
	}
	closeAtEnd(tb, p)
	return p
}

// NewProxy makes a proxy on a free port of 127.0.0.1 to target, a host:port. The target is dialed
// once for each connection; when that fails, the connection is cut.
func NewProxy(target string) (*Proxy, error) {
	p := &Proxy{target: target}
	listener, err := host.ListenFree(context.Background())
	if err != nil {
		return nil, err
	}
	p.addr = listener.Addr().String()
	p.way = p.newWay(listener)
	return p, nil
}

func (p *Proxy) newWay(listener net.Listener) *way {
	w := &way{proxy: p, listener: listener, conns: make(map[*proxied]struct{})}
	p.workers.Go(w.accept)
	return w
}

// Addr returns the address that clients dial instead of the target's.
func (p *Proxy) Addr() string { return p.addr }

// Kind returns "proxy".
func (p *Proxy) Kind() string { return "proxy" }

// SetDelay makes each round trip through the proxy take d longer, half of it each way; 0 ends that.
// It holds for data that arrives from now on, keeps its order and does not limit the throughput.
// Opening a connection is not delayed.
func (p *Proxy) SetDelay(d time.Duration) { p.delay.Store(int64(max(0, d))) }

func (p *Proxy) oneWay() time.Duration { return time.Duration(p.delay.Load() / 2) }

// Cut closes the connections there are and goes on.
func (p *Proxy) Cut() error {
	return p.withWay(func(w *way) error {
		w.cut()
		return nil
	})
}

// Kill closes the listener and all connections.
func (p *Proxy) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	return p.way.end()
}

// Restart starts it again at the same address. The target keeps its data.
func (p *Proxy) Restart() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if err := p.way.end(); err != nil {
		return err
	}
	listener, err := host.Listen(context.Background(), p.addr)
	if err != nil {
		return fmt.Errorf("testutil: restarting the proxy: %w", err)
	}
	p.way = p.newWay(listener)
	return nil
}

// Hang holds back all data from now on; a write under way may still arrive.
func (p *Proxy) Hang() error {
	return p.withWay(func(w *way) error {
		w.gate.Close()
		return nil
	})
}

// Release delivers what Hang has held back.
func (p *Proxy) Release() error {
	return p.withWay(func(w *way) error {
		w.gate.Open()
		return nil
	})
}

// Stall holds back all data of the connections there are until they end, as packets that are lost
// do; new ones work.
func (p *Proxy) Stall() error {
	return p.withWay(func(w *way) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for c := range w.conns {
			c.gate.Close()
		}
		return nil
	})
}

func (p *Proxy) withWay(do func(*way) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if p.way.ended() {
		return ErrNotRunning
	}
	return do(p.way)
}

// Close ends it for good and waits until all its goroutines are gone.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	err := p.way.end()
	p.mu.Unlock()
	p.workers.Wait()
	return err
}

func (w *way) accept() {
	for {
		conn, err := w.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(pollInterval) // the client has gone already, or too many files are open
			continue
		}
		w.serve(conn)
	}
}

// serve starts the goroutines of one connection, or closes it when the way is over.
func (w *way) serve(client net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		_ = client.Close()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &proxied{way: w, client: client, ctx: ctx, cancel: cancel}
	w.conns[c] = struct{}{}
	w.proxy.workers.Go(c.run)
}

func (w *way) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.close()
	}
}

// end closes the listener and all connections. It does nothing the second time.
func (w *way) end() error {
	w.mu.Lock()
	over := w.over
	w.over = true
	w.mu.Unlock()
	if over {
		return nil
	}
	err := w.listener.Close()
	w.cut()
	return err
}

// proxied is one connection through a proxy.
type proxied struct {
	way    *way
	client net.Conn
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	gate   memnet.Gate // shut by Stall

	mu      sync.Mutex
	closers []func() // guarded by mu; what close is to call
}

// close may be called from any goroutine, more than once.
func (c *proxied) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel()
	_ = c.client.Close() // both sides see the end either way
	for _, closer := range c.closers {
		closer()
	}
	c.closers = nil
}

// atClose has closer called by close, or at once if that has been called.
func (c *proxied) atClose(closer func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		closer()
		return
	}
	c.closers = append(c.closers, closer)
}

// run dials the target and carries both directions until they have ended, one of them fails or
// close is called.
func (c *proxied) run() {
	defer func() {
		c.close()
		c.way.mu.Lock()
		defer c.way.mu.Unlock()
		delete(c.way.conns, c)
	}()
	if !c.way.gate.Pass(c.ctx.Done()) {
		return
	}
	dialer := net.Dialer{Timeout: proxyDialTimeout}
	target, err := dialer.DialContext(c.ctx, "tcp", c.way.proxy.target)
	if err != nil {
		c.abort()
		return
	}
	c.carry(target)
}

// abort makes the client see a reset instead of an orderly end.
func (c *proxied) abort() {
	if tcp, ok := c.client.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed either way
	}
	c.close()
}

// carry starts both directions and waits until both have ended.
func (c *proxied) carry(target net.Conn) {
	c.atClose(func() { _ = target.Close() })
	var workers sync.WaitGroup
	for _, l := range []*link{
		newLink(c, c.client, target),
		newLink(c, target, c.client),
	} {
		c.atClose(l.close)
		workers.Go(l.receive)
		workers.Go(func() {
			if l.send() != nil {
				c.abort()
			}
		})
	}
	workers.Wait()
}
