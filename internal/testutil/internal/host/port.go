package host

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from below the ranges that Linux, macOS and Windows hand out to outgoing
// connections: else a client's own connection may sit on the port of a killed server when that is
// restarted.
const (
	lowestPort  = 12_000
	highestPort = 32_000
	blockSize   = 100 // ports; the first of them is not handed out
	mostBlocks  = 10  // of a process
	portTries   = 200
)

// Ports hands out ports of blocks of its own, each of which comes again only after all others: a
// server that is killed finds its port free when it is restarted, whatever other processes of this
// kind start meanwhile. The zero value is ready. It is safe for concurrent use.
type Ports struct {
	mu     sync.Mutex
	blocks []net.Listener // guarded by mu; each on the first port of a block, which nobody else uses as long as it listens
	block  int            // guarded by mu; of blocks, the one whose ports are handed out
	next   int            // guarded by mu; in the block
}

// ours are the ports of this process, which has them until it ends.
var ours Ports //nolint:gochecknoglobals // ports belong to processes

// Take returns the next port. Somebody who does not know of blocks may listen on it.
func (p *Ports) Take(ctx context.Context) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next++; p.next >= blockSize || len(p.blocks) == 0 {
		if err := p.turn(ctx); err != nil {
			return 0, err
		}
	}
	return p.blocks[p.block].Addr().(*net.TCPAddr).Port + p.next, nil
}

// turn goes on to another block: a new one, or if it has enough, or there is none, the one that was
// used the longest ago. The caller holds mu.
func (p *Ports) turn(ctx context.Context) error {
	p.next = 1
	var last error
	for _, i := range rand.Perm((highestPort - lowestPort) / blockSize) {
		if len(p.blocks) == mostBlocks {
			break
		}
		var claim net.Listener
		if claim, last = Listen(ctx, Loopback(lowestPort+i*blockSize)); last == nil {
			p.blocks = append(p.blocks, claim)
			p.block = len(p.blocks) - 1
			return nil
		}
	}
	if len(p.blocks) == 0 {
		return fmt.Errorf("no block of ports is free: %w", last)
	}
	p.block = (p.block + 1) % len(p.blocks)
	return nil
}

// Close gives all of them back.
func (p *Ports) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, claim := range p.blocks {
		errs = append(errs, claim.Close())
	}
	p.blocks = nil
	return errors.Join(errs...)
}

// FreePort returns a TCP port that nobody listens on at 127.0.0.1, and no other process that asks
// like this will.
func FreePort(ctx context.Context) (int, error) {
	ln, err := ListenFree(ctx)
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// ListenFree listens on a free port of 127.0.0.1.
func ListenFree(ctx context.Context) (net.Listener, error) {
	var last error
	for range portTries {
		port, err := ours.Take(ctx)
		if err != nil {
			return nil, err
		}
		var ln net.Listener
		if ln, last = Listen(ctx, Loopback(port)); last == nil {
			return ln, nil
		}
	}
	return nil, fmt.Errorf("no free port in %d tries: %w", portTries, last)
}

// Listen listens on addr, a TCP host:port.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", addr)
}

// Loopback returns the address of a port of 127.0.0.1.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
