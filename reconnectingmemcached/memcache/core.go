package memcache

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// core is a running client: the first use starts it, and Close ends it. The next use starts
// another.
type core struct {
	*server.Env

	options  Options // with defaults
	picker   picker
	selector ServerSelector // nil: the names of Options.Servers
	rolls    rolls
	gutter   *gutter // nil: off
	lists    *lists  // nil: no Options.Source
	loads    loads

	servers atomic.Pointer[map[addresses.Addr]*server.Server] // replaced as a whole under mu

	mu     sync.Mutex
	labels *observe.Labels // guarded by mu
	former server.Sum      // what servers counted that were let go; guarded by mu
	others *server.Sum     // those of them that had no label of their own, nil for none; guarded by mu
}

// newCore starts nothing yet: goroutines come with the first connection.
func newCore(name string, o Options, selector ServerSelector) *core {
	c := &core{options: o.withDefaults(), selector: selector, labels: observe.NewLabels(maxLabels)}
	config := c.options.config(name)
	config.All, config.Fell = c.each, c.fell
	c.Env = server.NewEnv(config)
	c.servers.Store(&map[addresses.Addr]*server.Server{})
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
		c.Spawn(c.lists.follow)
		if c.options.HandOver >= 0 {
			c.Spawn(c.lists.followHistory)
		}
	}
	return c
}

// config is the part of the options that is about servers.
func (o Options) config(name string) server.Config {
	return server.Config{
		Name: name, Timeout: o.Timeout, HangTimeout: o.HangTimeout, ProbeTimeout: o.ProbeTimeout,
		ResolveInterval: o.ResolveInterval, Linger: o.Linger, MaxIdleConns: o.MaxIdleConns, MaxInFlight: o.MaxInFlight,
		MaxItemSize: o.MaxItemSize, ConsecutiveFailures: o.ConsecutiveFailures, KeepCanceledSets: o.KeepCanceledSets,
		PlainGet: o.PlainGet, FlushServer: o.Overflow == FlushServer, DialContext: o.DialContext, TLS: o.TLS,
		Credentials: o.Credentials, NoReplay: o.NoReplay, Logger: o.Logger, Trace: o.Trace,
		Windows: o.Gutter.Expiration > 0 || o.Linger > 0, Care: o.careTime(),
	}
}

// each visits all servers that were used so far.
func (c *core) each(yield func(*server.Server) bool) {
	for _, s := range c.all() {
		if !yield(s) {
			return
		}
	}
}

func (c *core) fell() {
	if c.gutter != nil {
		c.gutter.fell()
	}
}

// server returns the server of an address; it is made at its first use.
func (c *core) server(network, address string) *server.Server {
	id := addresses.Addr{NetworkName: network, Text: address}
	if s := (*c.servers.Load())[id]; s != nil {
		return s
	}
	s := c.addServer(id)
	s.ReplaySoon() // if it was let go before it had all deletions
	return s
}

func (c *core) addServer(id addresses.Addr) *server.Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.servers.Load()
	if s := old[id]; s != nil {
		return s
	}
	s := c.NewServer(id, c.labels.Take(id.Text), c.recallLocked(id))
	if c.Ended() {
		s.Close()
		_ = s.Breaker.Close()
	}
	servers := make(map[addresses.Addr]*server.Server, len(old)+1)
	for k, v := range old {
		servers[k] = v
	}
	servers[id] = s
	c.servers.Store(&servers)
	return s
}

func (c *core) all() map[addresses.Addr]*server.Server { return *c.servers.Load() }

// close cuts all calls, and waits for all goroutines.
func (c *core) close() {
	c.End()
	c.mu.Lock()
	servers := c.all()
	c.mu.Unlock()
	c.stopRollCall()
	c.Unanswered.End()
	c.Stop()
	breakers := make([]*breaker.Breaker, 0, len(servers))
	for _, s := range servers {
		s.Close()
		breakers = append(breakers, s.Breaker)
	}
	closeBreakers(breakers)
	c.Wait()
}

const (
	// departedAfter is how long a server may go unnamed by a caller's selector, and unused, before
	// it is let go.
	departedAfter = time.Minute
	// rollCall is how often the selector is asked for its servers.
	rollCall = 15 * time.Second
	// memoryTime is how long the keys of writes that a server missed are remembered after it was
	// let go.
	memoryTime = 24 * time.Hour
	// maxRemembered bounds the servers that are remembered, and maxRememberedKeys their keys.
	maxRemembered     = 256
	maxRememberedKeys = server.MaxMissedKeys
)

// rolls finds out which servers a caller's selector no longer names, as when pods come back with
// new addresses: they would be probed for ever, at addresses that others may have by then.
type rolls struct {
	mu      sync.Mutex
	timer   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
	unnamed map[*server.Server]absence
	memory  []remembered // of servers that were let go, oldest first; guarded by core.mu
}

// absence is since when a server was neither named nor used.
type absence struct {
	since time.Duration
	calls uint64
}

