package groupcache

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/groupcache/internal/answers"
	"github.com/holdfast-go/holdfast/groupcache/internal/report"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Describe implements prometheus.Collector.
func (i *Instance) Describe(ch chan<- *prometheus.Desc) {
	if i == nil {
		observe.DescribeNil(ch, "groupcache.Instance", "New")
		return
	}
	i.metrics.Describe(ch)
	metrics.NewBreaker(i.options.Name, metrics.KindGroupcache).Describe(ch)
}

// Collect implements prometheus.Collector. It reads counters and costs the calls nothing.
func (i *Instance) Collect(ch chan<- prometheus.Metric) {
	if i == nil {
		observe.CollectNil(ch, "groupcache.Instance", "New")
		return
	}
	m, out := i.metrics, observe.To(ch)
	groups := make([]*answers.Group, 0)
	i.mu.RLock() // for all: a group that is taken away meanwhile counts once
	for _, g := range i.groupsLocked() {
		groups = append(groups, &g.parts)
	}
	former, pools := i.former, slices.Clone(i.pools)
	i.mu.RUnlock()
	report.Groups(m, former, groups, ch)
	report.Peers(m, pools, ch)
	out.Count(m.Forgets, uint64(i.forgets.Load()))
	out.Histogram(m.Duration, i.process.Loads)
	out.Histogram(m.Sizes, i.process.Sizes)
}
