package testutil

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

// RoughOptions say how rough a way is. The zero value is rough.
type RoughOptions struct {
	// Addr is the address to listen on. Default: a free port of 127.0.0.1.
	Addr string
	// MaxPiece is the largest piece that data is cut into. Default 4 KiB; most pieces are far
	// smaller.
	MaxPiece int
	// MaxDelay is the longest delay of a piece; one in sixteen is delayed. Default 2 ms.
	MaxDelay time.Duration
	// Life is the mean life of a connection, which ends with a reset or in silence. Default 150 ms.
	Life time.Duration
	// Stall is how long a lost packet holds up the client's bytes on a connection; one piece in
	// 64 is lost. Default: none is.
	Stall time.Duration
	// Late is when data that was sent into the silence arrives after all, counted from the end of
	// its connection, unless the client reset that: TCP sends unacknowledged bytes again for
	// as long as the socket lives. Default 300 ms.
	Late time.Duration
}

func (o RoughOptions) withDefaults() RoughOptions {
	if o.MaxPiece == 0 {
		o.MaxPiece = 4 << 10
	}
	if o.MaxDelay == 0 {
		o.MaxDelay = 2 * time.Millisecond
	}
	if o.Life == 0 {
		o.Life = 150 * time.Millisecond
	}
	if o.Late == 0 {
		o.Late = 300 * time.Millisecond
	}
	return o
}

// Rough is a rough way to a TCP server, for stress tests: it splits data at random bytes, delays
// it, resets connections, and loses undeliverable bytes as a network does. StartRough makes one.
type Rough struct {
	options  RoughOptions
	target   string
	listener net.Listener
	workers  sync.WaitGroup
	done     chan struct{}
	revived  atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; nil once it is over
}

// goodbye is the most that TLS says of its own accord: the end of a handshake, and of a connection.
const goodbye = 104

// StartRough makes a rough way to target for one test, and closes it when the test ends.
func StartRough(tb TB, target string, o RoughOptions) *Rough {
	tb.Helper()
	r := &Rough{options: o.withDefaults(), target: target, conns: make(map[net.Conn]struct{}), done: make(chan struct{})}
	var err error
	if o.Addr == "" {
		r.listener, err = host.ListenFree(context.Background())
	} else {
		r.listener, err = host.Listen(context.Background(), o.Addr)
	}
	if err != nil {
		tb.Fatalf("starting a rough way to %s: %v", target, err)
		return nil
	}
	r.workers.Go(r.accept)
	tb.Cleanup(r.close)
	return r
}

// Addr returns the address that clients dial instead of the target's.
func (r *Rough) Addr() string { return r.listener.Addr().String() }

// Revived is on how many connections data that had been sent into the silence arrived late, because
// the client gave them up without a reset. What TLS says of its own accord does not count.
func (r *Rough) Revived() int { return int(r.revived.Load()) }

// Open is how many ends of connections there are at present, with those whose data is still to
// arrive late.
func (r *Rough) Open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

func (r *Rough) close() {
	r.mu.Lock()
	conns := r.conns
	r.conns = nil
	r.mu.Unlock()
	close(r.done)
	_ = r.listener.Close()
	for c := range conns {
		_ = c.Close()
	}
	r.workers.Wait()
}

// keep makes close end a connection. It returns false if that has been called.
func (r *Rough) keep(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		_ = conn.Close()
		return false
	}
	r.conns[conn] = struct{}{}
	return true
}

func (r *Rough) drop(conn net.Conn) {
	_ = conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
}

func (r *Rough) accept() {
	for {
		client, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && r.keep(client) {
			r.workers.Go(func() { r.serve(client) })
		}
	}
}

// serve carries one connection to its end.
func (r *Rough) serve(client net.Conn) {
	defer r.drop(client)
	server, err := net.Dial("tcp", r.target) //nolint:noctx // loopback.
	if err != nil || !r.keep(server) {
		return
	}
	defer r.drop(server)
	silence := make(chan struct{})
	end := time.AfterFunc(time.Duration(rand.ExpFloat64()*float64(r.options.Life)), func() {
		if rand.IntN(2) == 0 {
			close(silence)
			return
		}
		for _, conn := range []net.Conn{client, server} {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	})
	defer end.Stop()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = r.carry(client, server, silence, nil)
		if !closed(silence) {
			_ = client.Close()
		}
	})
	held, err := r.carry(server, client, silence, client)
	// A write to the client may have got the reset, so that the read was told of no more than an
	// end.
	politely := errors.Is(err, io.EOF) && !isReset(client)
	if len(held) > 0 && politely && r.pause(r.options.Late) {
		if len(held) > goodbye {
			r.revived.Add(1)
		}
		_, _ = server.Write(held)
		_ = r.pause(r.options.Late) // the server works it off
	}
	_, _ = client.Close(), server.Close()
	both.Wait()
}

// carry moves data in pieces until an end closes. What comes once silence has fallen is held, and
// returned. Bytes that the client has sent and then reset are lost if they are still here: in a
// process that is starved that may be long after.
func (r *Rough) carry(to, from net.Conn, silence <-chan struct{}, client net.Conn) (held []byte, err error) {
	b := make([]byte, r.options.MaxPiece)
	for {
		n, err := from.Read(b[:1+rand.IntN(1+rand.IntN(len(b)))])
		if closed(silence) {
			held = append(held, b[:n]...)
		} else if lost := r.deliver(to, b[:n], client); lost != nil {
			return held, lost
		}
		if err != nil {
			return held, err
		}
	}
}

// deliver brings a piece to its end, unless that or the test is over.
func (r *Rough) deliver(to net.Conn, piece []byte, client net.Conn) error {
	switch {
	case len(piece) == 0:
		return nil
	case !r.delay(client != nil):
		return io.EOF
	case client != nil && isReset(client):
		return syscall.ECONNRESET
	}
	_, err := to.Write(piece)
	return err
}

// delay lets a piece wait, or not. It is false if the test has ended.
func (r *Rough) delay(fromClient bool) bool {
	switch {
	case fromClient && r.options.Stall > 0 && rand.IntN(64) == 0:
		return r.pause(r.options.Stall)
	case rand.IntN(16) == 0:
		return r.pause(time.Duration(rand.Int64N(int64(r.options.MaxDelay))))
	}
	return true
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause reports whether it was not cut short by the end of the test.
func (r *Rough) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.done:
		return false
	}
}
