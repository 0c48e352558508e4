package dnspeers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// descriptors are the metrics of one watcher.
type descriptors struct{ peers, lookups, updated *prometheus.Desc }

func (w *Watcher) descriptors() descriptors {
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("groupcache_dns_"+metric, help, labels, prometheus.Labels{"host": w.name})
	}
	return descriptors{
		peers:   desc("peers", "Peers that the last usable answer named."),
		lookups: desc("lookups_total", "Questions, by result; an empty answer is a failure.", "result"),
		updated: desc("last_update_timestamp_seconds", "When the peers were last confirmed; 0 if never."),
	}
}

// Describe implements prometheus.Collector.
func (w *Watcher) Describe(ch chan<- *prometheus.Desc) {
	if w == nil {
		observe.DescribeNil(ch, "dnspeers.Watcher", "Watch")
		return
	}
	d := w.descriptors()
	ch <- d.peers
	ch <- d.lookups
	ch <- d.updated
}

// Collect implements prometheus.Collector.
func (w *Watcher) Collect(ch chan<- prometheus.Metric) {
	if w == nil {
		observe.CollectNil(ch, "dnspeers.Watcher", "Watch")
		return
	}
	d, s := w.descriptors(), w.Stats()
	updated := 0.0
	if !s.Updated.IsZero() {
		updated = float64(s.Updated.UnixNano()) / 1e9
	}
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		m, err := prometheus.NewConstMetric(d, kind, v, labels...)
		if err != nil { // the name is no UTF-8
			m = prometheus.NewInvalidMetric(d, err)
		}
		ch <- m
	}
	send(d.peers, prometheus.GaugeValue, float64(len(s.Peers)))
	send(d.lookups, prometheus.CounterValue, float64(s.Lookups-s.Failures), "ok")
	send(d.lookups, prometheus.CounterValue, float64(s.Failures), "failed")
	send(d.updated, prometheus.GaugeValue, updated)
}
