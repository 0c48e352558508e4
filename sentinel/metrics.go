package sentinel

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/director"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// Describe implements prometheus.Collector. That of a nil Client makes a registry refuse it and say
// why.
func (c *Client) Describe(ch chan<- *prometheus.Desc) {
	if c == nil {
		observe.DescribeNil(ch, "sentinel.Client", "New or NewClient")
		return
	}
	c.table.Describe(ch)
	metrics.NewBreaker(c.name, metrics.KindRedis).Describe(ch)
}

// Collect implements prometheus.Collector.
func (c *Client) Collect(ch chan<- prometheus.Metric) {
	if c == nil {
		observe.CollectNil(ch, "sentinel.Client", "New or NewClient")
		return
	}
	m, out, events := c.table, observe.To(ch), uint64(0)
	for _, p := range c.director.Primaries() {
		p.Breaker.Collect(ch)
		collect(p, m, observe.To(ch, p.Label))
		events += p.Stats().Pushes
	}
	out.Count(m.Events, events)
	known, up := c.director.SentinelsUp()
	out.Count(m.Dials, c.dials.Load())
	out.Gauge(m.SentinelsKnown, float64(known))
	out.Gauge(m.SentinelsUp, float64(up))
}

func collect(p *director.Primary, m *metrics.Redis, out observe.Sender) {
	s, v := statsOf(p), p.Snapshot().View
	out.Flag(m.Up, s.Up)
	if s.Addr != "" {
		out.Gauge(m.Info, 1, observe.Label(s.Addr))
	}
	out.Time(m.Since, s.LastFound)
	out.Count(m.Commands, s.Replied, "ok")
	out.Count(m.Commands, s.Refused, "refused")
	out.Count(m.Commands, s.Fenced, "fenced")
	out.Count(m.Commands, s.NotSent, "not_sent")
	out.Count(m.Commands, s.Unknown, "unknown")
	out.Histogram(m.Duration, p.Metrics.Replied)
	for why := range follow.Triggers {
		out.Count(m.Failovers, s.Found[why.String()], why.String())
	}
	out.Gauge(m.LastGap, s.LastGap.Seconds())
	out.Elapsed(m.Unavailable, s.Unavailable)
	out.Count(m.Lost, s.Lost)
	out.Count(m.Reconnected, s.Reconnected)
	out.Count(m.ErrorReplies, s.ErrorReplies)
	out.Count(m.Alarms, s.AlarmReplies)
	out.Count(m.Doubts, s.StaleReports, "stale")
	out.Count(m.Doubts, s.RoleMismatches, "role")
	out.Flag(m.Fenced, v.Phase == follow.Fenced)
	out.Flag(m.Provisional, v.Phase == follow.Provisional)
	out.Count(m.Wasted, s.FencesWasted)
	out.Count(m.Reverts, s.Reverts)
	out.Gauge(m.InFlight, float64(s.InFlight))
	out.Gauge(m.Private, float64(s.PrivateConns))
	out.Gauge(m.Followed, float64(s.Followed))
}
