package autorefresh

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Describe implements prometheus.Collector. To register a nil cache fails with an error that says so.
func (c *Cache[K, V]) Describe(ch chan<- *prometheus.Desc) {
	if c == nil {
		observe.DescribeNil(ch, "autorefresh.Cache", "New")
		return
	}
	c.metrics.Describe(ch)
	if c.breaker != nil {
		c.breaker.Describe(ch)
	}
}

// Collect implements prometheus.Collector. It reads counters and costs reads of the cache nothing.
func (c *Cache[K, V]) Collect(ch chan<- prometheus.Metric) {
	if c == nil {
		observe.CollectNil(ch, "autorefresh.Cache", "New")
		return
	}
	c.mu.Lock()
	n, counts, due, stuck := c.census, c.counts, c.ready.n+c.urgent.n, c.stuck+c.loads.stuck
	c.mu.Unlock()
	m, out := c.metrics, observe.To(ch)
	out.Gauge(m.Items, float64(n.items-n.terminal-n.cold-n.absent-n.failing), "refreshed")
	out.Gauge(m.Items, float64(n.failing), "failing")
	out.Gauge(m.Items, float64(n.terminal), "terminal")
	out.Gauge(m.Items, float64(n.cold), "resting")
	out.Gauge(m.Items, float64(n.absent), "absent")
	out.Gauge(m.Stale, float64(n.stale))
	out.Gauge(m.Due, float64(due))
	for o := range outcomes {
		out.Count(m.Refreshes, counts.refreshes[o], o.String())
	}
	for l := range loadResults {
		out.Count(m.Loads, counts.loads[l], l.String())
	}
	out.Histogram(m.Lateness, c.lateness)
	out.Histogram(m.Age, c.served)
	out.Count(m.Misses, c.misses.Load())
	out.Count(m.Evictions, counts.evictions)
	out.Gauge(m.SourceCalls, float64(c.calls.Load()))
	out.Gauge(m.Stuck, float64(stuck))
	out.Count(m.Overruns, counts.stuck)
	out.Count(m.EventsLost, c.events.Lost())
	c.collectStore(m, out)
	if c.breaker != nil {
		c.breaker.Collect(ch)
	}
}

func (c *Cache[K, V]) collectStore(m *metrics.Autorefresh, out observe.Sender) {
	if c.second == nil {
		return
	}
	s, labels := c.second, observe.NewLabels(0)
	servers := s.health.servers()
	for _, server := range slices.Sorted(maps.Keys(servers)) {
		out.Flag(m.StoreDown, servers[server] != nil, labels.Take(server))
	}
	out.Count(m.StoreKeys, s.hits.Load(), "hit")
	out.Count(m.StoreKeys, s.missed.Load(), "miss")
	out.Count(m.StoreKeys, s.ahead.Load(), "ahead")
	out.Count(m.StoreErrors, s.errors.Load())
	out.Count(m.StoreUndecodable, s.undecodable.Load())
}
