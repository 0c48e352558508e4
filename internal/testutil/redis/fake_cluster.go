package redis

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// nobody is whom a server follows, to a sentinel, that says it follows nobody.
const nobody = "?:0"

// defaultLag is how long a write needs to get from a fake primary to its replicas.
const defaultLag = time.Millisecond

// FakeClusterOptions describe a fake cluster. The zero value is one primary with two
// replicas and three sentinels.
type FakeClusterOptions struct {
	// Name is the primary's name. Default: "mymaster".
	Name string
	// Replicas is how many it has; negative: none. Default: 2.
	Replicas int
	// Sentinels is how many watch it. Default: 3.
	Sentinels int
	// Lag is how long a write needs to the replicas. Default: 1 ms.
	Lag time.Duration
	// Server and Sentinel are the options of each of them; their Addr is ignored.
	Server   FakeServerOptions
	Sentinel FakeSentinelOptions
}

func (o FakeClusterOptions) withDefaults() FakeClusterOptions {
	if o.Name == "" {
		o.Name = "mymaster"
	}
	if o.Replicas == 0 {
		o.Replicas = 2
	}
	if o.Sentinels == 0 {
		o.Sentinels = 3
	}
	if o.Lag == 0 {
		o.Lag = defaultLag
	}
	o.Server.Addr, o.Sentinel.Addr = "", ""
	return o
}

// FakeCluster is a primary, its replicas and its sentinels, all fakes. Nothing happens in it by
// itself besides replication: its methods are the steps of a failover. It has no useful zero value;
// FakeNet.Cluster makes one. It is safe for concurrent use.
type FakeCluster struct {
	// Net is the network, nil if the fakes listen on TCP; Name the primary's name.
	Net  *FakeNet
	Name string
	// Servers are all servers, the first primary first; Sentinels are all sentinels. Neither
	// changes.
	Servers   []*FakeServer
	Sentinels []*FakeSentinel

	lag time.Duration

	mu        sync.Mutex
	primary   *FakeServer // guarded by mu; the server promoted last
	announced *FakeServer // guarded by mu; the one that belongs to epoch
	epoch     int         // guarded by mu
}

// StartFakeCluster makes a network with one cluster for one test, with the first of o if there is
// one, and closes it when the test ends.
func StartFakeCluster(tb testutil.TB, o ...FakeClusterOptions) *FakeCluster {
	tb.Helper()
	return StartFakeNet(tb).Cluster(first(o))
}

// Cluster adds a cluster to the network.
func (f *FakeNet) Cluster(o FakeClusterOptions) *FakeCluster {
	c := &FakeCluster{Net: f}
	if err := c.build(o, f.server, f.sentinel); err != nil {
		panic(err) // in memory there is nothing that could fail
	}
	return c
}

// build makes the servers and the sentinels. Those made before an error are in c.
func (c *FakeCluster) build(o FakeClusterOptions, server func(FakeServerOptions) (*FakeServer, error), sentinel func(FakeSentinelOptions) (*FakeSentinel, error)) error {
	o = o.withDefaults()
	c.Name, c.lag = o.Name, o.Lag
	for range 1 + max(0, o.Replicas) {
		s, err := server(o.Server)
		if err != nil {
			return err
		}
		c.Servers = append(c.Servers, s)
	}
	for range o.Sentinels {
		s, err := sentinel(o.Sentinel)
		if err != nil {
			return err
		}
		c.Sentinels = append(c.Sentinels, s)
	}
	c.wire()
	return nil
}

// wire makes the first server the primary of the others and tells the sentinels.
func (c *FakeCluster) wire() {
	c.primary, c.announced = c.Servers[0], c.Servers[0]
	for _, s := range c.Servers[1:] {
		s.Follow(c.primary, c.lag)
	}
	for _, s := range c.Sentinels {
		s.Watch(c.Name, c.view(s, c.primary, 0))
	}
}

// view returns a sentinel's knowledge when all servers besides the primary are healthy replicas of
// it.
func (c *FakeCluster) view(of *FakeSentinel, primary *FakeServer, epoch int) Watched {
	w := Watched{Primary: primary.Addr(), Epoch: epoch}
	for _, s := range c.Servers {
		if s != primary {
			r := WatchedReplica{Addr: s.Addr()}
			if s.Role().Primary { // it follows nobody
				r.Link, r.Role, r.Of = "err", "master", nobody
			}
			w.Replicas = append(w.Replicas, r)
		}
	}
	for _, s := range c.Sentinels {
		if s != of {
			w.Sentinels = append(w.Sentinels, WatchedSentinel{Addr: s.Addr()})
		}
	}
	return w
}

// change changes its record of a server, if that is a replica.
func (w *Watched) change(s *FakeServer, do func(*WatchedReplica)) {
	for i := range w.Replicas {
		if w.Replicas[i].Addr == s.Addr() {
			do(&w.Replicas[i])
		}
	}
}

