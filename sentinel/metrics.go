package sentinel

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// clientMetrics are what belongs to no primary.
type clientMetrics struct {
	dials                       atomic.Uint64
	sentinelsKnown, sentinelsUp atomic.Int64
}

// primaryMetrics are counters that commands write to without a lock.
type primaryMetrics struct {
	refused, fenced            atomic.Uint64 // before anything was sent
	notSent, unknown           atomic.Uint64 // by a failure
	replied                    *observe.Histogram
	errorReplies               atomic.Uint64
	pushes, stale, mismatches  atomic.Uint64
	fencesWasted, reverts      atomic.Uint64
	lost, reconnected, stalled atomic.Uint64
	alarms                     atomic.Uint64
	moved                      [follow.Triggers]atomic.Uint64

	mu            sync.Mutex
	unavailable   time.Duration // that writes could not pass; guarded by mu
	lastDuration  time.Duration // of the last such time; guarded by mu
	lastInstalled time.Time     // guarded by mu
}

func (m *primaryMetrics) answered(nanoseconds int64, err error) {
	m.replied.Observe(nanoseconds)
	if err != nil {
		m.errorReplies.Add(1)
	}
}

func (m *primaryMetrics) failed(f *wire.Failure) {
	if f.Sent {
		m.unknown.Add(1)
		return
	}
	m.notSent.Add(1)
}

// installed counts a primary that was found, and the time without.
func (m *primaryMetrics) installed(why follow.Trigger, since, now time.Time) {
	m.moved[why].Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastInstalled, m.lastDuration = now, 0
	if !since.IsZero() {
		m.lastDuration = now.Sub(since)
		m.unavailable += m.lastDuration
	}
}

// Describe implements prometheus.Collector. That of a nil Client makes a registry refuse it and say why.
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
	for _, p := range c.primaries {
		p.breaker.Collect(ch)
		p.collect(m, observe.To(ch, p.label))
		events += p.metrics.pushes.Load()
	}
	out.Count(m.Events, events)
	out.Count(m.Dials, c.metrics.dials.Load())
	out.Gauge(m.SentinelsKnown, float64(c.metrics.sentinelsKnown.Load()))
	out.Gauge(m.SentinelsUp, float64(c.metrics.sentinelsUp.Load()))
}

func (p *primary) collect(m *metrics.Redis, out observe.Sender) {
	s, t := p.stats(), p.topology.Load()
	out.Flag(m.Up, s.Up)
	if t.Last != "" {
		out.Gauge(m.Info, 1, observe.Label(t.Last))
	}
	out.Time(m.Since, s.LastFound)
	out.Count(m.Commands, s.Replied, "ok")
	out.Count(m.Commands, s.Refused, "refused")
	out.Count(m.Commands, s.Fenced, "fenced")
	out.Count(m.Commands, s.NotSent, "not_sent")
	out.Count(m.Commands, s.Unknown, "unknown")
	out.Histogram(m.Duration, p.metrics.replied)
	for why := range follow.Triggers {
		out.Count(m.Failovers, p.metrics.moved[why].Load(), why.String())
	}
	out.Gauge(m.LastGap, s.LastGap.Seconds())
	out.Elapsed(m.Unavailable, s.Unavailable)
	out.Count(m.Lost, s.Lost)
	out.Count(m.Reconnected, s.Reconnected)
	out.Count(m.ErrorReplies, s.ErrorReplies)
	out.Count(m.Alarms, s.AlarmReplies)
	out.Count(m.Doubts, s.StaleReports, "stale")
	out.Count(m.Doubts, s.RoleMismatches, "role")
	out.Flag(m.Fenced, t.Fenced)
	out.Flag(m.Provisional, t.Provisional)
	out.Count(m.Wasted, s.FencesWasted)
	out.Count(m.Reverts, s.Reverts)
	out.Gauge(m.InFlight, float64(s.InFlight))
	out.Gauge(m.Private, float64(s.PrivateConns))
	out.Gauge(m.Followed, float64(s.Followed))
}
