package etcdpeers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// Describe implements prometheus.Collector.
func (w *Watcher) Describe(ch chan<- *prometheus.Desc) {
	if w == nil {
		observe.DescribeNil(ch, "etcdpeers.Watcher", "Watch")
		return
	}
	w.metrics.Describe(ch)
}

// Collect implements prometheus.Collector.
func (w *Watcher) Collect(ch chan<- prometheus.Metric) {
	if w == nil {
		observe.CollectNil(ch, "etcdpeers.Watcher", "Watch")
		return
	}
	m, s, out := w.metrics, w.Stats(), observe.To(ch)
	out.Flag(m.Up, s.Connected)
	if w.options.Self != "" {
		out.Flag(m.Registered, s.Registered)
	}
	out.Gauge(m.Peers, float64(len(s.Peers)))
	out.Gauge(m.Listed, float64(s.Listed))
	out.Gauge(m.Ignored, float64(s.Ignored))
	out.Count(m.Registrations, s.Registrations)
	out.Count(m.Changes, s.Changes)
	for _, cause := range causes() {
		out.Count(m.Relists, s.Relists[cause], cause)
	}
	out.Count(m.Failures, s.Failures)
	out.Time(m.Updated, s.Updated)
}
