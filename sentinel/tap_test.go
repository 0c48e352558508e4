package sentinel_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// taps are connections that can be made to carry nothing any more, one by one, without a word to
// either side: as a flow that a firewall has forgotten.
type taps struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu   sync.Mutex
	open []*tap
}

type tap struct {
	net.Conn
	closed atomic.Bool
	shut   atomic.Bool

	mu   sync.Mutex
	said []byte // what the client has written
}

func (x *taps) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := x.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	t := &tap{Conn: conn}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open = append(x.open, t)
	return t, nil
}

// each does something with the open connections on which the client has said something.
func (x *taps) each(said string, do func(*tap)) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range x.open {
		t.mu.Lock()
		found := bytes.Contains(t.said, []byte(said))
		t.mu.Unlock()
		if found && !t.closed.Load() {
			do(t)
			n++
		}
	}
	return n
}

// close cuts connections off as a server does.
func (x *taps) close(said string) int { return x.each(said, func(t *tap) { _ = t.Conn.Close() }) }

// stop makes connections carry nothing.
func (x *taps) stop(said string) int { return x.each(said, func(t *tap) { t.shut.Store(true) }) }

func (t *tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	t.said = append(t.said, b...)
	t.mu.Unlock()
	if t.shut.Load() {
		return len(b), nil
	}
	return t.Conn.Write(b)
}

func (t *tap) Read(b []byte) (int, error) {
	for {
		n, err := t.Conn.Read(b)
		if n == 0 || !t.shut.Load() {
			return n, err
		}
	}
}

func (t *tap) Close() error {
	t.closed.Store(true)
	return t.Conn.Close()
}
