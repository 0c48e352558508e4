package testutil

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
	"github.com/holdfast-go/holdfast/internal/testutil/internal/memnet"
)

// FakeOptions says how a Fake is made. The zero value is a memcached on a free port of 127.0.0.1
// with the limits of a real one.
type FakeOptions struct {
	// InMemory leaves out the listener: the fake is reached through its Dial only and opens no
	// socket, as tests in a synctest bubble need it. Default: a TCP listener on a free port of
	// 127.0.0.1.
	InMemory bool
	// Addr is the address to listen on, or what Addr returns in memory. Default: a free one.
	Addr string
	// MaxBytes is the memory for items; beyond it the least recently used go. Default: 64 MiB.
	MaxBytes int
	// MaxItemSize is the most memory that one item may take, overhead included. Default: 1 MiB.
	MaxItemSize int
	// Version is the answer to the version command. Default: "1.6.0-fake".
	Version string
	// Meta adds the meta command mg, with the flags c, f, t and v. Default: ERROR, as of memcached
	// before 1.6.
	Meta bool
	// TLS makes the listener speak TLS. Default nil: plain TCP.
	TLS *tls.Config
}

func (o FakeOptions) withDefaults() FakeOptions {
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxItemSize == 0 {
		o.MaxItemSize = 1 << 20
	}
	if o.Version == "" {
		o.Version = "1.6.0-fake"
	}
	return o
}

// Fake is a memcached in this process that speaks the text protocol (without the meta commands) and
// can be told to misbehave. It has no useful zero value; NewFake and StartFake make one. It is safe
// for concurrent use.
//
// It differs from a real server where that cannot matter to a client: items expire on time instead
// of within a second, and stats knows only the general group.
type Fake struct {
	options  FakeOptions
	addr     string
	counters counters
	fault    atomic.Pointer[Chooser]
	workers  sync.WaitGroup

	mu     sync.Mutex
	life   *life // guarded by mu; the current one, or the last
	closed bool  // guarded by mu
}

// life is the time between a start and a Kill.
type life struct {
	fake     *Fake
	listener net.Listener // nil in memory
	store    *store
	born     time.Time
	gate     memnet.Gate

	mu    sync.Mutex
	conns map[*fakeConn]struct{} // guarded by mu; nil when the life is over
}

// StartFake makes a fake for one test, with the first of o if there is one, and closes it when the
// test ends.
func StartFake(tb TB, o ...FakeOptions) *Fake {
	tb.Helper()
	f, err := NewFake(first(o))
	if err != nil {
		tb.Fatalf("starting a fake memcached: %v", err)
		return nil
	}
	closeAtEnd(tb, f)
	return f
}

// NewFake makes a fake that runs.
func NewFake(o FakeOptions) (*Fake, error) {
	f := &Fake{options: o.withDefaults()}
	l, err := f.newLife(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("testutil: %w", err)
	}
	f.life, f.addr = l, l.addr(o)
	return f, nil
}

// newLife starts the fake at addr, or at a free address.
func (f *Fake) newLife(addr string) (*life, error) {
	l := &life{fake: f, store: newStore(f.options), born: time.Now(), conns: make(map[*fakeConn]struct{})}
	if f.options.InMemory {
		return l, nil
	}
	var err error
	if addr != "" {
		l.listener, err = host.Listen(context.Background(), addr)
	} else {
		l.listener, err = host.ListenFree(context.Background())
	}
	if err != nil {
		return nil, err
	}
	if f.options.TLS != nil {
		l.listener = tls.NewListener(l.listener, f.options.TLS)
	}
	f.workers.Go(l.accept)
	return l, nil
}

// addr returns the address of a fake's first life. In memory that is one of the block reserved for
// benchmarks, which needs no resolver and reaches nobody, drawn at random so that several fakes
// differ.
func (l *life) addr(o FakeOptions) string {
	switch {
	case l.listener != nil:
		return l.listener.Addr().String()
	case o.Addr != "":
		return o.Addr
	default:
		return fmt.Sprintf("198.18.%d.%d:%d", rand.IntN(256), rand.IntN(256), 1+rand.IntN(65535))
	}
}

// Addr returns the address it listens on; in memory, a made-up one that is only good for Dial.
func (f *Fake) Addr() string { return f.addr }

// Kind returns "in-process".
func (f *Fake) Kind() string { return "in-process" }

// Kill closes the listener and all connections. It does not wait for a command that is being
// carried out, so that it may be called by a Chooser.
func (f *Fake) Kill() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	return f.life.end()
}

