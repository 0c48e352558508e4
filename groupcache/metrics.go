package groupcache

import (
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// metrics are an instance's descriptors, and the counters that no group has.
type metrics struct {
	gets, hits, loads, items, bytes, evictions, refusedValues *prometheus.Desc
	peerRequests, peerInFlight, missedRemoves, lostRemoves    *prometheus.Desc
	droppedRemoves                                            *prometheus.Desc
	peers, serverRequests, unsigned, unauthorised, duration   *prometheus.Desc
	hedges, takenOver, forgets                                *prometheus.Desc

	loadTimes loadTimes
}

func newMetrics(name string) *metrics {
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("groupcache_"+metric, help, labels, prometheus.Labels{"name": name})
	}
	return &metrics{
		gets:           desc("gets_total", "Keys asked for, also by peers.", "group"),
		hits:           desc("hits_total", "Gets answered by a cache.", "group", "cache"),
		loads:          desc("loads_total", "Gets that no cache answered, by what answered: getter, getter_error, peer, peer_error; inherited came from a former owner, joined shared another's.", "group", "result"),
		items:          desc("items", "Values in a cache.", "group", "cache"),
		bytes:          desc("bytes", "What a cache takes: payload is keys and values, total all that is kept for them.", "group", "cache", "kind"),
		evictions:      desc("evictions_total", "Values that gave way to others.", "group", "cache"),
		refusedValues:  desc("refused_values_total", "Values that were larger than an eighth of the budget and not kept.", "group", "cache"),
		peerRequests:   desc("peer_requests_total", "Requests for keys to a peer, by result; failed got no answer, refused were not sent.", "peer", "result"),
		peerInFlight:   desc("peer_requests_in_flight", "Requests to a peer under way.", "peer"),
		missedRemoves:  desc("peer_missed_removes", "Removals that a peer has still to be told, before it is asked again.", "peer"),
		lostRemoves:    desc("peer_lost_removes_total", "Removals that were not kept for a peer, because too many were: it drops all that it has when it is back.", "peer"),
		droppedRemoves: desc("peer_dropped_removes_total", "Removals that were given up, because nothing lets them through to the peer: it may answer with old values until they expire.", "peer"),
		peers:          desc("peers", "Peers, this process left out, by whether they are asked.", "state"),
		serverRequests: desc("server_requests_total", "Gets that came from peers.", "group"),
		hedges:         desc("hedges_total", "Second questions, to the cache of the next peer, when the owner took long; won ones answered first.", "group", "result"),
		takenOver:      desc("taken_over_total", "Values taken from peers that were about to leave.", "group"),
		forgets:        desc("forgets_total", "Times that all values were dropped, because a peer had made writes without knowing this process."),
		unsigned:       desc("unsigned_requests_total", "Requests without a signature that were accepted."),
		unauthorised:   desc("unauthorised_requests_total", "Requests refused for their signature."),
		duration:       desc("load_duration_seconds", "Duration of calls of Getters."),
	}
}

// Describe implements prometheus.Collector.
func (i *Instance) Describe(ch chan<- *prometheus.Desc) {
	if i == nil {
		observe.DescribeNil(ch, "groupcache.Instance", "New")
		return
	}
	m := i.metrics
	for _, d := range []*prometheus.Desc{
		m.gets, m.hits, m.loads, m.items, m.bytes, m.evictions, m.refusedValues, m.peerRequests, m.peerInFlight, m.missedRemoves,
		m.lostRemoves, m.droppedRemoves, m.peers, m.serverRequests, m.hedges, m.takenOver, m.forgets, m.unsigned, m.unauthorised, m.duration,
	} {
		ch <- d
	}
	i.pool.pool.Describe(ch)
}

