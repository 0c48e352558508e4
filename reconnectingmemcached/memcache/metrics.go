package memcache

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
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

// possible tells the results that an operation can have. They are all there from the start, at 0: a
// rate sees no series that begins with its first burst.
func possible(o protocol.Op, r result) bool {
	if o == protocol.OpHandOver {
		return false
	}
	switch r {
	case resultServerError, resultRefused, resultBusy, resultTimeout, resultFailed, resultCanceled:
		return true
	case resultOK:
		return !o.Reads()
	case resultHit:
		return o.Reads()
	case resultMiss:
		return o.Reads() || o == protocol.OpCompareAndSwap || o == protocol.OpDelete || o == protocol.OpTouch || o == protocol.OpIncrement || o == protocol.OpDecrement
	case resultNotStored:
		return o.Stores() && o != protocol.OpSet
	case resultConflict:
		return o == protocol.OpCompareAndSwap
	}
	return false
}

// ofServer is the result in the metrics of one server, which count any other answer as ok.
func (r result) ofServer() result {
	switch r {
	case resultNotStored, resultConflict, resultServerError:
		return resultOK
	}
	return r
}

// resultOf names an answer.
func resultOf(o protocol.Op, err error) result {
	switch {
	case err == nil && o.Reads():
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
	case errors.Is(err, faults.ErrTimeout):
		return resultTimeout
	case errors.Is(err, faults.ErrBusy):
		return resultBusy
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return resultCanceled
	}
	return resultFailed
}

// serverMetrics are counters that are bound before the first call.
type serverMetrics struct {
	operations  [protocol.OpCount][resultCount]atomic.Uint64
	dialsOK     atomic.Uint64
	dialsFailed atomic.Uint64
}

func (m *serverMetrics) count(o protocol.Op, r result) { m.operations[o][r].Add(1) }

// countCall counts what became of a request: of a GetMulti, what became of each key.
func (m *serverMetrics) countCall(r *protocol.Request, became result, found int) {
	switch {
	case r.Own:
	case r.Op != protocol.OpGetMulti:
		m.operations[r.Op][became].Add(1)
	default:
		m.countKeys(len(r.Keys), became, found)
	}
}

func (m *serverMetrics) countKeys(asked int, became result, found int) {
	if became == resultHit {
		became = resultMiss // of the others
	}
	m.operations[protocol.OpGetMulti][resultHit].Add(uint64(found))
	m.operations[protocol.OpGetMulti][became].Add(uint64(max(asked-found, 0)))
}