// Restart starts it again at the same address, empty. Faults, counters and the log of deleted keys
// stay.
func (f *Fake) Restart() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if err := f.life.end(); err != nil {
		return err
	}
	l, err := f.newLife(f.addr)
	if err != nil {
		return fmt.Errorf("testutil: restarting the fake: %w", err)
	}
	f.life = l
	return nil
}

// Hang stops it from answering. A reply that is just being sent may still go out.
func (f *Fake) Hang() error { return f.withLife(func(l *life) { l.gate.Close() }) }

// Release lets it go on.
func (f *Fake) Release() error { return f.withLife(func(l *life) { l.gate.Open() }) }

func (f *Fake) withLife(do func(*life)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if f.life.over() {
		return ErrNotRunning
	}
	do(f.life)
	return nil
}

// Close ends it for good and waits until all its goroutines are gone.
func (f *Fake) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	err := f.life.end()
	f.mu.Unlock()
	f.counters.abortPipes()
	f.workers.Wait()
	return err
}

// SetFault lets choose decide, for each new connection and each command, what goes wrong; nil ends
// all faults. It takes effect with the next command. choose is called from many goroutines.
func (f *Fake) SetFault(choose Chooser) {
	if choose == nil {
		f.fault.Store(nil)
		return
	}
	f.fault.Store(&choose)
}

func (f *Fake) faultFor(cmd Command) Fault {
	choose := f.fault.Load()
	if choose == nil {
		return Fault{}
	}
	return (*choose)(cmd)
}

// Dial opens a connection in memory: a net.Pipe whose other end is served by the fake. It has the
// signature of net.Dialer.DialContext and ignores network and addr. A killed fake refuses with
// syscall.ECONNREFUSED. As with a socket, a hung fake is dialed and written to without an error.
func (f *Fake) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: memnet.Addr(addr), Err: err}
	}
	f.mu.Lock()
	l := f.life
	f.mu.Unlock()
	client, server := memnet.Pipe(f.addr)
	if !l.serve(server) {
		server.Abort()
		refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
		return nil, &net.OpError{Op: "dial", Net: network, Addr: memnet.Addr(addr), Err: refused}
	}
	return client, nil
}

// accept serves what dials the listener until that is closed.
func (l *life) accept() {
	for {
		conn, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(pollInterval) // the client has gone already, or too many files are open
			continue
		}
		if !l.serve(conn) {
			_ = conn.Close()
		}
	}
}

// serve starts the goroutines of a connection. It returns false when the life is over.
func (l *life) serve(raw io.ReadWriteCloser) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		return false
	}
	c := newFakeConn(l, raw)
	l.conns[c] = struct{}{}
	l.fake.workers.Go(c.serve)
	if pipe, ok := raw.(*memnet.Server); ok {
		l.fake.counters.addPipe(pipe)
		l.fake.workers.Go(pipe.PumpIn)
		l.fake.workers.Go(func() {
			pipe.PumpOut()
			l.fake.counters.removePipe(pipe)
		})
	}
	return true
}

func (l *life) forget(c *fakeConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

func (l *life) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns == nil
}

// end closes the listener and all connections. It does nothing the second time.
func (l *life) end() error {
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	if conns == nil {
		return nil
	}
	var err error
	if l.listener != nil {
		err = l.listener.Close()
	}
	for c := range conns {
		c.close()
	}
	return err
}

// FakeStats are the counters of a Fake over all its lives.
type FakeStats struct {
	// Accepted counts connections; Open is how many of them are open now.
	Accepted, Open int
	// Commands counts commands by verb, those answered with an error included.
	Commands map[string]int
	// BytesIn and BytesOut count the bytes read from and written to clients.
	BytesIn, BytesOut int64
	// Items and Bytes are how many items are stored now, dead ones not yet found included, and
	// their size.
	Items int
	Bytes int64
}

// Stats returns a snapshot of the counters.
func (f *Fake) Stats() FakeStats {
	f.mu.Lock()
	items := f.life.store.stats()
	f.mu.Unlock()
	stats := f.counters.snapshot()
	stats.Items, stats.Bytes = items.items, items.bytes
	return stats
}

// Deleted returns the keys of the last delete commands carried out, oldest first and at most 4096,
// whether they were there or not.
func (f *Fake) Deleted() []string {
	f.counters.mu.Lock()
	defer f.counters.mu.Unlock()
	return slices.Clone(f.counters.deletedKeys)
}
