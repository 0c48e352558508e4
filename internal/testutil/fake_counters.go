package testutil

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/memnet"
)

// deletedKept is how many deleted keys a Fake remembers.
const deletedKept = 4096

// counters are those of a Fake, and the in-memory connections not yet drained.
type counters struct {
	in, out atomic.Int64

	mu          sync.Mutex
	accepted    int                         // guarded by mu
	open        int                         // guarded by mu
	commands    map[string]int              // guarded by mu
	deletedKeys []string                    // guarded by mu
	pipes       map[*memnet.Server]struct{} // guarded by mu
}

// opened counts a connection and returns its number.
func (c *counters) opened() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted++
	c.open++
	return c.accepted
}

func (c *counters) closed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
}

func (c *counters) command(verb string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.commands == nil {
		c.commands = make(map[string]int)
	}
	c.commands[verb]++
}

func (c *counters) deleted(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.deletedKeys) == deletedKept {
		c.deletedKeys = c.deletedKeys[1:]
	}
	c.deletedKeys = append(c.deletedKeys, key)
}

func (c *counters) snapshot() FakeStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return FakeStats{
		Accepted: c.accepted, Open: c.open, Commands: maps.Clone(c.commands),
		BytesIn: c.in.Load(), BytesOut: c.out.Load(),
	}
}

func (c *counters) addPipe(p *memnet.Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pipes == nil {
		c.pipes = make(map[*memnet.Server]struct{})
	}
	c.pipes[p] = struct{}{}
}

func (c *counters) removePipe(p *memnet.Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pipes, p)
}

// abortPipes ends the in-memory connections whose clients have not read everything.
func (c *counters) abortPipes() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.pipes {
		p.Abort()
	}
}
