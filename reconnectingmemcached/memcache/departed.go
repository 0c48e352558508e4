package memcache

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
)

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
	maxRememberedKeys = maxMissedKeys
)

// rolls finds out which servers a caller's selector no longer names, as when pods come back with
// new addresses: they would be probed for ever, at addresses that others may have by then.
type rolls struct {
	mu      sync.Mutex
	timer   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
	unnamed map[*server]absence
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
	missed *missedLog
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
	c.spawn(func() {
		defer c.scheduleRollCall()
		if named, ok := c.namedServers(); ok {
			c.dismiss(c.departed(named, time.Duration(c.now())))
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
func (c *core) departed(named map[addresses.Addr]bool, now time.Duration) []*server {
	var gone []*server
	unnamed := make(map[*server]absence)
	for id, s := range c.all() {
		calls := s.metrics.calls()
		switch a, known := c.rolls.unnamed[s]; {
		case named[id] || s.ramp.InFlight.Load() > 0:
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
func (c *core) dismiss(gone []*server) {
	if len(gone) == 0 {
		return
	}
	c.mu.Lock()
	servers := make(map[addresses.Addr]*server)
	for id, s := range *c.servers.Load() {
		servers[id] = s
	}
	for _, s := range gone {
		id := addresses.Addr{NetworkName: s.network, Text: s.address}
		delete(servers, id)
		c.labels.Drop(s.label)
		c.former.keep(s)
		if s.label == observe.Other {
			if c.others == nil {
				c.others = &serverSum{}
			}
			c.others.keep(s)
		}
		c.rolls.memory = append(c.rolls.memory, remembered{id, s.missed, time.Duration(c.now()) + memoryTime})
	}
	c.servers.Store(&servers)
	c.mu.Unlock()
	breakers := make([]*breaker.Breaker, 0, len(gone))
	for _, s := range gone {
		c.log.Info("memcached server let go: it is no longer named", observe.Endpoint(s.address))
		s.close()
		breakers = append(breakers, s.breaker)
	}
	closeBreakers(breakers)
}

// forgetLocked drops what is too old, or too much, the oldest first. Of a server whose keys are too
// many it stays known that it missed some. One that has missed nothing is remembered for a moment:
// a call that was just under way may have failed since.
func (c *core) forgetLocked() {
	m := c.rolls.memory
	now := time.Duration(c.now())
	m = slices.DeleteFunc(m, func(r remembered) bool {
		return !r.missed.pending() && (len(m) > maxRemembered || r.until-memoryTime+rollCall < now)
	})
	for len(m) > 0 && (m[0].until < now || len(m) > maxRemembered) {
		m = m[1:]
	}
	keys := 0
	for i := len(m) - 1; i >= 0; i-- {
		if keys += m[i].missed.size(); keys > maxRememberedKeys {
			m[i].missed.overflowAll()
		}
	}
	c.rolls.memory = m
}

// recallLocked returns what a server missed before it was let go, or an empty log.
func (c *core) recallLocked(id addresses.Addr) *missedLog {
	now := time.Duration(c.now())
	for i, r := range c.rolls.memory {
		if r.id == id && now < r.until {
			c.rolls.memory = append(c.rolls.memory[:i:i], c.rolls.memory[i+1:]...)
			return r.missed
		}
	}
	return new(missedLog)
}

func closeBreakers(breakers []*breaker.Breaker) {
	var closing sync.WaitGroup
	for _, b := range breakers {
		closing.Go(func() { _ = b.Close() })
	}
	closing.Wait()
}
