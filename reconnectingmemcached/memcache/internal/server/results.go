package server

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/trace"
)

// result is what became of one operation, as a label.
type result uint8

// The results.
const (
	resultOK result = iota
	resultHit
	ResultMiss
	resultNotStored
	resultConflict
	resultServerError
	ResultRefused
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
	case resultServerError, ResultRefused, resultBusy, resultTimeout, resultFailed, resultCanceled:
		return true
	case resultOK:
		return !o.Reads()
	case resultHit:
		return o.Reads()
	case ResultMiss:
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
	case errors.Is(err, gomemcache.ErrCacheMiss):
		return ResultMiss
	case errors.Is(err, gomemcache.ErrNotStored):
		return resultNotStored
	case errors.Is(err, gomemcache.ErrCASConflict):
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
	Operations  [protocol.OpCount][resultCount]atomic.Uint64
	DialsOK     atomic.Uint64
	DialsFailed atomic.Uint64
}

func (m *serverMetrics) Count(o protocol.Op, r result) { m.Operations[o][r].Add(1) }

// CountCall counts what became of a request: of a GetMulti, what became of each key.
func (m *serverMetrics) CountCall(r *protocol.Request, became result, found int) {
	switch {
	case r.Own:
	case r.Op != protocol.OpGetMulti:
		m.Operations[r.Op][became].Add(1)
	default:
		m.countKeys(len(r.Keys), became, found)
	}
}

func (m *serverMetrics) countKeys(asked int, became result, found int) {
	if became == resultHit {
		became = ResultMiss // of the others
	}
	m.Operations[protocol.OpGetMulti][resultHit].Add(uint64(found))
	m.Operations[protocol.OpGetMulti][became].Add(uint64(max(asked-found, 0)))
}

// Calls is how many operations were counted.
func (m *serverMetrics) Calls() (n uint64) {
	for o := range protocol.OpCount {
		for r := range resultCount {
			n += m.Operations[o][r].Load()
		}
	}
	return n
}

func (m *serverMetrics) dialed(err error) {
	if err != nil {
		m.DialsFailed.Add(1)
		return
	}
	m.DialsOK.Add(1)
}

// opClass groups operations for the histograms: one series a bucket for each op would be too many.
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

// NewHistograms returns empty ones.
func NewHistograms() *histograms {
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
func (h *histograms) tried(r *protocol.Request, out *Outcome, nanoseconds int64) {
	class := classOf(r.Op)
	h.durations[class].Observe(nanoseconds)
	switch sizes := h.sizes[class]; {
	case class == classStore:
		if r.Item != nil && out.Sent {
			sizes.Observe(int64(len(r.Item.Value)))
		}
	case out.Item != nil:
		sizes.Observe(int64(len(out.Item.Value)))
	default:
		for _, item := range out.Items {
			sizes.Observe(int64(len(item.Value)))
		}
	}
}

func (h *histograms) Collect(m *metrics.Memcached, out observe.Sender) {
	for c := range classCount {
		out.Histogram(m.Duration, h.durations[c], c.label())
		if h.sizes[c] != nil {
			out.Histogram(m.Sizes, h.sizes[c], c.label())
		}
	}
}

// Sum adds up what servers have counted.
type Sum struct {
	operations          [protocol.OpCount][resultCount]uint64
	dialsOK, dialsBad   uint64
	inflight            int64
	missed              int
	replayed, forgotten uint64
}

// Add adds the counters of a server.
func (t *Sum) Add(s *Server) {
	for o := range protocol.OpCount {
		for r := range resultCount {
			t.operations[o][r] += s.Metrics.Operations[o][r].Load()
		}
	}
	t.dialsOK += s.Metrics.DialsOK.Load()
	t.dialsBad += s.Metrics.DialsFailed.Load()
	t.inflight += s.Ramp.InFlight.Load()
	missed, replayed, lost := s.Missed.Totals()
	t.missed += missed
	t.replayed += replayed
	t.forgotten += lost
}

// Collect sends the metrics of one server.
func (t *Sum) Collect(m *metrics.Memcached, out observe.Sender) {
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
	out.Count(m.Lost, t.forgotten)
	out.Gauge(m.InFlight, float64(t.inflight))
	out.Gauge(m.Missed, float64(t.missed))
}

// CollectClient sends the metrics of all servers together.
func (t *Sum) CollectClient(m *metrics.Memcached, out observe.Sender) {
	for o := range protocol.OpCount {
		for r := range resultCount {
			if n := t.operations[o][r]; n > 0 || possible(o, r) {
				out.Count(m.Operations, n, o.Verb(), r.label())
			}
		}
	}
	out.Count(m.Replayed, t.replayed)
}

// Keep adds the counters of a server that is let go: those of its client must not fall.
func (t *Sum) Keep(s *Server) {
	t.Add(s)
	t.inflight, t.missed = 0, 0
}

// exchangeTraced is exchange for a client with a tracer.
func (s *Server) exchangeTraced(ctx context.Context, r *protocol.Request) Outcome {
	ctx, span := s.Env.Tracer.Begin(ctx, s.Operation(r))
	var out Outcome
	if permit, err := s.Admit(r); err != nil {
		out = RefusedOutcome(r, err)
	} else {
		f := s.Begin(ctx, permit, r)
		out = s.Finish(ctx, &f, r)
	}
	span.End(s.Ended(r, &out))
	return out
}

// Operation describes a request to this server to a tracer.
func (s *Server) Operation(r *protocol.Request) trace.Operation {
	op := trace.Operation{Kind: trace.Client, Name: r.Op.Verb(), Endpoint: s.Address, Key: r.Key, Keys: len(r.Keys)}
	switch {
	case r.Key != "":
		op.Keys = 1
	case len(r.Keys) == 1:
		op.Key = r.Keys[0]
	}
	return op
}

// Ended describes the end of the request to a tracer.
func (s *Server) Ended(r *protocol.Request, out *Outcome) trace.Outcome {
	became := resultOfFailure(out.Err)
	switch {
	case out.Replied:
		became = resultOf(r.Op, out.Err)
	case out.Err == ErrRefused: //nolint:errorlint // the very value that admit gives.
		became = ResultRefused
	}
	end := trace.Outcome{Result: became.label(), Items: len(out.Items)}
	switch {
	case out.Item != nil:
		end.Items = 1
	case r.Op == protocol.OpGetMulti && became == resultHit && end.Items == 0:
		end.Result = trace.Miss
	}
	switch {
	case became == ResultRefused:
		end.Err = breaker.ErrOpen // faults.Plain would cost an allocation
	case end.IsError():
		end.Err = faults.Plain(out.Err)
	}
	if out.ended != 0 {
		end.Ended = s.Env.epoch.Add(time.Duration(out.ended))
	}
	return end
}
