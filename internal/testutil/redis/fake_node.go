package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
	"github.com/holdfast-go/holdfast/internal/testutil/internal/memnet"
)

// commandsKept is how many commands a fake remembers.
const commandsKept = 8192

// node is common to a fake redis and a fake sentinel: an address, lives, connections,
// faults and counters.
type node struct {
	addr     string
	tcp      bool // reached through a listener besides FakeNet
	access   access
	bus      bus
	commands map[string]command
	fault    atomic.Pointer[Chooser]
	workers  sync.WaitGroup
	onKill   func() // forgets what does not survive; called under mu

	state   sync.Mutex                    // held while a command is carried out
	refuse  func(traits trait) ReplyError // why not now, "" if it may be; called under state
	about   func() []any                  // what HELLO says besides the usual; called under state
	changed chan struct{}                 // guarded by state; closed at the next change that a blocked command may wait for

	mu       sync.Mutex
	life     *life                       // guarded by mu; the current one, or the last
	lost     chan struct{}               // guarded by mu; nil while it can be dialed, closed when it can again
	closed   bool                        // guarded by mu
	pipes    map[*memnet.Server]struct{} // guarded by mu; those not yet drained
	dialed   int                         // guarded by mu
	accepted int                         // guarded by mu
	counts   map[string]int              // guarded by mu
	recorded []Command                   // guarded by mu
}

// life is the time between a start and a Kill.
type life struct {
	node     *node
	listener net.Listener // nil in memory
	gate     memnet.Gate

	mu    sync.Mutex
	conns map[*fakeConn]struct{} // guarded by mu; nil when the life is over
}

// start begins the first life, at a free port if the node is reached over TCP.
func (n *node) start(ctx context.Context) error {
	n.pipes, n.counts = make(map[*memnet.Server]struct{}), make(map[string]int)
	if n.tcp {
		listener, err := host.ListenFree(ctx)
		if err != nil {
			return err
		}
		n.addr = listener.Addr().String()
		n.life = n.newLife(listener)
		return nil
	}
	n.life = n.newLife(nil)
	return nil
}

// changesLocked returns a channel that the next wakeLocked closes.
func (n *node) changesLocked() <-chan struct{} {
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.changed
}

func (n *node) wakeLocked() {
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}

func (n *node) newLife(listener net.Listener) *life {
	l := &life{node: n, listener: listener, conns: make(map[*fakeConn]struct{})}
	if listener != nil {
		n.workers.Go(l.accept)
	}
	return l
}

// Addr returns the address that clients dial. It stays the same for life.
func (n *node) Addr() string { return n.addr }

// Kind returns "in-process".
func (n *node) Kind() string { return "in-process" }

// Running reports whether it has been neither killed nor hung.
func (n *node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.closed && !n.life.over() && !n.life.gate.Shut()
}

func (n *node) killed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life.over()
}

func (n *node) isHung() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.life.over() && n.life.gate.Shut()
}

// Kill cuts all connections and refuses new ones. It does not wait for a command that is being
// carried out.
func (n *node) Kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return testutil.ErrClosed
	}
	n.onKill()
	return n.life.end()
}

// Restart starts it again at the same address, killing it first if it runs; it is not hung then.
// Faults, counters and records stay.
func (n *node) Restart() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return testutil.ErrClosed
	}
	n.onKill()
	if err := n.life.end(); err != nil {
		return err
	}
	var listener net.Listener
	if n.tcp {
		var err error
		if listener, err = host.Listen(context.Background(), n.addr); err != nil {
			return fmt.Errorf("redis: restarting the fake: %w", err)
		}
	}
	n.life = n.newLife(listener)
	return nil
}

// Hang stops it from answering; it still accepts connections and data. A reply that is just being
// sent may still go out.
func (n *node) Hang() error { return n.withLife(func(l *life) { l.gate.Close() }) }

// Release lets it go on and answer the requests queued meanwhile.
func (n *node) Release() error { return n.withLife(func(l *life) { l.gate.Open() }) }

// DropClients cuts all connections and goes on.
func (n *node) DropClients() error {
	return n.withLife(func(l *life) {
		for _, c := range l.all() {
			c.close()
		}
	})
}

