package report

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/groupcache/internal/cluster"
	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Peers sends the figures of the present peers. Those that have left lately are told of
// removals for a while, and are in no metric: mostly they are gone with all that they had, and what
// refuses a removal at their address is somebody else.
func Peers(m *metrics.Groupcache, pools []*cluster.Cluster, ch chan<- prometheus.Metric) {
	out := observe.To(ch)
	var unsigned, refused uint64
	var up, down float64
	var asks float64
	seen := make(map[string]bool)
	for _, p := range pools {
		accepted, not := p.Server.Counts()
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
			one(m, peer, observe.To(ch, peer.Label()))
			peer.Breaker().Collect(ch)
		}
	}
	out.Gauge(m.Peers, up, "up")
	out.Gauge(m.Peers, down, "down")
	lines(m, pools, out)
	out.Gauge(m.Lines, asks, "out")
	out.Count(m.BadRequests, unsigned, "unsigned")
	out.Count(m.BadRequests, refused, "unauthorised")
}

// lines sends the figures of the connections for frames.
func lines(m *metrics.Groupcache, pools []*cluster.Cluster, out observe.Sender) {
	var asked httppeer.LineStats
	var served httppeer.SessionStats
	for _, p := range pools {
		asked.Add(p.Lines())
		served.Add(p.Server.Sessions())
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

func one(m *metrics.Groupcache, p *peer.Peer, out observe.Sender) {
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
