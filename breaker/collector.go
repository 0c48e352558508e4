package breaker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// metrics are the descriptors of one name, shared by a Set's breakers.
type metrics struct {
	state, calls, slow, transitions, openSeconds, probes, probeDelay, lastTransition, duration *prometheus.Desc
}

func newMetrics(name string) *metrics {
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("breaker_"+metric, help, append([]string{"endpoint"}, labels...), prometheus.Labels{"name": name})
	}
	return &metrics{
		state:          desc("state", "1 for the state the breaker is in, 0 for the others.", "state"),
		calls:          desc("calls_total", "Calls by result; rejected ones were not made.", "result"),
		slow:           desc("slow_calls_total", "Calls that took SlowCallDuration or longer."),
		transitions:    desc("transitions_total", "Changes of state, by the state entered.", "to"),
		openSeconds:    desc("open_seconds_total", "Time spent open, forced open or half-open."),
		probes:         desc("probes_total", "Probes, or trial calls, by result.", "result"),
		probeDelay:     desc("probe_delay_seconds", "Present wait between probes; 0 unless open or half-open."),
		lastTransition: desc("last_transition_timestamp_seconds", "When the state last changed; 0 if it never did."),
		duration:       desc("call_duration_seconds", "Duration of calls, ignored ones excepted."),
	}
}

func (m *metrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.state, m.calls, m.slow, m.transitions, m.openSeconds, m.probes, m.probeDelay, m.lastTransition, m.duration,
	} {
		ch <- d
	}
}

// Describe implements prometheus.Collector. To register a nil breaker fails with an error that says so.
func (b *Breaker) Describe(ch chan<- *prometheus.Desc) {
	if b == nil {
		observe.DescribeNil(ch, "breaker.Breaker", "New")
		return
	}
	b.metrics.describe(ch)
}

// Collect implements prometheus.Collector. It reads counters and costs the calls nothing.
func (b *Breaker) Collect(ch chan<- prometheus.Metric) {
	if b == nil {
		observe.CollectNil(ch, "breaker.Breaker", "New")
		return
	}
	m, s := b.metrics, b.Stats()
	out := sink{ch, b.endpoint}
	for state := range State(states) {
		present := 0.0
		if s.State == state {
			present = 1
		}
		out.gauge(m.state, present, state.String())
		out.counter(m.transitions, float64(s.Transitions[state]), state.String())
	}
	out.counter(m.calls, float64(s.Successes), "success")
	out.counter(m.calls, float64(s.Failures), "failure")
	out.counter(m.calls, float64(s.Ignored), "ignored")
	out.counter(m.calls, float64(s.Rejected), "rejected")
	out.counter(m.slow, float64(s.Slow))
	out.counter(m.openSeconds, s.OpenTime.Seconds())
	out.counter(m.probes, float64(s.Probes.OK), "ok")
	out.counter(m.probes, float64(s.Probes.Failed), "failed")
	out.counter(m.probes, float64(s.Probes.TimedOut), "timeout")
	out.counter(m.probes, float64(s.Probes.Panicked), "panic")
	out.gauge(m.probeDelay, s.ProbeDelay.Seconds())
	out.gauge(m.lastTransition, timestamp(s.LastTransition))
	if b.durations != nil {
		count, sum, buckets := b.durations.read()
		out.send(m.duration)(prometheus.NewConstHistogram(m.duration, count, sum, buckets, b.endpoint))
	}
}

// sink sends one endpoint's metrics.
type sink struct {
	ch       chan<- prometheus.Metric
	endpoint string
}

func (s sink) gauge(d *prometheus.Desc, v float64, label ...string) {
	s.send(d)(prometheus.NewConstMetric(d, prometheus.GaugeValue, v, append([]string{s.endpoint}, label...)...))
}

func (s sink) counter(d *prometheus.Desc, v float64, label ...string) {
	s.send(d)(prometheus.NewConstMetric(d, prometheus.CounterValue, v, append([]string{s.endpoint}, label...)...))
}

func (s sink) send(d *prometheus.Desc) func(prometheus.Metric, error) {
	return func(m prometheus.Metric, err error) {
		if err != nil {
			m = prometheus.NewInvalidMetric(d, err)
		}
		s.ch <- m
	}
}

func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}