// Lose makes FakeNet.Dial of it wait until its context ends, as behind a network that drops
// packets, and hangs it.
func (n *node) Lose() error {
	return n.withLife(func(l *life) {
		l.gate.Close()
		if n.lost == nil {
			n.lost = make(chan struct{})
		}
	})
}

// Find ends Lose: dials that still wait succeed.
func (n *node) Find() error {
	return n.withLife(func(l *life) {
		l.gate.Open()
		if n.lost != nil {
			close(n.lost)
			n.lost = nil
		}
	})
}

func (n *node) withLife(do func(*life)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return testutil.ErrClosed
	}
	if n.life.over() {
		return testutil.ErrNotRunning
	}
	do(n.life)
	return nil
}

// Close ends it for good and waits until all its goroutines are gone. It is idempotent.
func (n *node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.onKill()
	err := n.life.end()
	for pipe := range n.pipes {
		pipe.Abort()
	}
	n.mu.Unlock()
	n.workers.Wait()
	return err
}

// spawn runs f in a goroutine that Close waits for. It returns false if the node is closed.
func (n *node) spawn(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.workers.Go(f)
	return true
}

// SetFault lets choose decide, for each command, what goes wrong; nil ends all faults. It takes
// effect with the next command that is carried out.
func (n *node) SetFault(choose Chooser) {
	if choose == nil {
		n.fault.Store(nil)
		return
	}
	n.fault.Store(&choose)
}

func (n *node) faultFor(cmd Command) Fault {
	choose := n.fault.Load()
	if choose == nil {
		return Fault{}
	}
	return (*choose)(cmd)
}

// FakeStats are the counters of a fake over all its lives.
type FakeStats struct {
	// Dialed counts the attempts to connect through FakeNet, refused ones included; Accepted counts
	// connections; Open is how many are open now.
	Dialed, Accepted, Open int
	// Commands counts commands by name in upper case, those answered with an error included.
	Commands map[string]int
}

// Stats returns a snapshot of the counters.
func (n *node) Stats() FakeStats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return FakeStats{Dialed: n.dialed, Accepted: n.accepted, Open: len(n.life.all()), Commands: maps.Clone(n.counts)}
}

// Commands returns the last commands in the order in which it has begun to carry them out, at most
// 8192.
func (n *node) Commands() []Command {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.recorded)
}

func (n *node) record(cmd Command) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts[cmd.Verb()]++
	if len(n.recorded) == commandsKept {
		n.recorded = slices.Delete(n.recorded, 0, commandsKept/2)
	}
	n.recorded = append(n.recorded, cmd)
}

// dial opens a connection in memory.
func (n *node) dial(ctx context.Context) (net.Conn, error) {
	n.mu.Lock()
	n.dialed++
	lost := n.lost
	n.mu.Unlock()
	if lost != nil {
		select {
		case <-lost:
		case <-ctx.Done():
			return nil, dialError(n.addr, ctx.Err())
		}
	}
	n.mu.Lock()
	l := n.life
	n.mu.Unlock()
	client, server := memnet.Pipe(n.addr)
	if !l.serve(server) {
		server.Abort()
		return nil, dialError(n.addr, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return client, nil
}

func dialError(addr string, err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: memnet.Addr(addr), Err: err}
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
func (l *life) serve(conn io.ReadWriteCloser) bool {
	l.node.mu.Lock()
	defer l.node.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		return false
	}
	n := l.node
	n.accepted++
	c := newFakeConn(l, conn, n.accepted)
	l.conns[c] = struct{}{}
	c.start()
	if pipe, ok := conn.(*memnet.Server); ok {
		n.pipes[pipe] = struct{}{}
		n.workers.Go(pipe.PumpIn)
		n.workers.Go(func() {
			pipe.PumpOut()
			n.forgetPipe(pipe)
		})
	}
	return true
}

func (n *node) forgetPipe(pipe *memnet.Server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pipes, pipe)
}

func (l *life) forget(c *fakeConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// all returns the open connections.
func (l *life) all() []*fakeConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.conns))
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
