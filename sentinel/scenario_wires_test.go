package sentinel_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wires are a client's connections, which can be cut, lost and slowed down by the address that they
// lead to: fakes and real servers alike.
type wires struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu   sync.Mutex
	open map[*wired]bool
	cut  map[string]chan struct{} // closed when the address is reached again
	late map[string]time.Duration
}

func newWires(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *wires {
	return &wires{dial: dial, open: make(map[*wired]bool), cut: make(map[string]chan struct{}), late: make(map[string]time.Duration)}
}

// wired is one connection.
type wired struct {
	net.Conn
	wires *wires
	addr  string
	gone  atomic.Bool  // it carries nothing any more, without a word to either side
	late  atomic.Int64 // how long what is read takes
	once  sync.Once
}

// Dial waits, as behind a network that drops packets, while an address is cut off.
func (x *wires) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	for {
		x.mu.Lock()
		healed := x.cut[addr]
		x.mu.Unlock()
		if healed == nil {
			break
		}
		select {
		case <-healed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	conn, err := x.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &wired{Conn: conn, wires: x, addr: addr}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open[c] = true
	c.gone.Store(x.cut[addr] != nil)
	c.late.Store(int64(x.late[addr]))
	return c, nil
}

// each does something with the open connections to an address.
func (x *wires) each(addr string, do func(*wired)) {
	x.mu.Lock()
	var all []*wired
	for c := range x.open {
		if c.addr == addr {
			all = append(all, c)
		}
	}
	x.mu.Unlock()
	for _, c := range all {
		do(c)
	}
}

// cutOff has an address not be reached, until it is healed. The connections that there are carry
// nothing any more, and will not again.
func (x *wires) cutOff(addr string) {
	x.mu.Lock()
	if x.cut[addr] == nil {
		x.cut[addr] = make(chan struct{})
	}
	x.mu.Unlock()
	x.swallow(addr)
}

// swallow has the connections to an address carry nothing any more, as those that a firewall has
// forgotten.
func (x *wires) swallow(addr string) { x.each(addr, func(c *wired) { c.gone.Store(true) }) }

// reset ends the connections to an address.
func (x *wires) reset(addr string) { x.each(addr, func(c *wired) { _ = c.Conn.Close() }) }

// slow has what comes from an address take so long.
func (x *wires) slow(addr string, by time.Duration) {
	x.mu.Lock()
	x.late[addr] = by
	x.mu.Unlock()
	x.each(addr, func(c *wired) { c.late.Store(int64(by)) })
}

// heal ends the faults of an address.
func (x *wires) heal(addr string) {
	x.mu.Lock()
	if healed := x.cut[addr]; healed != nil {
		close(healed)
		delete(x.cut, addr)
	}
	x.mu.Unlock()
	x.slow(addr, 0)
}

func (c *wired) Write(b []byte) (int, error) {
	if c.gone.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *wired) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if late := time.Duration(c.late.Load()); late > 0 && n > 0 {
			time.Sleep(late)
		}
		if n == 0 || !c.gone.Load() {
			return n, err
		}
	}
}

func (c *wired) Close() error {
	c.once.Do(func() {
		c.wires.mu.Lock()
		defer c.wires.mu.Unlock()
		delete(c.wires.open, c)
	})
	return c.Conn.Close()
}