// Collect implements prometheus.Collector. It reads counters and costs the calls nothing.
func (i *Instance) Collect(ch chan<- prometheus.Metric) {
	if i == nil {
		observe.CollectNil(ch, "groupcache.Instance", "New")
		return
	}
	m, out := i.metrics, sender{ch}
	for _, g := range i.Groups() {
		m.collectGroup(out, g)
	}
	i.mu.RLock()
	pools := i.pools
	i.mu.RUnlock()
	var unsigned, refused uint64
	var up, down float64
	seen := make(map[string]bool)
	for _, p := range pools {
		unsigned, refused = unsigned+p.unsigned.Load(), refused+p.refused.Load()
		for _, peer := range p.pool.Peers() {
			if seen[peer.URL()] {
				continue
			}
			seen[peer.URL()] = true
			if peer.Up() {
				up++
			} else {
				down++
			}
			s := peer.Stats()
			url := label(peer.URL())
			for result, n := range map[string]uint64{
				"found": s.Found, "not_found": s.NotFound, "load_error": s.LoadFailed, "failed": s.Failed, "refused": s.Refused,
			} {
				out.counter(m.peerRequests, float64(n), url, result)
			}
			out.gauge(m.peerInFlight, float64(s.InFlight), url)
			out.gauge(m.missedRemoves, float64(s.MissedRemoves), url)
			out.counter(m.lostRemoves, float64(s.LostRemoves), url)
			out.counter(m.droppedRemoves, float64(s.DroppedRemoves), url)
			peer.Breaker().Collect(ch)
		}
	}
	out.gauge(m.peers, up, "up")
	out.gauge(m.peers, down, "down")
	out.counter(m.forgets, float64(i.forgets.Load()))
	out.counter(m.unsigned, float64(unsigned))
	out.counter(m.unauthorised, float64(refused))
	count, sum, buckets := m.loadTimes.read()
	ch <- prometheus.MustNewConstHistogram(m.duration, count, sum, buckets)
}

func (m *metrics) collectGroup(out sender, g *Group) {
	s, name := &g.Stats, label(g.name)
	out.counter(m.gets, float64(s.Gets.Get()), name)
	out.counter(m.serverRequests, float64(s.ServerRequests.Get()), name)
	won := g.hedgesWon.Load()
	out.counter(m.hedges, float64(won), name, "won")
	out.counter(m.hedges, float64(max(0, g.hedges.Load()-won)), name, "lost")
	for result, n := range map[string]int64{
		"getter": s.LocalLoads.Get(), "getter_error": s.LocalLoadErrs.Get(), "peer": s.PeerLoads.Get(), "peer_error": s.PeerErrors.Get(),
		"joined":    max(0, s.Loads.Get()-s.LoadsDeduped.Get()-s.PeerLoads.Get()-s.PeerErrors.Get()-g.inherited.Load()),
		"inherited": g.inherited.Load(),
	} {
		out.counter(m.loads, float64(n), name, result)
	}
	out.counter(m.takenOver, float64(g.takenOver.Load()), name)
	for cache, st := range map[string]store.Stats{"main": g.main.Stats(), "hot": g.hot.Stats()} {
		out.counter(m.hits, float64(st.Hits), name, cache)
		out.gauge(m.items, float64(st.Items), name, cache)
		out.gauge(m.bytes, float64(st.Bytes), name, cache, "payload")
		out.gauge(m.bytes, float64(st.Cost), name, cache, "total")
		out.counter(m.evictions, float64(st.Evictions), name, cache)
		out.counter(m.refusedValues, float64(st.Refused), name, cache)
	}
}

// loadTimes is a histogram whose buckets double from 100 µs on.
type loadTimes struct {
	sum     atomic.Int64 // nanoseconds
	buckets [loadBuckets + 1]atomic.Uint64
}

const (
	loadBuckets = 18 // the last ends at 13 s
	firstLoad   = 100 * time.Microsecond
)

func (h *loadTimes) observe(d time.Duration) {
	i := 0
	for limit := firstLoad; i < loadBuckets && d > limit; limit *= 2 {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *loadTimes) read() (count uint64, seconds float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, loadBuckets)
	limit := firstLoad
	for i := range loadBuckets {
		count += h.buckets[i].Load()
		buckets[limit.Seconds()] = count
		limit *= 2
	}
	count += h.buckets[loadBuckets].Load()
	return count, time.Duration(h.sum.Load()).Seconds(), buckets
}

// label makes a label of a name, which may be any bytes: one that is no UTF-8 would spoil the whole scrape.
func label(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strconv.QuoteToASCII(name)
}

// sender sends constant metrics.
type sender struct{ ch chan<- prometheus.Metric }

func (s sender) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sender) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}
