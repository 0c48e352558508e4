package sentinel

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// clientMetrics are what belongs to no primary.
type clientMetrics struct {
	dials                       atomic.Uint64
	sentinelsKnown, sentinelsUp atomic.Int64
}

// primaryMetrics are counters that commands write to without a lock.
type primaryMetrics struct {
	refused, fenced           atomic.Uint64 // before anything was sent
	notSent, unknown          atomic.Uint64 // by a failure
	replied                   durations
	errorReplies              atomic.Uint64
	pushes, stale, mismatches atomic.Uint64
	fencesWasted, reverts     atomic.Uint64
	lost, reconnected         atomic.Uint64
	alarms                    atomic.Uint64
	moved                     [triggers]atomic.Uint64

	mu            sync.Mutex
	unavailable   time.Duration // that writes could not pass; guarded by mu
	lastDuration  time.Duration // of the last such time; guarded by mu
	lastInstalled time.Time     // guarded by mu
}

func (m *primaryMetrics) answered(nanoseconds int64, err error) {
	m.replied.observe(nanoseconds)
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
func (m *primaryMetrics) installed(why trigger, since, now time.Time) {
	m.moved[why].Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastInstalled, m.lastDuration = now, 0
	if !since.IsZero() {
		m.lastDuration = now.Sub(since)
		m.unavailable += m.lastDuration
	}
}

func (m *primaryMetrics) lastFound() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lastInstalled
}

// durations is a histogram whose buckets are powers of two of microseconds, in stripes: one that all processors share costs more than
// the rest of a call's bookkeeping.
type durations struct {
	stripes [stripes]struct {
		sum     atomic.Int64 // nanoseconds
		buckets [bucketCount + 1]atomic.Uint64
		_       [64]byte
	}
}

const (
	stripes = 8
	// bucketCount buckets end at 32 µs, 64 µs, … 4.2 s.
	bucketCount = 18
	firstBucket = 15 // 2^15 ns = 32.8 µs
)

func (d *durations) observe(nanoseconds int64) {
	nanoseconds = max(nanoseconds, 1)
	// The low bits of a duration differ from call to call, and so spread them.
	s := &d.stripes[nanoseconds%stripes]
	i := min(max(bits.Len64(uint64(nanoseconds-1))-firstBucket, 0), bucketCount)
	s.buckets[i].Add(1)
	s.sum.Add(nanoseconds)
}

func (d *durations) read() (count uint64, seconds float64, buckets map[float64]uint64) {
	var total [bucketCount + 1]uint64
	var ns int64
	for i := range d.stripes {
		s := &d.stripes[i]
		for b := range total {
			total[b] += s.buckets[b].Load()
		}
		ns += s.sum.Load()
	}
	buckets = make(map[float64]uint64, bucketCount)
	for b, n := range total {
		count += n
		if b < bucketCount {
			buckets[float64(int64(1)<<(firstBucket+b))/1e9] = count
		}
	}
	return count, time.Duration(ns).Seconds(), buckets
}

// descriptions are the metrics of one client.
type descriptions struct {
	up, info, since, failovers, failoverSeconds, unavailable, lost, reconnected       *prometheus.Desc
	commands, duration, errorReplies, alarms, pushes, stale, mismatch, wasted, revert *prometheus.Desc
	inflight, private, dials, sentinelsKnown, sentinelsUp, fencedNow, provisional     *prometheus.Desc

	all []*prometheus.Desc
}

func describe(client string) *descriptions {
	var all []*prometheus.Desc
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		d := prometheus.NewDesc("redis_sentinel_"+metric, help, labels, prometheus.Labels{"client": client})
		all = append(all, d)
		return d
	}
	d := &descriptions{
		up:              desc("primary_up", "1 while there is a primary to send commands to.", "primary"),
		info:            desc("primary_info", "1; its labels tell the address of the present primary, or of the last.", "primary", "addr"),
		since:           desc("primary_since_timestamp_seconds", "When the present primary was found; 0 if none ever was.", "primary"),
		failovers:       desc("failovers_total", "Primaries that were found, by what led to them; \"returned\" is the same as before.", "primary", "trigger"),
		failoverSeconds: desc("last_failover_seconds", "How long writes could not pass the last time that a primary was found.", "primary"),
		unavailable:     desc("unavailable_seconds_total", "Time that writes could not pass, up to now.", "primary"),
		lost:            desc("primary_lost_total", "How often a primary stopped answering or was demoted.", "primary"),
		reconnected:     desc("reconnected_total", "How often the shared connection was lost and replaced while the primary went on.", "primary"),
		commands:        desc("commands_total", "Requests by what became of them; refused, fenced and not_sent ones did not reach the server.", "primary", "result"),
		duration:        desc("command_duration_seconds", "Time from a request to its last reply.", "primary"),
		errorReplies:    desc("error_replies_total", "Replies that were errors, or did not fit the receiver.", "primary"),
		alarms:          desc("alarm_replies_total", "Replies READONLY, LOADING or MASTERDOWN: the server is not the primary it was taken for.", "primary"),
		pushes:          desc("sentinel_events_total", "Events that sentinels sent.", "primary"),
		stale:           desc("stale_reports_total", "Reports of a primary that were not followed: old, not allowed, or of a minority.", "primary"),
		mismatch:        desc("role_mismatches_total", "Servers that were named as primary and did not say that they are.", "primary"),
		wasted:          desc("fences_wasted_total", "Times that writes waited for a failover that did not happen.", "primary"),
		revert:          desc("reverts_total", "Times that a primary was left again because the sentinels did not announce it.", "primary"),
		fencedNow:       desc("fenced", "1 while writes wait for a failover.", "primary"),
		provisional:     desc("provisional", "1 while the primary has not been announced by the sentinels.", "primary"),
		inflight:        desc("inflight", "Requests under way on the shared connection.", "primary"),
		private:         desc("private_connections", "Connections that serve one caller at a time, and are in use or kept.", "primary"),
		dials:           desc("dials_total", "Connections opened, to servers and sentinels, failed ones included."),
		sentinelsKnown:  desc("sentinels_known", "Sentinels that are known."),
		sentinelsUp:     desc("sentinels_up", "Sentinels that answer. 0: the client serves from the primary it knows, and follows no failover."),
	}
	d.all = all
	return d
}

