package memcache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/breaker"
)

// result is what became of one operation, as a label.
type result uint8

const (
	resultOK result = iota
	resultHit
	resultMiss
	resultNotStored
	resultConflict
	resultServerError
	resultRefused
	resultBusy
	resultTimeout
	resultFailed
	resultCanceled
	resultCount
)

func (r result) label() string {
	return [resultCount]string{
		"ok", "hit", "miss", "not_stored", "conflict", "server_error", "refused", "busy", "timeout", "failed", "canceled",
	}[r]
}

// resultOf names an answer.
func resultOf(o op, err error) result {
	switch {
	case err == nil && (o == opGet || o == opGetAndTouch):
		return resultHit
	case err == nil:
		return resultOK
	case errors.Is(err, ErrCacheMiss):
		return resultMiss
	case errors.Is(err, ErrNotStored):
		return resultNotStored
	case errors.Is(err, ErrCASConflict):
		return resultConflict
	}
	return resultServerError
}

// resultOfFailure names the end of a call that got no answer.
func resultOfFailure(err error) result {
	switch {
	case errors.Is(err, ErrTimeout):
		return resultTimeout
	case errors.Is(err, ErrBusy):
		return resultBusy
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return resultCanceled
	}
	return resultFailed
}

// serverMetrics are counters that are bound before the first call.
type serverMetrics struct {
	operations  [opCount][resultCount]atomic.Uint64
	dialsOK     atomic.Uint64
	dialsFailed atomic.Uint64
}

func (m *serverMetrics) count(o op, r result) { m.operations[o][r].Add(1) }

func (m *serverMetrics) dialed(err error) {
	if err != nil {
		m.dialsFailed.Add(1)
		return
	}
	m.dialsOK.Add(1)
}

const stripes = 8

// durations is a histogram in stripes: one that all processors share costs more than the rest of the guard.
type durations struct {
	stripes [stripes]struct {
		ops [opCount]struct {
			sum     atomic.Int64 // nanoseconds
			buckets [bucketCount + 1]atomic.Uint64
		}
		_ [64]byte // keeps the stripes on cache lines of their own
	}
}

const bucketCount = 16

// bounds are the upper bounds of the buckets, in nanoseconds: 50 µs to 5 s.
//
//nolint:gochecknoglobals // never written; an array cannot be a constant.
var bounds = [bucketCount]int64{
	50e3, 100e3, 250e3, 500e3, 1e6, 2.5e6, 5e6, 10e6, 25e6, 50e6, 100e6, 250e6, 500e6, 1e9, 2.5e9, 5e9,
}

func (d *durations) observe(shard uint32, o op, nanoseconds int64) {
	h := &d.stripes[shard%stripes].ops[o]
	i := 0
	for i < bucketCount && nanoseconds > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(nanoseconds)
}

func (d *durations) sum(o op) (count uint64, seconds float64, buckets map[float64]uint64) {
	var total [bucketCount + 1]uint64
	var ns int64
	for s := range d.stripes {
		h := &d.stripes[s].ops[o]
		for i := range total {
			total[i] += h.buckets[i].Load()
		}
		ns += h.sum.Load()
	}
	buckets = make(map[float64]uint64, bucketCount)
	for i, n := range total {
		count += n
		if i < bucketCount {
			buckets[float64(bounds[i])/1e9] = count
		}
	}
	return count, time.Duration(ns).Seconds(), buckets
}

// descriptions are the metrics of one client.
type descriptions struct {
	operations, duration, dials, inflight, missed, replayed, lost *prometheus.Desc
}

func describe(name string) *descriptions {
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("memcached_client_"+metric, help, labels, prometheus.Labels{"client": name})
	}
	return &descriptions{
		operations: desc("operations_total", "Operations by what became of them; refused and busy ones were not tried.", "op", "server", "result"),
		duration:   desc("operation_duration_seconds", "Time of the operations that were tried, queueing and a retry included, until their reply was read.", "op"),
		dials:      desc("dials_total", "Connections opened, those of probes included.", "server", "result"),
		inflight:   desc("inflight", "Operations under way, queued ones included.", "server"),
		missed:     desc("missed_invalidations", "Keys whose writes the server may have missed, to be deleted before it is used again.", "server"),
		replayed:   desc("invalidations_replayed_total", "Keys deleted on the server because it may have missed their writes.", "server"),
		lost:       desc("missed_invalidations_lost_total", "Missed writes that did not fit the log: their old values may be served.", "server"),
	}
}

func (d *descriptions) all() []*prometheus.Desc {
	return []*prometheus.Desc{d.operations, d.duration, d.dials, d.inflight, d.missed, d.replayed, d.lost}
}

// collect sends what one core has counted. Servers that share a label, because there are more than the breakers keep apart, are
// added up: a scrape must not see a label twice.
func (c *core) collect(d *descriptions, ch chan<- prometheus.Metric) {
	c.set.Collect(ch)
	sums := make(map[string]*serverSum)
	for _, s := range c.all() {
		sum := sums[s.label]
		if sum == nil {
			sum = &serverSum{}
			sums[s.label] = sum
		}
		sum.add(s)
	}
	for label, sum := range sums {
		sum.collect(d, label, ch)
	}
	for o := range opCount {
		if n, seconds, buckets := c.durations.sum(o); n > 0 {
			ch <- prometheus.MustNewConstHistogram(d.duration, n, seconds, buckets, o.verb())
		}
	}
}

type serverSum struct {
	operations        [opCount][resultCount]uint64
	dialsOK, dialsBad uint64
	inflight          int64
	missed            int
	replayed, lost    uint64
}

func (t *serverSum) add(s *server) {
	for o := range opCount {
		for r := range resultCount {
			t.operations[o][r] += s.metrics.operations[o][r].Load()
		}
	}
	t.dialsOK += s.metrics.dialsOK.Load()
	t.dialsBad += s.metrics.dialsFailed.Load()
	t.inflight += s.ramp.inflight.Load()
	missed, replayed, lost := s.missed.totals()
	t.missed += missed
	t.replayed += replayed
	t.lost += lost
}

func (t *serverSum) collect(d *descriptions, server string, ch chan<- prometheus.Metric) {
	counter := func(desc *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	for o := range opCount {
		for r := range resultCount {
			if n := t.operations[o][r]; n > 0 {
				counter(d.operations, n, o.verb(), server, r.label())
			}
		}
	}
	counter(d.dials, t.dialsOK, server, "ok")
	counter(d.dials, t.dialsBad, server, "failed")
	counter(d.replayed, t.replayed, server)
	counter(d.lost, t.lost, server)
	ch <- prometheus.MustNewConstMetric(d.inflight, prometheus.GaugeValue, float64(t.inflight), server)
	ch <- prometheus.MustNewConstMetric(d.missed, prometheus.GaugeValue, float64(t.missed), server)
}

var _ prometheus.Collector = (*breaker.Set)(nil)
