package dnspeers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// Describe implements prometheus.Collector.
func (w *Watcher) Describe(ch chan<- *prometheus.Desc) {
	if w == nil {
		observe.DescribeNil(ch, "dnspeers.Watcher", "Watch")
		return
	}
	w.metrics.Describe(ch)
}

// Collect implements prometheus.Collector.
func (w *Watcher) Collect(ch chan<- prometheus.Metric) {
	if w == nil {
		observe.CollectNil(ch, "dnspeers.Watcher", "Watch")
		return
	}
	m, s, out := w.metrics, w.Stats(), observe.To(ch)
	out.Gauge(m.Peers, float64(len(s.Peers)))
	out.Count(m.Lookups, s.Lookups-s.Failures, "ok")
	out.Count(m.Lookups, s.Failures, "failed")
	out.Time(m.Updated, s.Updated)
}
