package groupcache

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Describe implements prometheus.Collector.
func (i *Instance) Describe(ch chan<- *prometheus.Desc) {
	if i == nil {
		observe.DescribeNil(ch, "groupcache.Instance", "New")
		return
	}
	i.metrics.Describe(ch)
	metrics.NewBreaker(i.options.Name, metrics.KindGroupcache).Describe(ch)
}

// Collect implements prometheus.Collector. It reads counters and costs the calls nothing.
func (i *Instance) Collect(ch chan<- prometheus.Metric) {
	if i == nil {
		observe.CollectNil(ch, "groupcache.Instance", "New")
		return
	}
	m, out := i.metrics, observe.To(ch)
	i.collectGroups(ch)
	i.collectPeers(ch)
	out.Count(m.Forgets, uint64(i.forgets.Load()))
	out.Histogram(m.Duration, i.process.Loads)
	out.Histogram(m.Sizes, i.process.Sizes)
}

func (i *Instance) collectGroups(ch chan<- prometheus.Metric) {
	i.mu.RLock()
	totals := i.former
	i.mu.RUnlock()
	labels := observe.NewLabels(0)
	for _, g := range i.Groups() {
		totals.add(g)
		collectGroup(i.metrics, g, observe.To(ch, labels.Take(g.Name())))
	}
	m, out := i.metrics, observe.To(ch)
	out.Count(m.Hedges, count(totals.hedgesWon), "won")
	out.Count(m.Hedges, count(totals.hedges-totals.hedgesWon), "lost")
	out.Count(m.TakenOver, count(totals.takenOver))
	out.Count(m.Refused, count(totals.refused))
}

// collectPeers sends what is known of the peers of now. Those that have left lately are told of
// removals for a while, and are in no metric: mostly they are gone with all that they had, and what
// refuses a removal at their address is somebody else.
func (i *Instance) collectPeers(ch chan<- prometheus.Metric) {
	i.mu.RLock()
	pools := i.pools
	i.mu.RUnlock()
	m, out := i.metrics, observe.To(ch)
	var unsigned, refused uint64
	var up, down float64
	var asks float64
	seen := make(map[string]bool)
	for _, p := range pools {
		accepted, not := p.server.Counts()
		unsigned, refused = unsigned+accepted, refused+not
		for _, peer := range p.Peers() {
			if seen[peer.URL()] {
				continue
			}
			seen[peer.URL()] = true
			if peer.Up() {
				up++
			} else {
				down++
			}
			if peer.HasLine() {
				asks++
			}
			collectPeer(m, peer, observe.To(ch, peer.Label()))
			peer.Breaker().Collect(ch)
		}
	}
	out.Gauge(m.Peers, up, "up")
	out.Gauge(m.Peers, down, "down")
	collectLines(m, pools, out)
	out.Gauge(m.Lines, asks, "out")
	out.Count(m.BadRequests, unsigned, "unsigned")
	out.Count(m.BadRequests, refused, "unauthorised")
}

// collectLines sends what is known of the connections for frames.
func collectLines(m *metrics.Groupcache, pools []*pool, out observe.Sender) {
	var asked httppeer.LineStats
	var served httppeer.SessionStats
	for _, p := range pools {
		asked.Add(p.lines())
		served.Add(p.server.Sessions())
	}
	out.Count(m.Upgrades, asked.Made, "ok")
	out.Count(m.Upgrades, asked.NotLetThrough, "not_let_through")
	out.Count(m.Upgrades, asked.NoConnection, "failed")
	out.Count(m.Ended, asked.Left, "left")
	out.Count(m.Ended, asked.Lost, "lost")
	out.Count(m.Ended, asked.Silent, "silent")
	out.Count(m.Ended, asked.Wrong, "wrong")
	out.Count(m.Ended, asked.GivenUp, "given_up")
	out.Gauge(m.Lines, float64(served.Open), "in")
	out.Count(m.Served, served.Made, "ok")
	out.Count(m.Served, served.Hidden, "hidden")
	out.Count(m.Served, served.Closing, "closing")
}

func collectPeer(m *metrics.Groupcache, p *peer.Peer, out observe.Sender) {
	s := p.Stats()
	out.Count(m.PeerRequests, s.Found, "ok")
	out.Count(m.PeerRequests, s.NotFound, "not_found")
	out.Count(m.PeerRequests, s.LoadFailed, "load_failed")
	out.Count(m.PeerRequests, s.Failed, "failed")
	out.Count(m.PeerRequests, s.Refused, "refused")
	out.Gauge(m.PeerInFlight, float64(s.InFlight))
	out.Gauge(m.MissedRemoves, float64(s.MissedRemoves))
	out.Count(m.LostRemoves, s.LostRemoves)
	out.Count(m.DroppedRemoves, s.DroppedRemoves)
	out.Gauge(m.Route, 1, p.Route().String())
}

func collectGroup(m *metrics.Groupcache, g *Group, out observe.Sender) {
	s, inherited := &g.Stats, g.loader.Inherited.Load()
	out.Count(m.Gets, count(s.Gets.Get()))
	out.Count(m.ServerRequests, count(s.ServerRequests.Get()))
	out.Count(m.Loads, count(s.LocalLoads.Get()), "getter")
	out.Count(m.Loads, count(s.LocalLoadErrs.Get()), "getter_failed")
	out.Count(m.Loads, count(s.PeerLoads.Get()), "peer")
	out.Count(m.Loads, count(s.PeerErrors.Get()), "peer_failed")
	out.Count(m.Loads, count(inherited), "former_owner")
	out.Count(m.Loads, count(s.Loads.Get()-s.LoadsDeduped.Get()-s.PeerLoads.Get()-s.PeerErrors.Get()-inherited), "joined")
	for tier, st := range map[string]store.Stats{"main": g.shared.Tiers.Main.Stats(), "hot": g.shared.Tiers.Hot.Stats()} {
		out.Count(m.Hits, count(st.Hits), tier)
		out.Gauge(m.Items, float64(st.Items), tier)
		out.Gauge(m.Bytes, float64(st.Cost), tier)
		out.Count(m.Evictions, count(st.Evictions), tier)
	}
}

// count is a counter's value: differences of counters that are read one after the other may be
// negative.
func count(n int64) uint64 { return uint64(max(n, 0)) }
