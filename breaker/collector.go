package breaker

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/observe"
)

func cleanName(name string) (string, error) {
	if name == "" {
		return "", errors.New(`breaker: name is "": set one, it tells this breaker's metrics from others'`)
	}
	return observe.Label(name), nil
}

// Describe implements prometheus.Collector. To register a nil breaker fails with an error that says
// so.
func (b *Breaker) Describe(ch chan<- *prometheus.Desc) {
	if b == nil {
		observe.DescribeNil(ch, "breaker.Breaker", "New")
		return
	}
	b.metrics.Describe(ch)
}

// Collect implements prometheus.Collector. It reads counters and costs the calls nothing.
func (b *Breaker) Collect(ch chan<- prometheus.Metric) {
	if b == nil {
		observe.CollectNil(ch, "breaker.Breaker", "New")
		return
	}
	m, s, out := b.metrics, b.Stats(), observe.To(ch, b.endpoint)
	out.Gauge(m.State, float64(s.State))
	out.Time(m.Since, s.LastTransition)
	if s.LastCause != nil {
		out.Gauge(m.LastCause, 1, observe.CauseLabel(s.LastCause))
	}
	out.Count(m.Calls, s.Successes, "ok")
	out.Count(m.Calls, s.Failures, "failed")
	out.Count(m.Calls, s.Ignored, "ignored")
	out.Count(m.Calls, s.Rejected, "refused")
	if b.options.SlowCallDuration > 0 {
		out.Count(m.Slow, s.Slow)
	}
	out.Count(m.Opened, s.Transitions[Open])
	out.Elapsed(m.NotClosed, s.OpenTime)
	out.Count(m.Probe, s.Probes.OK, "ok")
	out.Count(m.Probe, s.Probes.Failed+s.Probes.TimedOut+s.Probes.Panicked, "failed")
	if b.durations != nil {
		out.Histogram(m.Duration, b.durations)
	}
}
