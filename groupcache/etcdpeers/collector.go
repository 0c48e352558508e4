package etcdpeers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// descriptors are the metrics of one watcher.
type descriptors struct {
	peers, listed, ignored, up, registered, registrations, changes, failures, relists, updated *prometheus.Desc
}

func (w *Watcher) descriptors() descriptors {
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("groupcache_etcd_"+metric, help, labels, prometheus.Labels{"service": w.service})
	}
	return descriptors{
		peers:         desc("peers", "Peers that were set last."),
		listed:        desc("listed_peers", "Peers on etcd's list; fewer than were set while some are kept that it lacks."),
		ignored:       desc("ignored_entries", "Entries of etcd's list that name no usable address."),
		up:            desc("up", "1 if etcd answers and its list is followed, 0 if not."),
		registered:    desc("registered", "1 if this process is on the list, 0 if not; a watcher without an address of its own is never."),
		registrations: desc("registrations_total", "How often this process has put itself on the list."),
		changes:       desc("changes_total", "New lists of peers."),
		failures:      desc("failures_total", "Tries to connect, to follow the list or to register that failed."),
		relists:       desc("relists_total", "How often the list was asked for again, by cause.", "cause"),
		updated:       desc("last_update_timestamp_seconds", "When etcd last confirmed its list; 0 if never."),
	}
}

// Describe implements prometheus.Collector.
func (w *Watcher) Describe(ch chan<- *prometheus.Desc) {
	if w == nil {
		observe.DescribeNil(ch, "etcdpeers.Watcher", "Watch")
		return
	}
	d := w.descriptors()
	for _, desc := range []*prometheus.Desc{
		d.peers, d.listed, d.ignored, d.up, d.registered, d.registrations, d.changes, d.failures, d.relists, d.updated,
	} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (w *Watcher) Collect(ch chan<- prometheus.Metric) {
	if w == nil {
		observe.CollectNil(ch, "etcdpeers.Watcher", "Watch")
		return
	}
	d, s := w.descriptors(), w.Stats()
	updated, state := 0.0, map[bool]float64{true: 1}
	if !s.Updated.IsZero() {
		updated = float64(s.Updated.UnixNano()) / 1e9
	}
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		m, err := prometheus.NewConstMetric(d, kind, v, labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(d, err)
		}
		ch <- m
	}
	send(d.peers, prometheus.GaugeValue, float64(len(s.Peers)))
	send(d.listed, prometheus.GaugeValue, float64(s.Listed))
	send(d.ignored, prometheus.GaugeValue, float64(s.Ignored))
	send(d.up, prometheus.GaugeValue, state[s.Connected])
	send(d.registered, prometheus.GaugeValue, state[s.Registered])
	send(d.registrations, prometheus.CounterValue, float64(s.Registrations))
	send(d.changes, prometheus.CounterValue, float64(s.Changes))
	send(d.failures, prometheus.CounterValue, float64(s.Failures))
	for _, cause := range causes() {
		send(d.relists, prometheus.CounterValue, float64(s.Relists[cause]), cause)
	}
	send(d.updated, prometheus.GaugeValue, updated)
}
