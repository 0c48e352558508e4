package memcache

import (
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/fleet"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/lists"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Describe implements prometheus.Collector. Of a nil client it says what is wrong, which is what
// Register then returns.
func (c *Client) Describe(ch chan<- *prometheus.Desc) {
	if c == nil {
		observe.DescribeNil(ch, "memcache.Client", "NewWithOptions")
		return
	}
	if c.shared == nil {
		return
	}
	name := c.shared.clientName()
	metrics.NewMemcached(name).Describe(ch)
	metrics.NewBreaker(name, metrics.KindMemcached).Describe(ch)
}

// Collect implements prometheus.Collector. It reads counters and asks no server.
func (c *Client) Collect(ch chan<- prometheus.Metric) {
	if c == nil {
		observe.CollectNil(ch, "memcache.Client", "NewWithOptions")
		return
	}
	if c.shared == nil {
		return
	}
	m := metrics.NewMemcached(c.shared.clientName())
	if core := c.shared.core.Load(); core != nil {
		core.collect(m, ch)
		return
	}
	c.shared.collectUnused(m, ch)
}

func (s *shared) clientName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nameLocked()
}

// collect sends what one core has counted.
func (c *core) collect(m *metrics.Memcached, ch chan<- prometheus.Metric) {
	c.Collect(m, ch)
	GutterStats(c.gutter.Counts()).collect(m, observe.To(ch))
	c.lists.Collect(m, observe.To(ch))
}

// collectUnused sends the zeroes of a client that was not used yet.
func (s *shared) collectUnused(m *metrics.Memcached, ch chan<- prometheus.Metric) {
	var none server.Sum
	labels := observe.NewLabels(fleet.MaxLabels)
	seen := make(map[string]bool)
	for _, address := range s.configured() {
		if seen[address] {
			continue
		}
		seen[address] = true
		if label := labels.Take(address); label != observe.Other {
			none.Collect(m, observe.To(ch, label))
		}
	}
	none.CollectClient(m, observe.To(ch))
	GutterStats{}.collect(m, observe.To(ch))
	(*lists.Lists)(nil).Collect(m, observe.To(ch))
	server.NewHistograms().Collect(m, observe.To(ch))
}

// configured are the addresses that are known before the first use.
func (s *shared) configured() (addresses []string) {
	if s.selector == nil {
		return s.options.Servers
	}
	defer func() { _ = recover() }() // the selector is the caller's code
	_ = s.selector.Each(func(addr net.Addr) error {
		addresses = append(addresses, addr.String())
		return nil
	})
	return addresses
}
