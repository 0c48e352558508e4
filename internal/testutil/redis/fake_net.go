package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// FakeNet is a network in memory with fake servers and sentinels at made-up addresses. It opens no
// socket and runs on the clock of a synctest bubble. It has no useful zero value; NewFakeNet and
// StartFakeNet make one. It is safe for concurrent use.
type FakeNet struct {
	mu     sync.Mutex
	nodes  map[string]*node             // guarded by mu
	closer []interface{ Close() error } // guarded by mu
}

// StartFakeNet makes a network for one test and closes it when the test ends.
func StartFakeNet(tb testutil.TB) *FakeNet {
	tb.Helper()
	n := NewFakeNet()
	closeAtEnd(tb, "a fake network", n, nil)
	return n
}

// NewFakeNet makes an empty network.
func NewFakeNet() *FakeNet { return &FakeNet{nodes: make(map[string]*node)} }

// Dial connects to the fake at addr. It has the signature of net.Dialer.DialContext and ignores
// network. Where there is no fake, or a killed one, it fails with syscall.ECONNREFUSED; a lost one
// makes it wait until ctx ends.
func (f *FakeNet) Dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, dialError(addr, err)
	}
	f.mu.Lock()
	n, ok := f.nodes[addr]
	f.mu.Unlock()
	if !ok {
		return nil, dialError(addr, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return n.dial(ctx)
}

// Server adds a redis to the network. It panics if the address is taken.
func (f *FakeNet) Server(o FakeServerOptions) *FakeServer {
	s, err := f.server(o)
	if err != nil {
		panic(err)
	}
	return s
}

func (f *FakeNet) server(o FakeServerOptions) (*FakeServer, error) {
	if o.Addr == "" {
		o.Addr = f.freeAddr("10.0.0.%d:6379")
	}
	s, err := newFakeServer(context.Background(), o)
	if err != nil {
		return nil, err
	}
	return s, f.add(&s.node, s)
}

// Sentinel adds a sentinel to the network. It panics if the address is taken.
func (f *FakeNet) Sentinel(o FakeSentinelOptions) *FakeSentinel {
	s, err := f.sentinel(o)
	if err != nil {
		panic(err)
	}
	return s
}

func (f *FakeNet) sentinel(o FakeSentinelOptions) (*FakeSentinel, error) {
	if o.Addr == "" {
		o.Addr = f.freeAddr("10.0.1.%d:26379")
	}
	s, err := newFakeSentinel(context.Background(), o)
	if err != nil {
		return nil, err
	}
	return s, f.add(&s.node, s)
}

func (f *FakeNet) freeAddr(format string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 1; ; i++ {
		addr := fmt.Sprintf(format, i)
		if _, taken := f.nodes[addr]; !taken {
			return addr
		}
	}
}

func (f *FakeNet) add(n *node, closer interface{ Close() error }) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.nodes[n.addr]; taken {
		return fmt.Errorf("redis: the address %s is taken", n.addr)
	}
	f.nodes[n.addr] = n
	f.closer = append(f.closer, closer)
	return nil
}

// Close closes all fakes and waits until their goroutines are gone. It is idempotent.
func (f *FakeNet) Close() error {
	f.mu.Lock()
	closers := f.closer
	f.closer = nil
	f.mu.Unlock()
	var errs []error
	for _, c := range closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
