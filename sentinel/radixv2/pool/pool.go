// Package pool has the names of github.com/mediocregopher/radix.v2/pool: connections to one server.
// See package redis beside. Where sentinels watch the server, use package sentinel.
package pool

import (
	"errors"
	"sync"

	"github.com/holdfast-go/holdfast/sentinel/radixv2/redis"
)

// ErrClosed is the error of a reply to Cmd after Empty.
var ErrClosed = errors.New("pool: it was emptied")

// DialFunc opens a connection to a server and prepares it.
type DialFunc func(network, addr string) (*redis.Client, error)

// Pool is connections to one server. It has no useful zero value: New makes one. It is safe for
// concurrent use.
type Pool struct {
	// Network and Addr are those that are dialed.
	Network, Addr string

	dial DialFunc
	size int

	mu    sync.Mutex
	idle  []*redis.Client // guarded by mu
	ended bool            // guarded by mu
}

// New makes a pool with as many connections as its size. It keeps no more than these.
func New(network, addr string, size int) (*Pool, error) {
	return NewCustom(network, addr, size, redis.Dial)
}

// NewCustom is New with a function that opens the connections.
func NewCustom(network, addr string, size int, df DialFunc) (*Pool, error) {
	p := &Pool{Network: network, Addr: addr, dial: df, size: size}
	for range size {
		c, err := df(network, addr)
		if err != nil {
			p.Empty()
			return nil, err
		}
		p.Put(c)
	}
	return p, nil
}

// Get takes a connection, or opens one.
func (p *Pool) Get() (*redis.Client, error) {
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return p.dial(p.Network, p.Addr)
}

// Put gives a connection back. One with a critical error, and one too many, is closed.
func (p *Pool) Put(c *redis.Client) {
	if c == nil {
		return
	}
	p.mu.Lock()
	keep := c.LastCritical == nil && !p.ended && len(p.idle) < p.size
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		_ = c.Close()
	}
}

// Cmd sends one command on one of the connections.
func (p *Pool) Cmd(cmd string, args ...any) *redis.Resp {
	c, err := p.Get()
	if err != nil {
		return redis.NewRespIOErr(err)
	}
	defer p.Put(c)
	return c.Cmd(cmd, args...)
}

// Avail is how many connections wait for use.
func (p *Pool) Avail() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// Empty closes the connections that wait for use, and those that are put back later.
func (p *Pool) Empty() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.ended = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
}
