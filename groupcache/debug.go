package groupcache

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/cluster"
	"github.com/holdfast-go/holdfast/groupcache/internal/debugpage"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Debug is what DebugHandler shows: an instance at one moment.
type Debug struct {
	Name   string
	Self   string
	Time   time.Time
	Ring   string // that is in use: "even", "hash" or "rendezvous"
	Zone   string // Options.Zone
	Peers  []DebugPeer
	Groups []DebugGroup
}

// DebugPeer is one peer in Debug.
type DebugPeer struct {
	URL string
	// Share is the part of all keys that the peer owns, from 0 to 1, by a sample.
	Share float64
	// Self says that it is this process, of which the fields below are empty.
	Self bool
	// Ours says that the peer has shown that it is one of this module, not of the original.
	Ours bool
	// Near says that the peer has the same Options.Zone as this process.
	Near bool
	// Frames says that the peer is asked by frames at the moment.
	Frames bool
	// Route is how the peer is asked, and why not by frames, in the words of the metric
	// holdfast_groupcache_peer_route.
	Route string
	// State is that of the peer's breaker.
	State                                        string
	Found, NotFound, LoadErrors, Failed, Refused uint64
	InFlight                                     int64
	MissedRemoves                                int
	// DroppedRemoves are those that nothing lets through to the peer: it may answer with old values
	// until they expire.
	DroppedRemoves uint64
}

// DebugGroup is one group in Debug.
type DebugGroup struct {
	Name      string
	Gets      int64
	HitRatio  float64 // from 0 to 1
	Main, Hot CacheStats
	// Hottest are the keys asked for most of late, if Options.DebugKeys allows them.
	Hottest []DebugKey `json:",omitempty"`
}

// DebugKey is a key in DebugGroup.
type DebugKey struct {
	Key  string // cut, if it is long
	Size int    // of the value, in bytes
	Hits int64  // an estimate
}

const (
	shareSample = 4096
	hottestKeys = 20
)

// Debug describes the instance at this moment.
func (i *Instance) Debug() Debug {
	i.mu.RLock()
	pools := i.pools
	i.mu.RUnlock()
	d := Debug{Name: i.options.Name, Self: peer.Shown(i.options.Self), Time: i.process.Now(), Zone: i.options.Zone}
	for _, p := range pools {
		if len(p.URLs()) > 0 {
			d.Self, d.Ring = peer.Shown(p.Self()), nameHash
			if p.Even() {
				d.Ring = p.Local.Greeting().Ring
			}
			d.Peers = append(d.Peers, debugPeers(p)...)
		}
	}
	for _, g := range i.Groups() {
		described := debugGroup(g)
		if i.options.DebugKeys {
			described.Hottest = hottest(g)
		}
		d.Groups = append(d.Groups, described)
	}
	return d
}

func debugPeers(p *cluster.Cluster) []DebugPeer {
	shares := p.Shares(shareSample)
	var peers []DebugPeer
	for _, url := range p.URLs() {
		if url == p.Self() {
			peers = append(peers, DebugPeer{URL: peer.Shown(url), Self: true, Share: shares[url]})
		}
	}
	for _, other := range p.Peers() {
		s := other.Stats()
		peers = append(peers, DebugPeer{
			URL: other.Shown(), Share: shares[other.URL()], Ours: other.Marked(), Near: other.Near(), Frames: other.HasLine(), Route: other.Route().String(), State: other.Breaker().State().String(),
			Found: s.Found, NotFound: s.NotFound, LoadErrors: s.LoadFailed, Failed: s.Failed, Refused: s.Refused,
			InFlight: s.InFlight, MissedRemoves: s.MissedRemoves, DroppedRemoves: s.DroppedRemoves,
		})
	}
	return peers
}

func debugGroup(g *Group) DebugGroup {
	d := DebugGroup{Name: g.Name(), Gets: g.Stats.Gets.Get(), Main: g.CacheStats(MainCache), Hot: g.CacheStats(HotCache)}
	if d.Gets > 0 {
		d.HitRatio = float64(g.Stats.CacheHits.Get()) / float64(d.Gets)
	}
	return d
}

func hottest(g *Group) (keys []DebugKey) {
	for _, h := range g.shared.Tiers.Main.Hottest(hottestKeys) {
		keys = append(keys, DebugKey{Key: observe.Cut(h.Key), Size: len(h.Value), Hits: h.Hits})
	}
	return keys
}

// DebugHandler shows the instance to a person, or as JSON to a machine that accepts it, or asks for
// ?format=json. It is on no mux unless mounted; keys are shown only with Options.DebugKeys.
func (i *Instance) DebugHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := i.Debug()
		w.Header().Set("Cache-Control", "no-store")
		if r.FormValue("format") == "json" || strings.Contains(r.Header.Get("Accept"), "application/json") {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(d) // the reader has gone: there is nobody to tell
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		debugpage.Write(w, d)
	})
}