// remembered are the writes that a server missed before it was let go.
type remembered struct {
	id     addresses.Addr
	missed *server.MissedLog
	until  time.Duration
}

func (c *core) scheduleRollCall() {
	c.rolls.mu.Lock()
	defer c.rolls.mu.Unlock()
	if c.rolls.stopped {
		return
	}
	if c.rolls.timer == nil {
		c.rolls.timer = time.AfterFunc(rollCall, c.callRoll)
		return
	}
	c.rolls.timer.Reset(rollCall)
}

func (c *core) stopRollCall() {
	c.rolls.mu.Lock()
	defer c.rolls.mu.Unlock()
	c.rolls.stopped = true
	if c.rolls.timer != nil {
		c.rolls.timer.Stop()
	}
}

// callRoll asks the selector, which is the caller's code, on a goroutine of its own.
func (c *core) callRoll() {
	c.Spawn(func() {
		defer c.scheduleRollCall()
		if named, ok := c.namedServers(); ok {
			c.dismiss(c.departed(named, time.Duration(c.Now())))
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.forgetLocked()
	})
}

// namedServers is false if the selector did not say.
func (c *core) namedServers() (named map[addresses.Addr]bool, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	named = make(map[addresses.Addr]bool)
	err := c.selector.Each(func(addr net.Addr) error {
		named[addresses.Addr{NetworkName: addr.Network(), Text: addr.String()}] = true
		return nil
	})
	return named, err == nil
}

// departed are the servers that were neither named nor used for long enough.
func (c *core) departed(named map[addresses.Addr]bool, now time.Duration) []*server.Server {
	var gone []*server.Server
	unnamed := make(map[*server.Server]absence)
	for id, s := range c.all() {
		calls := s.Metrics.Calls()
		switch a, known := c.rolls.unnamed[s]; {
		case named[id] || s.Ramp.InFlight.Load() > 0:
		case !known || a.calls != calls:
			unnamed[s] = absence{now, calls}
		case now-a.since < departedAfter:
			unnamed[s] = a
		default:
			gone = append(gone, s)
		}
	}
	c.rolls.unnamed = unnamed
	return gone
}

// dismiss lets servers go: their breakers, connections and metrics. What they missed is remembered
// by address.
func (c *core) dismiss(gone []*server.Server) {
	if len(gone) == 0 {
		return
	}
	c.mu.Lock()
	servers := make(map[addresses.Addr]*server.Server)
	for id, s := range *c.servers.Load() {
		servers[id] = s
	}
	for _, s := range gone {
		id := addresses.Addr{NetworkName: s.Network, Text: s.Address}
		delete(servers, id)
		c.labels.Drop(s.Label)
		c.former.Keep(s)
		if s.Label == observe.Other {
			if c.others == nil {
				c.others = &server.Sum{}
			}
			c.others.Keep(s)
		}
		c.rolls.memory = append(c.rolls.memory, remembered{id, s.Missed, time.Duration(c.Now()) + memoryTime})
	}
	c.servers.Store(&servers)
	c.mu.Unlock()
	breakers := make([]*breaker.Breaker, 0, len(gone))
	for _, s := range gone {
		c.Log.Info("memcached server let go: it is no longer named", observe.Endpoint(s.Address))
		s.Close()
		breakers = append(breakers, s.Breaker)
	}
	closeBreakers(breakers)
}

// forgetLocked drops what is too old, or too much, the oldest first. Of a server whose keys are too
// many it stays known that it missed some. One that has missed nothing is remembered for a moment:
// a call that was just under way may have failed since.
func (c *core) forgetLocked() {
	m := c.rolls.memory
	now := time.Duration(c.Now())
	m = slices.DeleteFunc(m, func(r remembered) bool {
		return !r.missed.Pending() && (len(m) > maxRemembered || r.until-memoryTime+rollCall < now)
	})
	for len(m) > 0 && (m[0].until < now || len(m) > maxRemembered) {
		m = m[1:]
	}
	keys := 0
	for i := len(m) - 1; i >= 0; i-- {
		if keys += m[i].missed.Len(); keys > maxRememberedKeys {
			m[i].missed.OverflowAll()
		}
	}
	c.rolls.memory = m
}

// recallLocked returns the log of a server from before it was let go, or an empty one.
func (c *core) recallLocked(id addresses.Addr) *server.MissedLog {
	now := time.Duration(c.Now())
	for i, r := range c.rolls.memory {
		if r.id == id && now < r.until {
			c.rolls.memory = append(c.rolls.memory[:i:i], c.rolls.memory[i+1:]...)
			return r.missed
		}
	}
	return new(server.MissedLog)
}

func closeBreakers(breakers []*breaker.Breaker) {
	var closing sync.WaitGroup
	for _, b := range breakers {
		closing.Go(func() { _ = b.Close() })
	}
	closing.Wait()
}

// maxLabels bounds the servers that have a label of their own.
const maxLabels = 1024
