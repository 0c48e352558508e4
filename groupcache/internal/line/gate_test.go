package line_test

import (
	"net"
	"sync"
)

// gated is a connection that takes so many bytes, and the rest once it is open.
type gated struct {
	net.Conn
	open   chan struct{}
	passed int

	mu   sync.Mutex
	n    int  // bytes written; guarded by mu
	shut bool // somebody waits; guarded by mu
}

func (g *gated) Write(b []byte) (int, error) {
	g.mu.Lock()
	g.n += len(b)
	wait := g.n > g.passed
	g.shut = g.shut || wait
	g.mu.Unlock()
	if wait {
		<-g.open
	}
	return g.Conn.Write(b)
}

func (g *gated) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

func (g *gated) written() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}