// SentinelAddrs returns the address of each sentinel.
func (c *FakeCluster) SentinelAddrs() []string {
	addrs := make([]string, 0, len(c.Sentinels))
	for _, s := range c.Sentinels {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// Primary returns the server that has been promoted last.
func (c *FakeCluster) Primary() *FakeServer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.primary
}

// Replicas returns all servers but the Primary.
func (c *FakeCluster) Replicas() []*FakeServer {
	primary := c.Primary()
	return slices.DeleteFunc(slices.Clone(c.Servers), func(s *FakeServer) bool { return s == primary })
}

// all returns the sentinels named, or all if none are.
func (c *FakeCluster) all(some []*FakeSentinel) []*FakeSentinel {
	if len(some) == 0 {
		return c.Sentinels
	}
	return some
}

// publish sends an event about a replica to the subscribers of some sentinels. It names the primary
// that each knows.
func (c *FakeCluster) publish(channel string, replica *FakeServer, some []*FakeSentinel) {
	for _, s := range c.all(some) {
		if w, ok := s.Watched(c.Name); ok {
			s.Publish(channel, EventInstance(c.Name, w.Primary, replica.Addr()))
		}
	}
}

// Select is the first step: the sentinels named, or all, have a failover under way, and publish
// +selected-slave. (In reality the leader alone does.)
func (c *FakeCluster) Select(replica *FakeServer, some ...*FakeSentinel) {
	for _, s := range c.all(some) {
		s.Update(c.Name, func(w *Watched) {
			if strings.Contains(w.Flags, "o_down") {
				w.Flags += flagLeads
			} else { // nobody would fail over from a primary that is up, but for a command
				w.Flags = flagsUp + flagLeads + flagForced
			}
			w.change(replica, func(r *WatchedReplica) { r.Flags = "slave" + flagPromoted })
		})
	}
	c.publish("+selected-slave", replica, some)
}

// Promote is the second step: the replica becomes a primary and drops its clients, as on the
// command of a sentinel. Its predecessor remains one as well.
func (c *FakeCluster) Promote(replica *FakeServer) {
	c.mu.Lock()
	c.primary = replica
	c.mu.Unlock()
	_ = replica.DropClients() // a killed one has none; first, for in reality nobody can get in between
	replica.Lead()
}

// Confirm is the third step: the sentinels named, or all, publish +promoted-slave for the Primary.
// (In reality the leader alone does, when it has seen the promotion.) Those that have a failover
// under way give the old address its epoch from then on.
func (c *FakeCluster) Confirm(some ...*FakeSentinel) {
	primary, epoch := c.decided()
	for _, s := range c.all(some) {
		s.Update(c.Name, func(w *Watched) {
			if strings.Contains(w.Flags, "failover_in_progress") {
				w.Epoch = epoch
			}
			w.change(primary, func(r *WatchedReplica) { r.Role = "master" })
		})
	}
	c.publish("+promoted-slave", primary, some)
}

// decided returns the Primary and its epoch, which is a new one if nobody has confirmed or
// announced it yet.
func (c *FakeCluster) decided() (*FakeServer, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.announced != c.primary {
		c.announced = c.primary
		c.epoch++
	}
	return c.primary, c.epoch
}

// Announce is the last step: the sentinels named, or all, publish +switch-master if the Primary is
// not who they know already, and answer with it, and a higher epoch, from then on; and a +slave for
// each other server.
func (c *FakeCluster) Announce(some ...*FakeSentinel) {
	primary, epoch := c.decided()
	for _, s := range c.all(some) {
		before, ok := s.Watched(c.Name)
		if !ok || before.Primary == primary.Addr() {
			continue
		}
		s.Watch(c.Name, c.view(s, primary, epoch))
		s.Publish("+switch-master", EventSwitch(c.Name, before.Primary, primary.Addr()))
		for _, other := range c.Servers {
			if other != primary {
				s.Publish("+slave", EventInstance(c.Name, primary.Addr(), other.Addr()))
			}
		}
	}
}

// monitorAnew has all sentinels forget everything but the primary, whose epochs begin anew.
func (c *FakeCluster) monitorAnew() {
	c.mu.Lock()
	primary := c.primary
	c.announced, c.epoch = primary, 0
	c.mu.Unlock()
	for _, s := range c.Sentinels {
		s.Forget(c.Name)
		s.Watch(c.Name, c.view(s, primary, 0))
	}
}

// Abort publishes a leader's message that it gives up a failover after Select: reason is such as
// "-failover-abort-slave-timeout".
func (c *FakeCluster) Abort(reason string, some ...*FakeSentinel) {
	for _, s := range c.all(some) {
		if w, ok := s.Watched(c.Name); ok {
			s.Update(c.Name, func(w *Watched) {
				w.Flags = flagsUp
				for i := range w.Replicas {
					w.Replicas[i].Flags = strings.TrimSuffix(w.Replicas[i].Flags, flagPromoted)
				}
			})
			host, port := splitAddr(w.Primary)
			s.Publish(reason, fmt.Sprintf("master %s %s %d", c.Name, host, port))
		}
	}
}

// Demote makes a server a replica of the Primary and drops its clients, as on the command of a
// sentinel.
func (c *FakeCluster) Demote(old *FakeServer) {
	old.Follow(c.Primary(), c.lag)
	_ = old.DropClients() // a killed one has none
	for _, s := range c.Sentinels {
		s.Update(c.Name, func(w *Watched) {
			w.change(old, func(r *WatchedReplica) { r.Link, r.Role, r.Of = "", "", "" })
		})
	}
}

// Failover goes through all steps at once: the replica is the new primary, everybody knows and
// follows it.
func (c *FakeCluster) Failover(replica *FakeServer) {
	c.Select(replica)
	c.Promote(replica)
	c.Confirm()
	c.Announce()
	for _, s := range c.Servers {
		if s != replica && s.Running() {
			c.Demote(s)
		}
	}
}
