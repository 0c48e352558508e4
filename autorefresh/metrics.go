package autorefresh

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// histogram counts durations; guarded by the cache's mu.
type histogram struct {
	sum     int64 // nanoseconds
	buckets [bucketCount + 1]uint64
}

const bucketCount = 16

// bounds are the upper bounds of the buckets, in nanoseconds: 1 ms to 1 h.
//
//nolint:gochecknoglobals // never written; an array cannot be a constant.
var bounds = [bucketCount]int64{
	1e6, 5e6, 10e6, 50e6, 100e6, 250e6, 500e6, 1e9, 2.5e9, 5e9, 10e9, 30e9, 60e9, 300e9, 900e9, 3600e9,
}

func (h *histogram) observe(nanoseconds int64) {
	i := 0
	for i < bucketCount && nanoseconds > bounds[i] {
		i++
	}
	h.buckets[i]++
	h.sum += nanoseconds
}

func (h *histogram) count() (n uint64) {
	for _, b := range h.buckets {
		n += b
	}
	return n
}

func (h *histogram) mean() time.Duration {
	return time.Duration(h.sum / int64(max(h.count(), 1)))
}

// cumulative are the buckets as prometheus has them.
func (h *histogram) cumulative() map[float64]uint64 {
	buckets, n := make(map[float64]uint64, bucketCount), uint64(0)
	for i, bound := range bounds {
		n += h.buckets[i]
		buckets[time.Duration(bound).Seconds()] = n
	}
	return buckets
}

// metrics are the descriptors of one cache.
type metrics struct {
	items, stale, due, refreshes, lateness, age, misses, evictions, loads, calls, stuck, overruns, events *prometheus.Desc
	storeDown, storeKeys, storeErrors, storeUndecodable                                                   *prometheus.Desc
}

func newMetrics(name string) *metrics {
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("autorefresh_"+metric, help, labels, prometheus.Labels{"cache": name})
	}
	return &metrics{
		items:            desc("items", "Items by state; each has one.", "state"),
		stale:            desc("stale_items", "Items older than MaxStale."),
		due:              desc("due_items", "Items that are due and not being refreshed yet."),
		refreshes:        desc("refreshes_total", "Refreshes of items by outcome.", "outcome"),
		lateness:         desc("lateness_seconds", "How long after it was due the refresh of an item began."),
		age:              desc("served_age_seconds", "Age of values when they were replaced or confirmed: the greatest at which they were served."),
		misses:           desc("misses_total", "Reads from memory without a result."),
		evictions:        desc("evictions_total", "Items deleted for want of room."),
		loads:            desc("loads_total", "Keys loaded because they were not in memory, by result.", "result"),
		calls:            desc("source_calls", "Calls of the source under way."),
		stuck:            desc("stuck_calls", "Calls of the source under way that have overrun their timeout."),
		overruns:         desc("overruns_total", "Calls of the source that overran their timeout and went on."),
		events:           desc("events_lost_total", "Events that OnEvent was too slow for."),
		storeDown:        desc("store_down", "1 if a server of the second level is down, 0 if it is up.", "endpoint"),
		storeKeys:        desc("store_keys_total", "Keys looked for in the second level, by result.", "result"),
		storeErrors:      desc("store_errors_total", "Calls of the second level that failed."),
		storeUndecodable: desc("store_undecodable_total", "Values that could not be encoded for the second level, or not decoded."),
	}
}

func (m *metrics) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		m.items, m.stale, m.due, m.refreshes, m.lateness, m.age, m.misses, m.evictions, m.loads, m.calls, m.stuck, m.overruns, m.events,
		m.storeDown, m.storeKeys, m.storeErrors, m.storeUndecodable,
	}
}

// Describe implements prometheus.Collector. To register a nil cache fails with an error that says so.
func (c *Cache[K, V]) Describe(ch chan<- *prometheus.Desc) {
	if c == nil {
		observe.DescribeNil(ch, "autorefresh.Cache", "New")
		return
	}
	for _, d := range c.metrics.all() {
		ch <- d
	}
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
	m, out := c.metrics, sink{ch}
	out.gauge(m.items, float64(n.items-n.terminal-n.cold-n.absent-n.failing), "refreshed")
	out.gauge(m.items, float64(n.failing), "failing")
	out.gauge(m.items, float64(n.terminal), "terminal")
	out.gauge(m.items, float64(n.cold), "resting")
	out.gauge(m.items, float64(n.absent), "absent")
	out.gauge(m.stale, float64(n.stale))
	out.gauge(m.due, float64(due))
	for o := range outcomes {
		out.counter(m.refreshes, counts.refreshes[o], o.String())
	}
	for l := range loadResults {
		out.counter(m.loads, counts.loads[l], l.String())
	}
	out.histogram(m.lateness, &counts.lateness)
	out.histogram(m.age, &counts.ages)
	out.counter(m.misses, c.misses.Load())
	out.counter(m.evictions, counts.evictions)
	out.gauge(m.calls, float64(c.calls.Load()))
	out.gauge(m.stuck, float64(stuck))
	out.counter(m.overruns, counts.stuck)
	out.counter(m.events, c.lost.Load())
	c.collectStore(out)
	if c.breaker != nil {
		c.breaker.Collect(ch)
	}
}

func (c *Cache[K, V]) collectStore(out sink) {
	if c.second == nil {
		return
	}
	m, s := c.metrics, c.second
	for server, err := range s.health.servers() {
		down := 0.0
		if err != nil {
			down = 1
		}
		out.gauge(m.storeDown, down, strings.ToValidUTF8(server, "\uFFFD"))
	}
	out.counter(m.storeKeys, s.hits.Load(), "hit")
	out.counter(m.storeKeys, s.missed.Load(), "miss")
	out.counter(m.storeErrors, s.errors.Load())
	out.counter(m.storeUndecodable, s.undecodable.Load())
}

// sink sends metrics.
type sink struct{ ch chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, label ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, label ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), label...)
}

func (s sink) histogram(d *prometheus.Desc, h *histogram) {
	s.ch <- prometheus.MustNewConstHistogram(d, h.count(), time.Duration(h.sum).Seconds(), h.cumulative())
}
