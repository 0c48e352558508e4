package memcache

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

// core is what a client starts at its first use and Close ends. The next use starts another.
type core struct {
	options Options // with defaults
	limits  limits
	name    string
	log     *slog.Logger
	epoch   time.Time // zero of the client's clock
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	picker  picker
	set     *breaker.Set
	calls   calls

	durations durations
	resolves  bool // the default dialer is used, so host names are ours to look up
	lookup    func(ctx context.Context, host string) ([]netip.Addr, error)

	servers atomic.Pointer[map[serverAddr]*server] // replaced as a whole under mu

	mu       sync.Mutex
	building *server // whose breaker is being made; guarded by mu
	closed   bool    // guarded by mu
}

// newCore starts nothing yet: goroutines come with the first connection.
func newCore(name string, o Options, selector ServerSelector) (*core, error) {
	c := &core{options: o.withDefaults(), name: name, epoch: time.Now(), log: o.Logger, resolves: o.DialContext == nil, lookup: lookupHost}
	c.limits = limits{c.options.Timeout, c.options.HangTimeout, c.options.ProbeTimeout}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.servers.Store(&map[serverAddr]*server{})
	set, err := breaker.NewSet(name, c.breakerOptions())
	if err != nil {
		return nil, fmt.Errorf("memcache: %w", err)
	}
	c.set = set
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if selector != nil {
		c.picker = &foreignPicker{core: c, selector: selector}
	} else {
		c.picker = newNamePicker(c, o.Servers)
	}
	return c, nil
}

func (c *core) breakerOptions() breaker.SetOptions {
	o := breaker.SetOptions{
		Options: breaker.Options{
			ConsecutiveFailures: 3,
			ProbeTimeout:        c.limits.longestProbe() + probeMargin,
			ReadyTimeout:        replayTime,
			Backoff:             probeDelay,
			Classify:            classify,
		},
		IdleExpiry: -1,
		For: func(_ string, o breaker.Options) breaker.Options {
			s := c.building
			o.Probe, o.OnReady, o.OnStateChange = s.probe, s.replay, s.changed
			return o
		},
	}
	if n := c.options.ConsecutiveFailures; n > 0 {
		o.ConsecutiveFailures, o.HardFailures = n, -1
	}
	return o
}

// now is the client's clock, in nanoseconds.
func (c *core) now() int64 { return int64(time.Since(c.epoch)) }

// spawn starts a background task unless the core is closed.
func (c *core) spawn(task func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.running.Go(task)
	}
}

// server returns the server of an address; it is made at its first use.
func (c *core) server(network, address string) *server {
	id := serverAddr{network, address}
	if s := (*c.servers.Load())[id]; s != nil {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.servers.Load()
	if s := old[id]; s != nil {
		return s
	}
	s := c.newServerLocked(network, address)
	servers := make(map[serverAddr]*server, len(old)+1)
	for k, v := range old {
		servers[k] = v
	}
	servers[id] = s
	c.servers.Store(&servers)
	return s
}

func (c *core) newServerLocked(network, address string) *server {
	s := &server{
		core: c, network: network, address: address, closed: c.closed,
		lines: make(map[*line]struct{}), privates: make(map[net.Conn]struct{}),
		slots: make(chan struct{}, max(defaultIdleConns, c.options.MaxIdleConns)),
	}
	s.ramp.init(c.options.MaxInFlight)
	s.home.init(address, c.resolves)
	s.watch.init(s)
	c.building = s
	s.breaker = c.set.Get(address)
	s.label = s.breaker.Endpoint()
	return s
}

func (c *core) all() map[serverAddr]*server { return *c.servers.Load() }

// close cuts all calls, and waits for all goroutines.
func (c *core) close() {
	c.mu.Lock()
	c.closed = true
	servers := c.all()
	c.mu.Unlock()
	c.cancel()
	for _, s := range servers {
		s.close()
	}
	_ = c.set.Close()
	c.running.Wait()
}

func isUnixPath(address string) bool { return strings.Contains(address, "/") }
