package groupcache_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wireProxy is a TCP proxy before a node, which can be cut and frozen.
type wireProxy struct {
	listener net.Listener
	to       string
	frozen   atomic.Bool
	held     atomic.Pointer[atomic.Bool] // of connections that begin
	work     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func startWire(t *testing.T, to string) *wireProxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wireProxy{listener: l, to: strings.TrimPrefix(to, "http://")}
	w.held.Store(new(atomic.Bool))
	var accepting sync.WaitGroup
	accepting.Go(w.accept)
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait() // one that was accepted a moment ago is among those that are cut
		w.cut()
		w.work.Wait()
	})
	return w
}

func (w *wireProxy) url() string { return "http://" + w.listener.Addr().String() }

func (w *wireProxy) accept() {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", w.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, in, out)
		w.mu.Unlock()
		held := w.held.Load()
		w.work.Go(func() { w.copy(in, out, held) })
		w.work.Go(func() { w.copy(out, in, held) })
	}
}

func (w *wireProxy) copy(to, from net.Conn, held *atomic.Bool) {
	defer func() { _ = to.Close() }()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		for w.frozen.Load() || held.Load() {
			time.Sleep(time.Millisecond)
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// hold holds back the bytes sent on the present connections, not on later ones.
func (w *wireProxy) hold() (release func()) {
	held := w.held.Swap(new(atomic.Bool))
	held.Store(true)
	return func() { held.Store(false) }
}

// cut ends all connections.
func (w *wireProxy) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}
