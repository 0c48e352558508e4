package memcache

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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

// possible tells the results that an operation can have. They are all there from the start, at 0: a rate sees no series that begins
// with its first burst.
func possible(o op, r result) bool {
	switch r {
	case resultServerError, resultRefused, resultBusy, resultTimeout, resultFailed, resultCanceled:
		return true
	case resultOK:
		return !o.reads()
	case resultHit:
		return o.reads()
	case resultMiss:
		return o.reads() || o == opCompareAndSwap || o == opDelete || o == opTouch || o == opIncrement || o == opDecrement
	case resultNotStored:
		return o.stores() && o != opSet
	case resultConflict:
		return o == opCompareAndSwap
	}
	return false
}

// resultOf names an answer.
func resultOf(o op, err error) result {
	switch {
	case err == nil && o.reads():
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

// countCall counts what became of a request: of a GetMulti, what became of each key.
func (m *serverMetrics) countCall(r *request, became result, found int) {
	if r.op != opGetMulti {
		m.operations[r.op][became].Add(1)
		return
	}
	m.countKeys(len(r.keys), became, found)
}

func (m *serverMetrics) countKeys(asked int, became result, found int) {
	if became == resultHit {
		became = resultMiss // of the others
	}
	m.operations[opGetMulti][resultHit].Add(uint64(found))
	m.operations[opGetMulti][became].Add(uint64(max(asked-found, 0)))
}

// calls is how many operations were counted.
func (m *serverMetrics) calls() (n uint64) {
	for o := range opCount {
		for r := range resultCount {
			n += m.operations[o][r].Load()
		}
	}
	return n
}

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
		operations: desc("operations_total", "Operations by what became of them, of get_multi each key; refused and busy ones were not tried.", "op", "server", "result"),
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

// collect sends what one core has counted. Servers that share a label, because there are more than are kept apart, are added up: a
// scrape must not see a label twice.
func (c *core) collect(d *descriptions, ch chan<- prometheus.Metric) {
	sums := make(map[string]*serverSum)
	for _, s := range c.all() {
		sum := sums[s.label]
		if sum == nil {
			sum = &serverSum{}
			sums[s.label] = sum
		}
		sum.add(s)
		if s.label != otherLabel {
			s.breaker.Collect(ch)
		}
	}
	for label, sum := range sums {
		sum.collect(d, label, ch)
	}
	c.durations.collect(d, ch)
}

func (d *durations) collect(to *descriptions, ch chan<- prometheus.Metric) {
	for o := range opCount {
		n, seconds, buckets := d.sum(o)
		ch <- prometheus.MustNewConstHistogram(to.duration, n, seconds, buckets, o.verb())
	}
}

// collectUnused sends the zeroes of a client that was not used yet.
func (s *shared) collectUnused(d *descriptions, ch chan<- prometheus.Metric) {
	var none serverSum
	taken := labels{}
	seen := make(map[string]bool)
	for _, address := range s.configured() {
		if seen[address] {
			continue
		}
		seen[address] = true
		if label := taken.take(address); label != otherLabel {
			none.collect(d, label, ch)
		}
	}
	new(durations).collect(d, ch)
}

// configured are the addresses that are known before the first use.
func (s *shared) configured() (addresses []string) {
	if s.selector == nil {
		return s.options.Servers
	}
	defer func() { _ = recover() }() // the selector is the caller's code
	_ = s.selector.Each(func(addr net.Addr) error {
		addresses = append(addresses, addr.String())
		return nil
	})
	return addresses
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
			if n := t.operations[o][r]; n > 0 || possible(o, r) {
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
