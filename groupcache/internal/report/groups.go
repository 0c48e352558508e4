// Package report tells Prometheus of groups and peers.
package report

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/groupcache/internal/answers"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Totals are the figures of all groups together. Those that are no more count on: a counter must
// not fall.
type Totals struct{ hedges, hedgesWon, takenOver, refused int64 }

// Add adds a group.
func (t *Totals) Add(g *answers.Group) {
	t.hedges += g.Fetcher.Budget.Hedges.Load()
	t.hedgesWon += g.Fetcher.Budget.Won.Load()
	t.takenOver += g.Handover.TakenOver.Load()
	t.refused += g.Shared.Tiers.Main.Stats().Refused + g.Shared.Tiers.Hot.Stats().Refused
}

// Groups sends the figures of groups, and in total those of former ones.
func Groups(m *metrics.Groupcache, former Totals, groups []*answers.Group, ch chan<- prometheus.Metric) {
	totals, labels := former, observe.NewLabels(0)
	for _, g := range groups {
		totals.Add(g)
		group(m, g, observe.To(ch, labels.Take(g.Shared.Name)))
	}
	out := observe.To(ch)
	out.Count(m.Hedges, count(totals.hedgesWon), "won")
	out.Count(m.Hedges, count(totals.hedges-totals.hedgesWon), "lost")
	out.Count(m.TakenOver, count(totals.takenOver))
	out.Count(m.Refused, count(totals.refused))
}

func group(m *metrics.Groupcache, g *answers.Group, out observe.Sender) {
	s, inherited := &g.Shared.Stats, g.Loader.Inherited()
	out.Count(m.Gets, count(s.Gets.Get()))
	out.Count(m.ServerRequests, count(s.ServerRequests.Get()))
	out.Count(m.Loads, count(s.LocalLoads.Get()), "getter")
	out.Count(m.Loads, count(s.LocalLoadErrs.Get()), "getter_failed")
	out.Count(m.Loads, count(s.PeerLoads.Get()), "peer")
	out.Count(m.Loads, count(s.PeerErrors.Get()), "peer_failed")
	out.Count(m.Loads, count(inherited), "former_owner")
	out.Count(m.Loads, count(s.Loads.Get()-s.LoadsDeduped.Get()-s.PeerLoads.Get()-s.PeerErrors.Get()-inherited), "joined")
	for tier, st := range map[string]store.Stats{"main": g.Shared.Tiers.Main.Stats(), "hot": g.Shared.Tiers.Hot.Stats()} {
		out.Count(m.Hits, count(st.Hits), tier)
		out.Gauge(m.Items, float64(st.Items), tier)
		out.Gauge(m.Bytes, float64(st.Cost), tier)
		out.Count(m.Evictions, count(st.Evictions), tier)
	}
}

// count is a counter's value: differences of counters that are read one after the other may be
// negative.
func count(n int64) uint64 { return uint64(max(n, 0)) }