// calls is how many operations were counted.
func (m *serverMetrics) calls() (n uint64) {
	for o := range protocol.OpCount {
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

// opClass is what the histograms tell apart: one series a bucket for each op would be too many.
type opClass uint8

const (
	classGet opClass = iota
	classGetMulti
	classStore
	classOther
	classCount
)

func (c opClass) label() string {
	return [classCount]string{"get", "get_multi", "store", "other"}[c]
}

func classOf(o protocol.Op) opClass {
	switch {
	case o == protocol.OpGetMulti:
		return classGetMulti
	case o.Reads():
		return classGet
	case o.Stores():
		return classStore
	}
	return classOther
}

// histograms are those of one client.
type histograms struct {
	durations [classCount]*observe.Histogram
	sizes     [classCount]*observe.Histogram // of values; nil for classOther
}

func newHistograms() *histograms {
	h, stripes := &histograms{}, observe.NewStripes()
	for c := range classCount {
		h.durations[c] = observe.NewHistogram(observe.Latencies(), stripes)
		if c != classOther {
			h.sizes[c] = observe.NewHistogram(observe.Sizes(), stripes)
		}
	}
	return h
}

// tried counts a call that was made.
func (h *histograms) tried(r *protocol.Request, out *outcome, nanoseconds int64) {
	class := classOf(r.Op)
	h.durations[class].Observe(nanoseconds)
	switch sizes := h.sizes[class]; {
	case class == classStore:
		if r.Item != nil && out.sent {
			sizes.Observe(int64(len(r.Item.Value)))
		}
	case out.item != nil:
		sizes.Observe(int64(len(out.item.Value)))
	default:
		for _, item := range out.items {
			sizes.Observe(int64(len(item.Value)))
		}
	}
}

func (h *histograms) collect(m *metrics.Memcached, out observe.Sender) {
	for c := range classCount {
		out.Histogram(m.Duration, h.durations[c], c.label())
		if h.sizes[c] != nil {
			out.Histogram(m.Sizes, h.sizes[c], c.label())
		}
	}
}

// collect sends what one core has counted. Servers that share a label, because there are more than
// are kept apart, are added up: a scrape must not see a label twice.
func (c *core) collect(m *metrics.Memcached, ch chan<- prometheus.Metric) {
	byLabel := make(map[string]*serverSum)
	c.mu.Lock()
	all, servers := c.former, c.all()
	if c.others != nil {
		others := *c.others
		byLabel[observe.Other] = &others
	}
	c.mu.Unlock()
	for _, s := range servers {
		sum := byLabel[s.label]
		if sum == nil {
			sum = &serverSum{}
			byLabel[s.label] = sum
		}
		sum.add(s)
		all.add(s)
		if s.label != observe.Other {
			s.breaker.Collect(ch)
		}
	}
	for label, sum := range byLabel {
		sum.collect(m, observe.To(ch, label))
	}
	all.collectClient(m, observe.To(ch))
	c.gutter.stats().collect(m, observe.To(ch))
	c.lists.collect(m, observe.To(ch))
	c.histograms.collect(m, observe.To(ch))
}

// collectUnused sends the zeroes of a client that was not used yet.
func (s *shared) collectUnused(m *metrics.Memcached, ch chan<- prometheus.Metric) {
	var none serverSum
	labels := observe.NewLabels(maxLabels)
	seen := make(map[string]bool)
	for _, address := range s.configured() {
		if seen[address] {
			continue
		}
		seen[address] = true
		if label := labels.Take(address); label != observe.Other {
			none.collect(m, observe.To(ch, label))
		}
	}
	none.collectClient(m, observe.To(ch))
	GutterStats{}.collect(m, observe.To(ch))
	(*lists)(nil).collect(m, observe.To(ch))
	newHistograms().collect(m, observe.To(ch))
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

// maxLabels bounds the servers that have a label of their own.
const maxLabels = 1024

type serverSum struct {
	operations        [protocol.OpCount][resultCount]uint64
	dialsOK, dialsBad uint64
	inflight          int64
	missed            int
	replayed, lost    uint64
}

func (t *serverSum) add(s *server) {
	for o := range protocol.OpCount {
		for r := range resultCount {
			t.operations[o][r] += s.metrics.operations[o][r].Load()
		}
	}
	t.dialsOK += s.metrics.dialsOK.Load()
	t.dialsBad += s.metrics.dialsFailed.Load()
	t.inflight += s.ramp.InFlight.Load()
	missed, replayed, lost := s.missed.totals()
	t.missed += missed
	t.replayed += replayed
	t.lost += lost
}

// collect sends what is known of one server.
func (t *serverSum) collect(m *metrics.Memcached, out observe.Sender) {
	var results [resultCount]uint64
	for o := range protocol.OpCount {
		for r := range resultCount {
			results[r.ofServer()] += t.operations[o][r]
		}
	}
	for r, n := range results {
		if r := result(r); r == r.ofServer() {
			out.Count(m.Endpoint, n, r.label())
		}
	}
	out.Count(m.Dials, t.dialsOK, "ok")
	out.Count(m.Dials, t.dialsBad, "failed")
	out.Count(m.Lost, t.lost)
	out.Gauge(m.InFlight, float64(t.inflight))
	out.Gauge(m.Missed, float64(t.missed))
}

// collectClient sends what is told of all servers together.
func (t *serverSum) collectClient(m *metrics.Memcached, out observe.Sender) {
	for o := range protocol.OpCount {
		for r := range resultCount {
			if n := t.operations[o][r]; n > 0 || possible(o, r) {
				out.Count(m.Operations, n, o.Verb(), r.label())
			}
		}
	}
	out.Count(m.Replayed, t.replayed)
}

// keep adds what a server counted that is let go: the counters of its client must not fall.
func (t *serverSum) keep(s *server) {
	t.add(s)
	t.inflight, t.missed = 0, 0
}
