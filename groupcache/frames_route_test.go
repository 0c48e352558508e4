package groupcache_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/groupcache"
)

// route is how the only peer of an instance is asked.
func (n *node) route() string {
	for _, p := range n.instance.Debug().Peers {
		if !p.Self {
			return p.Route
		}
	}
	return ""
}

// metric is the sum of an instance's series of a name with a value of a label.
func (n *node) metric(t *testing.T, name, label, value string) (sum float64) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(n.instance)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "holdfast_groupcache_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == value {
					sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// framesLost is how many connections for frames were lost.
func (n *node) framesLost(t *testing.T) float64 {
	t.Helper()
	return n.metric(t, "frames_ended_total", "reason", "lost")
}

// cutFrames cuts a connection for frames once there is one, and waits until it has ended. That it
// is gone is not to be seen for long: there may be another one after 50 ms.
func (w *wireProxy) cutFrames(t *testing.T, asker *node) {
	t.Helper()
	framed(t, asker)
	before := asker.framesLost(t)
	w.cut()
	eventually(t, "the connection has ended", func() bool { return asker.framesLost(t) > before })
}

// Somebody who is called out at night sees whether a peer is asked by frames, and why not.
func TestHowAPeerIsAskedIsSaid(t *testing.T) {
	off := func(o *groupcache.Options) { o.Frames = groupcache.FramesOff }
	for want, c := range map[string]struct {
		asker, owner func(*groupcache.Options)
		around       func(http.Handler) http.Handler
		tried        string // result of the upgrade
	}{
		"frames":      {tried: "ok"},
		"off":         {asker: off},
		"not_offered": {owner: off},
		"not_let_through": {around: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Upgrade")
				h.ServeHTTP(w, r)
			})
		}, tried: "not_let_through"},
	} {
		t.Run(want, func(t *testing.T) {
			s := newSource()
			owner, asker := startNode(t, s, c.owner), startNode(t, s, c.asker)
			if c.around != nil {
				owner.behind(c.around)
			}
			if err := asker.instance.SetPeers(owner.url); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the peers know each other", asker.instance.Acquainted)
			eventually(t, "it is said", func() bool { return asker.route() == want })
			if got := asker.metric(t, "peer_route", "route", want); got != 1 {
				t.Errorf("the metric says %v", got)
			}
			lines := 0.0
			if want == "frames" {
				lines = 1
			}
			eventually(t, "both ends count it", func() bool {
				return asker.metric(t, "frames_connections", "direction", "out") == lines &&
					owner.metric(t, "frames_connections", "direction", "in") == lines &&
					owner.metric(t, "frames_served_upgrades_total", "result", "ok") == lines
			})
			eventually(t, "the upgrade that was tried is counted", func() bool {
				return c.tried == "" || asker.metric(t, "frames_upgrades_total", "result", c.tried) >= 1
			})
			if v, err := get(t.Context(), asker.group, "k"); err != nil || v != "value of k" {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
}

// A peer whose connections ended again and again was asked by frames again after a moment, for
// ever: whatever was under way was lost each time.
func TestAPeerWhoseConnectionsEndAgainAndAgainIsAskedOverHTTP(t *testing.T) {
	asker, owner, w := behindWire(t, newSource(), nil)
	for range 4 {
		w.cutFrames(t, asker)
	}
	eventually(t, "it is unsteady", func() bool { return asker.route() == "unsteady" })
	if n := asker.framesLost(t); n != 4 {
		t.Errorf("%v connections were lost, want 4", n)
	}
	for i := range 20 {
		if v, err := get(t.Context(), asker.group, fmt.Sprint(i)); err != nil || v != fmt.Sprint("value of ", i) {
			t.Fatalf("%q, %v", v, err)
		}
		asker.instance.GreetAgain() // which wishes for another connection
	}
	time.Sleep(time.Second) // longer than another connection would have taken
	if asker.route() != "unsteady" || owner.group.Stats.ServerRequests.Get() == 0 {
		t.Errorf("%s, %d requests", asker.route(), owner.group.Stats.ServerRequests.Get())
	}
}

// Connections that end in good order, or with what is no peer's word, are counted as such.
func TestWhyConnectionsForFramesEndIsSaid(t *testing.T) {
	c := startCluster(t, 2, nil)
	framed(t, c.nodes...)
	asker, owner := c.nodes[1], c.nodes[0]
	if err := owner.server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	eventually(t, "it has ended", func() bool { return asker.metric(t, "frames_ended_total", "reason", "left") == 1 })
	eventually(t, "nothing is there", func() bool { return asker.route() == "no_connection" })
}
