package autorefresh

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/follow"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Describe implements prometheus.Collector. To register a nil cache fails with an error that says
// so.
func (c *Cache[K, V]) Describe(ch chan<- *prometheus.Desc) {
	if c == nil {
		observe.DescribeNil(ch, "autorefresh.Cache", "New")
		return
	}
	c.metrics.Describe(ch)
	if b := c.fetch.Source.Breaker(); b != nil {
		b.Describe(ch)
	}
}

// Collect implements prometheus.Collector. It reads counters and costs reads of the cache nothing.
func (c *Cache[K, V]) Collect(ch chan<- prometheus.Metric) {
	if c == nil {
		observe.CollectNil(ch, "autorefresh.Cache", "New")
		return
	}
	now := c.countNow()
	m, out, n := c.metrics, observe.To(ch), now.census
	out.Gauge(m.Items, float64(n.Items-n.Terminal-n.Cold-n.Absent-n.Failing), "refreshed")
	out.Gauge(m.Items, float64(n.Failing), "failing")
	out.Gauge(m.Items, float64(n.Terminal), "terminal")
	out.Gauge(m.Items, float64(n.Cold), "resting")
	out.Gauge(m.Items, float64(n.Absent), "absent")
	out.Gauge(m.Stale, float64(n.Stale))
	out.Gauge(m.Weight, float64(c.storage.Weight()))
	out.Gauge(m.Due, float64(now.due))
	for o := range fetch.Outcomes {
		out.Count(m.Refreshes, now.refreshes[o], o.String())
	}
	for i, name := range loader.Names() {
		out.Count(m.Loads, now.loads[i], name)
	}
	out.Histogram(m.Lateness, c.crew.Lateness)
	out.Histogram(m.Age, c.crew.Served)
	out.Count(m.Misses, c.misses.Load())
	out.Count(m.Evictions, now.left.Evicted)
	out.Count(m.Idle, now.left.Idle)
	out.Gauge(m.SourceCalls, float64(c.fetch.Source.Calls()))
	out.Gauge(m.Stuck, float64(now.stuck))
	out.Count(m.Overruns, now.overruns)
	out.Count(m.EventsLost, c.tell.Lost())
	collectLevel(m, out, c.fetch.Level, c.follower.Counts())
	if b := c.fetch.Source.Breaker(); b != nil {
		b.Collect(ch)
	}
}

func collectLevel[K comparable, V any](m *metrics.Autorefresh, out observe.Sender, l *level.Level[K, V], followed follow.Counts) {
	if l == nil {
		return
	}
	labels, servers, n := observe.NewLabels(0), l.Servers(), l.Counts()
	for _, server := range slices.Sorted(maps.Keys(servers)) {
		out.Flag(m.StoreDown, servers[server] != nil, labels.Take(server))
	}
	out.Count(m.StoreKeys, n.Hits, "hit")
	out.Count(m.StoreKeys, n.Misses, "miss")
	out.Count(m.StoreKeys, n.Ahead, "ahead")
	out.Count(m.StoreErrors, n.Errors)
	out.Count(m.StoreUndecodable, n.Undecodable)
	for v := range changes.Verdicts {
		out.Count(m.Notices, followed.Notices[v], v.String())
	}
	out.Count(m.Gaps, followed.Gaps)
	out.Flag(m.WatchDown, followed.Deaf)
}