// Describe implements prometheus.Collector. That of a nil Client makes a registry refuse it and say why.
func (c *Client) Describe(ch chan<- *prometheus.Desc) {
	if c == nil {
		observe.DescribeNil(ch, "sentinel.Client", "New or NewClient")
		return
	}
	for _, d := range c.descriptions.all {
		ch <- d
	}
	c.primaries[c.options.Names[0]].breaker.Describe(ch) // the same for all
}

// Collect implements prometheus.Collector.
func (c *Client) Collect(ch chan<- prometheus.Metric) {
	if c == nil {
		observe.CollectNil(ch, "sentinel.Client", "New or NewClient")
		return
	}
	d := c.descriptions
	sink{ch, ""}.counter(d.dials, c.metrics.dials.Load())
	sink{ch, ""}.gauge(d.sentinelsKnown, float64(c.metrics.sentinelsKnown.Load()))
	sink{ch, ""}.gauge(d.sentinelsUp, float64(c.metrics.sentinelsUp.Load()))
	for _, p := range c.primaries {
		p.breaker.Collect(ch)
		p.collect(d, sink{ch, p.label})
	}
}

// sink sends the metrics of one primary, or of none.
type sink struct {
	ch    chan<- prometheus.Metric
	label string
}

func (s sink) labels(more []string) []string {
	if s.label == "" {
		return more
	}
	return append([]string{s.label}, more...)
}

func (s sink) counter(d *prometheus.Desc, n uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), s.labels(labels)...)
}

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.labels(labels)...)
}

func (p *primary) collect(d *descriptions, out sink) {
	s, t, m := p.stats(), p.topology.Load(), &p.metrics
	out.gauge(d.up, map[bool]float64{true: 1}[s.Up])
	if t.Last != "" {
		out.gauge(d.info, 1, t.Last)
	}
	out.gauge(d.since, timestamp(s.LastFound))
	for why := range triggers {
		out.counter(d.failovers, m.moved[why].Load(), why.String())
	}
	out.gauge(d.failoverSeconds, s.LastGap.Seconds())
	out.ch <- prometheus.MustNewConstMetric(d.unavailable, prometheus.CounterValue, s.Unavailable.Seconds(), p.label)
	out.counter(d.lost, s.Lost)
	out.counter(d.reconnected, s.Reconnected)
	count, seconds, buckets := m.replied.read()
	out.counter(d.commands, count, "replied")
	out.counter(d.commands, s.Refused, "refused")
	out.counter(d.commands, s.Fenced, "fenced")
	out.counter(d.commands, s.NotSent, "not_sent")
	out.counter(d.commands, s.Unknown, "unknown")
	out.ch <- prometheus.MustNewConstHistogram(d.duration, count, seconds, buckets, p.label)
	out.counter(d.errorReplies, s.ErrorReplies)
	out.counter(d.alarms, s.AlarmReplies)
	out.counter(d.pushes, s.Events)
	out.counter(d.stale, s.StaleReports)
	out.counter(d.mismatch, s.RoleMismatches)
	out.counter(d.wasted, s.FencesWasted)
	out.counter(d.revert, s.Reverts)
	out.gauge(d.fencedNow, map[bool]float64{true: 1}[t.Fenced])
	out.gauge(d.provisional, map[bool]float64{true: 1}[t.Provisional])
	out.gauge(d.inflight, float64(s.InFlight))
	out.gauge(d.private, float64(s.PrivateConns))
}

func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}
