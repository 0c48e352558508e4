// Package fleet keeps the servers that a client has used: it makes them when they are needed, and
// lets them go when they are no longer named. Of those it remembers what they counted and missed.
package fleet

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// MaxLabels bounds the servers that have a label of their own.
const MaxLabels = 1024

// Fleet is all servers that a running client has used. It is safe for concurrent use.
type Fleet struct {
	*server.Env

	servers atomic.Pointer[map[addresses.Addr]*server.Server] // replaced as a whole under mu

	mu     sync.Mutex
	labels *observe.Labels // guarded by mu
	former server.Sum      // what servers counted that were let go; guarded by mu
	others *server.Sum     // those of them that had no label of their own, nil for none; guarded by mu
	memory memory          // of servers that were let go; guarded by mu
}

// New returns one without servers. It starts nothing: goroutines come with the first connection.
// Config.All is set to the fleet's own.
func New(config server.Config) *Fleet {
	f := &Fleet{labels: observe.NewLabels(MaxLabels)}
	config.All = f.Each
	f.Env = server.NewEnv(config)
	f.servers.Store(&map[addresses.Addr]*server.Server{})
	return f
}

// Each visits all servers that were used so far.
func (f *Fleet) Each(yield func(*server.Server) bool) {
	for _, s := range f.All() {
		if !yield(s) {
			return
		}
	}
}

// All are the servers that were used so far. The map must not be changed.
func (f *Fleet) All() map[addresses.Addr]*server.Server { return *f.servers.Load() }

// Server returns the server of an address; it is made at its first use.
func (f *Fleet) Server(network, address string) *server.Server {
	id := addresses.Addr{NetworkName: network, Text: address}
	if s := f.All()[id]; s != nil {
		return s
	}
	s := f.add(id)
	s.ReplaySoon() // if it was let go before it had all deletions
	return s
}

// Named returns the server of a name, as a list has it.
func (f *Fleet) Named(name string) *server.Server { return f.Server(addresses.NetworkOf(name), name) }

func (f *Fleet) add(id addresses.Addr) *server.Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.All()
	if s := old[id]; s != nil {
		return s
	}
	s := f.NewServer(id, f.labels.Take(id.Text), f.memory.take(id, time.Duration(f.Now())))
	if f.Ended() {
		s.Close()
		_ = s.Breaker.Close()
	}
	servers := make(map[addresses.Addr]*server.Server, len(old)+1)
	for k, v := range old {
		servers[k] = v
	}
	servers[id] = s
	f.servers.Store(&servers)
	return s
}

// Close cuts all calls, and waits for all goroutines. Those who add work must have ended.
func (f *Fleet) Close() {
	f.End()
	f.mu.Lock()
	servers := f.All()
	f.mu.Unlock()
	f.Unanswered.End()
	f.Stop()
	breakers := make([]*breaker.Breaker, 0, len(servers))
	for _, s := range servers {
		s.Close()
		breakers = append(breakers, s.Breaker)
	}
	closeBreakers(breakers)
	f.Wait()
}

func closeBreakers(breakers []*breaker.Breaker) {
	var closing sync.WaitGroup
	for _, b := range breakers {
		closing.Go(func() { _ = b.Close() })
	}
	closing.Wait()
}

// Dismiss lets servers go: their breakers, connections and metrics. What they missed is remembered
// by address.
func (f *Fleet) Dismiss(gone []*server.Server) {
	f.Remove(gone)
	f.Finish(gone)
}

// Remove is the part of Dismiss that does not wait: others get other servers of these addresses
// from then on. Finish must follow.
func (f *Fleet) Remove(gone []*server.Server) {
	if len(gone) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	servers := make(map[addresses.Addr]*server.Server)
	for id, s := range f.All() {
		servers[id] = s
	}
	for _, s := range gone {
		id := addresses.Addr{NetworkName: s.Network, Text: s.Address}
		delete(servers, id)
		f.labels.Drop(s.Label)
		f.former.Keep(s)
		if s.Label == observe.Other {
			if f.others == nil {
				f.others = &server.Sum{}
			}
			f.others.Keep(s)
		}
		f.memory.add(id, s.Missed, time.Duration(f.Now()))
	}
	f.servers.Store(&servers)
}

// Finish ends servers that were removed.
func (f *Fleet) Finish(gone []*server.Server) {
	breakers := make([]*breaker.Breaker, 0, len(gone))
	for _, s := range gone {
		f.Log.Info("memcached server let go: it is no longer named", observe.Endpoint(s.Address))
		s.Close()
		breakers = append(breakers, s.Breaker)
	}
	closeBreakers(breakers)
}

// Forget drops what has grown too old, or too much, of the servers that were let go.
func (f *Fleet) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.memory.forget(time.Duration(f.Now()))
}

// Collect sends what the servers have counted. Those that share a label, because there are more
// than are kept apart, are added up: a scrape must not see a label twice.
func (f *Fleet) Collect(m *metrics.Memcached, ch chan<- prometheus.Metric) {
	byLabel := make(map[string]*server.Sum)
	f.mu.Lock()
	all, servers := f.former, f.All()
	if f.others != nil {
		others := *f.others
		byLabel[observe.Other] = &others
	}
	f.mu.Unlock()
	for _, s := range servers {
		sum := byLabel[s.Label]
		if sum == nil {
			sum = &server.Sum{}
			byLabel[s.Label] = sum
		}
		sum.Add(s)
		all.Add(s)
		if s.Label != observe.Other {
			s.Breaker.Collect(ch)
		}
	}
	for label, sum := range byLabel {
		sum.Collect(m, observe.To(ch, label))
	}
	all.CollectClient(m, observe.To(ch))
	f.Histograms.Collect(m, observe.To(ch))
}
