package memcache

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/limits"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/trace"
)

// core is what a client starts at its first use and Close ends. The next use starts another.
type core struct {
	options    Options // with defaults
	limits     limits.Times
	secure     secure
	name       string
	log        *slog.Logger
	tracer     *tracing.Tracer // nil if there is none
	epoch      time.Time       // zero of the client's clock
	ctx        context.Context
	cancel     context.CancelFunc
	running    sync.WaitGroup
	picker     picker
	selector   ServerSelector // nil: the names of Options.Servers
	rolls      rolls
	unanswered unanswered
	calls      calls
	gutter     *gutter // nil: off
	lists      *lists  // nil: no Options.Source
	loads      loads

	histograms *histograms
	resolves   bool // the default dialer is used, so host names are ours to look up
	lookup     func(ctx context.Context, host string) ([]netip.Addr, error)

	unresettable atomic.Bool // it was said that connections cannot be reset

	grace time.Duration // homeGrace

	servers atomic.Pointer[map[addresses.Addr]*server] // replaced as a whole under mu

	mu     sync.Mutex
	labels *observe.Labels // guarded by mu
	former serverSum       // what servers counted that were let go; guarded by mu
	others *serverSum      // those of them that had no label of their own, nil for none; guarded by mu
	closed bool            // guarded by mu
}

// newCore starts nothing yet: goroutines come with the first connection.
func newCore(name string, o Options, selector ServerSelector) *core {
	c := &core{
		options: o.withDefaults(), name: name, epoch: time.Now(), log: observe.Logger(o.Logger, name), selector: selector,
		labels: observe.NewLabels(maxLabels), histograms: newHistograms(),
		resolves: o.DialContext == nil, lookup: lookupHost, grace: homeGrace,
	}
	c.tracer = tracing.New(o.Trace, trace.Memcached, name, c.log)
	c.limits = limits.Times{Timeout: c.options.Timeout, Hang: c.options.HangTimeout, Probe: c.options.ProbeTimeout}
	c.unanswered.core = c
	c.secure.init(c.options)
	c.servers.Store(&map[addresses.Addr]*server{})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.lists = newLists(c)
	switch {
	case selector != nil:
		c.picker = &foreignPicker{core: c, selector: selector}
		c.scheduleRollCall()
	case c.lists != nil:
		c.picker = c.lists
	default:
		c.picker = newNamePicker(c, o.Servers)
	}
	c.gutter = newGutter(c)
	if c.lists != nil {
		c.spawn(c.lists.follow)
		if c.options.HandOver >= 0 {
			c.spawn(c.lists.followHistory)
		}
	}
	return c
}

func (c *core) newBreaker(s *server) *breaker.Breaker {
	o := breaker.Options{
		Kind:                metrics.KindMemcached,
		Endpoint:            s.label,
		ConsecutiveFailures: 3,
		Probe:               s.probe,
		ProbeTimeout:        c.limits.LongestProbe() + probeMargin,
		OnReady:             s.makeReady,
		ReadyTimeout:        replayTime,
		Backoff:             probeDelay,
		Classify:            faults.Classify,
		OnStateChange:       s.changed,
	}
	if n := c.options.ConsecutiveFailures; n > 0 {
		o.ConsecutiveFailures, o.HardFailures = n, -1
	}
	b, err := breaker.New(c.name, o)
	if err != nil { // none of these is the caller's, but for what Options.validate has seen
		panic("memcache: " + err.Error())
	}
	return b
}

// wordOf is an operation's command, as the client's options have it.
func (c *core) wordOf(o protocol.Op) string {
	if c.options.PlainGet && (o == protocol.OpGet || o == protocol.OpGetMulti) {
		return "get"
	}
	return o.Word()
}

// now is the client's clock, in nanoseconds.
func (c *core) now() int64 { return int64(time.Since(c.epoch)) }

// spawn starts a background task unless the core is closed.
func (c *core) spawn(task func()) { _ = c.trySpawn(task) }

// trySpawn reports whether it has started the task.
func (c *core) trySpawn(task func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.running.Go(task)
	}
	return !c.closed
}

// server returns the server of an address; it is made at its first use.
func (c *core) server(network, address string) *server {
	id := addresses.Addr{NetworkName: network, Text: address}
	if s := (*c.servers.Load())[id]; s != nil {
		return s
	}
	s := c.addServer(id)
	s.replaySoon() // if it was let go before it had all deletions
	return s
}

func (c *core) addServer(id addresses.Addr) *server {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.servers.Load()
	if s := old[id]; s != nil {
		return s
	}
	s := c.newServerLocked(id)
	servers := make(map[addresses.Addr]*server, len(old)+1)
	for k, v := range old {
		servers[k] = v
	}
	servers[id] = s
	c.servers.Store(&servers)
	return s
}

func (c *core) newServerLocked(id addresses.Addr) *server {
	s := &server{
		core: c, network: id.NetworkName, address: id.Text, closed: c.closed, missed: c.recallLocked(id),
		lines: make(map[*line]struct{}), privates: make(map[net.Conn]struct{}),
		slots: make(chan struct{}, max(defaultIdleConns, c.options.MaxIdleConns)),
	}
	s.ramp.Init(c.options.MaxInFlight)
	s.seed = placement.Seed(id.Text)
	s.home.init(c, id.Text)
	s.watch.init(s)
	s.label = c.labels.Take(id.Text)
	s.breaker = c.newBreaker(s)
	if c.closed {
		_ = s.breaker.Close()
	}
	return s
}

func (c *core) all() map[addresses.Addr]*server { return *c.servers.Load() }

// close cuts all calls, and waits for all goroutines.
func (c *core) close() {
	c.mu.Lock()
	c.closed = true
	servers := c.all()
	c.mu.Unlock()
	c.stopRollCall()
	c.unanswered.end()
	c.cancel()
	breakers := make([]*breaker.Breaker, 0, len(servers))
	for _, s := range servers {
		s.close()
		breakers = append(breakers, s.breaker)
	}
	closeBreakers(breakers)
	c.running.Wait()
}
