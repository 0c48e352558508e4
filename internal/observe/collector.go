package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Prefix begins the name of each metric.
const Prefix = "holdfast_"

// Type is a metric's.
type Type string

// The types of metrics.
const (
	TypeCounter   Type = "counter"
	TypeGauge     Type = "gauge"
	TypeHistogram Type = "histogram"
)

// Row declares one metric.
type Row struct {
	Name   string // whole
	Type   Type
	Help   string
	Labels []string // those of the client first
	// Panel is the title of the panel that shows it on the dashboard of its package; metrics with
	// the same title share one. Empty: it is not shown, for the reason in Hidden.
	Panel, Hidden string
	// Low says that of all processes the one with the least matters, as of something that is up.
	// Rare counts what happens now and then, and is shown as a number, not as a rate.
	Low, Rare bool

	desc *prometheus.Desc
}

// Counter is a declared counter.
type Counter struct{ *Row }

// Gauge is a declared gauge.
type Gauge struct{ *Row }

// HistogramOf is a declared histogram.
type HistogramOf struct {
	*Row

	bytes bool // else nanoseconds, to be sent as seconds
}

// Table declares the metrics of one client.
type Table struct {
	prefix string
	client prometheus.Labels
	first  []string
	rows   []*Row
}

// NewTable begins a table: the names of its metrics begin with Prefix and prefix, and all have the
// labels of the client, which are pairs of name and value.
func NewTable(prefix string, client ...string) *Table {
	t := &Table{prefix: Prefix + prefix + "_", client: make(prometheus.Labels)}
	for i := 0; i < len(client); i += 2 {
		t.client[client[i]] = client[i+1]
		t.first = append(t.first, client[i])
	}
	return t
}

// Rows are the declared metrics, in their order.
func (t *Table) Rows() []*Row { return t.rows }

// Describe sends all descriptors.
func (t *Table) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range t.rows {
		ch <- r.desc
	}
}

func (t *Table) row(kind Type, name, help string, labels []string) *Row {
	r := &Row{
		Name: t.prefix + name, Type: kind, Help: help, Labels: append(append([]string{}, t.first...), labels...),
		desc: prometheus.NewDesc(t.prefix+name, help, labels, t.client),
	}
	t.rows = append(t.rows, r)
	return r
}

// Counter declares a counter.
func (t *Table) Counter(name, help string, labels ...string) Counter {
	return Counter{t.row(TypeCounter, name, help, labels)}
}

// Gauge declares a gauge.
func (t *Table) Gauge(name, help string, labels ...string) Gauge {
	return Gauge{t.row(TypeGauge, name, help, labels)}
}

// Seconds declares a histogram of durations.
func (t *Table) Seconds(name, help string, labels ...string) HistogramOf {
	return HistogramOf{t.row(TypeHistogram, name, help, labels), false}
}

// Bytes declares a histogram of sizes.
func (t *Table) Bytes(name, help string, labels ...string) HistogramOf {
	return HistogramOf{t.row(TypeHistogram, name, help, labels), true}
}

// Shown puts a counter on a panel.
func (c Counter) Shown(panel string) Counter { c.Panel = panel; return c }

// Shown puts a gauge on a panel.
func (g Gauge) Shown(panel string) Gauge { g.Panel = panel; return g }

// Shown puts a histogram on a panel.
func (h HistogramOf) Shown(panel string) HistogramOf { h.Panel = panel; return h }

// Lowest says that the least of all processes is shown.
func (g Gauge) Lowest() Gauge { g.Low = true; return g }

// Seldom says that its events are counted, one by one.
func (c Counter) Seldom() Counter { c.Rare = true; return c }

// Hide says why a counter is on no panel.
func (c Counter) Hide(why string) Counter { c.Hidden = why; return c }

// Hide says why a gauge is on no panel.
func (g Gauge) Hide(why string) Gauge { g.Hidden = why; return g }

// Sender sends metrics at a scrape, all with the same first labels.
type Sender struct {
	ch    chan<- prometheus.Metric
	first []string
}

// To is a Sender; first are the values of the first variable labels.
func To(ch chan<- prometheus.Metric, first ...string) Sender { return Sender{ch, first} }

// Count sends a counter.
func (s Sender) Count(c Counter, n uint64, labels ...string) {
	s.send(c.desc, prometheus.CounterValue, float64(n), labels)
}

// Elapsed sends a counter of seconds.
func (s Sender) Elapsed(c Counter, d time.Duration, labels ...string) {
	s.send(c.desc, prometheus.CounterValue, d.Seconds(), labels)
}

// Gauge sends a gauge.
func (s Sender) Gauge(g Gauge, v float64, labels ...string) {
	s.send(g.desc, prometheus.GaugeValue, v, labels)
}

// Flag sends 1 for true, else 0.
func (s Sender) Flag(g Gauge, on bool, labels ...string) { //nolint:revive // it is a value, not a switch.
	s.Gauge(g, map[bool]float64{true: 1}[on], labels...)
}

// Time sends seconds since 1970; 0 for the zero time.
func (s Sender) Time(g Gauge, t time.Time, labels ...string) {
	seconds := 0.0
	if !t.IsZero() {
		seconds = float64(t.UnixMilli()) / 1e3
	}
	s.Gauge(g, seconds, labels...)
}

// Histogram sends a histogram.
func (s Sender) Histogram(d HistogramOf, h *Histogram, labels ...string) {
	counts, cumulative := h.Read(), uint64(0)
	buckets := make(map[float64]uint64, len(h.bounds))
	for i, bound := range h.bounds {
		cumulative += counts.Buckets[i]
		buckets[d.value(bound)] = cumulative
	}
	m, err := prometheus.NewConstHistogram(d.desc, counts.N, d.value(counts.Sum), buckets, s.labels(labels)...)
	s.deliver(d.desc, m, err)
}

// value is a measurement in the unit of the metric. It divides: 50e3 × 1e-9 is not 0.00005.
func (h HistogramOf) value(v int64) float64 {
	if h.bytes {
		return float64(v)
	}
	return float64(v) / 1e9
}

func (s Sender) labels(more []string) []string {
	return append(append(make([]string, 0, len(s.first)+len(more)), s.first...), more...)
}

func (s Sender) send(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels []string) {
	m, err := prometheus.NewConstMetric(d, kind, v, s.labels(labels)...)
	s.deliver(d, m, err)
}

func (s Sender) deliver(d *prometheus.Desc, m prometheus.Metric, err error) {
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	s.ch <- m
}
