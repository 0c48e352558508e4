package groupcache_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// inZones are the options of nodes that are in these zones by turns. They do not ask former owners,
// nor be careful with what was written, as they do for a while after the ring has changed.
func inZones(adapt func(*groupcache.Options), zones ...string) func(*groupcache.Options) {
	next := 0
	return func(o *groupcache.Options) {
		adapt(o)
		o.Handover = -1
		o.Zone = zones[next%len(zones)]
		next++
	}
}

// byURL is the node at an address.
func (c *cluster) byURL(url string) *node {
	i := slices.IndexFunc(c.nodes, func(n *node) bool { return n.url == url })
	return c.nodes[i]
}

// zoned is a key, its owner, the two that stand in for it, and one more peer in the zone of each of
// these.
type zoned struct {
	key                  string
	owner, first, second *node
	nearFirst, nearOther *node
}

// zoned finds a key whose stand-ins are in two zones, among nodes that are in them by turns.
func (c *cluster) zoned(t *testing.T) (z zoned) {
	t.Helper()
	for _, n := range c.nodes {
		eventually(t, "zones are known", func() bool {
			for _, p := range n.instance.Debug().Peers {
				if !p.Self && p.Near != (n.instance.Zone() == c.byURL(p.URL).instance.Zone() && n.instance.Zone() != "") {
					return false
				}
			}
			return true
		})
	}
	zone := func(n *node) int { return slices.Index(c.nodes, n) % 2 }
	for i := range 1000 {
		z.key = strings.Repeat("k", i+1)
		asker := c.nodes[i%len(c.nodes)]
		ranks := asker.instance.Ranks(z.key)
		if slices.Contains(ranks, "") {
			continue
		}
		z.owner, z.first, z.second = c.byURL(ranks[0]), c.byURL(ranks[1]), c.byURL(ranks[2])
		if zone(z.first) == zone(z.second) {
			continue
		}
		z.nearFirst, z.nearOther = nil, nil
		for _, n := range c.nodes {
			switch {
			case n == z.owner, n == z.first, n == z.second:
			case zone(n) == zone(z.first):
				z.nearFirst = n
			default:
				z.nearOther = n
			}
		}
		if z.nearFirst != nil && z.nearOther != nil {
			return z
		}
	}
	t.Fatal("there is no such key")
	return z
}

func loadsOf(n *node) int64 { return n.group.Stats.LocalLoads.Get() }

// While an owner is away, callers ask those of its stand-ins that are in their own zone.
func TestStandInsOfTheCallersZoneComeFirst(t *testing.T) {
	check := func(t *testing.T, c *cluster) {
		t.Helper()
		z := c.zoned(t)
		z.owner.kill()
		for _, n := range []*node{z.nearFirst, z.nearOther} {
			if v, err := get(t.Context(), n.group, z.key); v != "value of "+z.key || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		}
		if first, second := loadsOf(z.first), loadsOf(z.second); first != 1 || second != 1 {
			t.Errorf("the stand-ins loaded %d and %d times, want each once, for its own zone", first, second)
		}
	}
	eachWay(t, func(t *testing.T, by way) { check(t, by.cluster(t, 6, inZones(patient, "a", "b"))) })
	for what, adapt := range secrets {
		t.Run(what, func(t *testing.T) { check(t, startCluster(t, 6, byHTTP(inZones(adapt, "a", "b")))) })
	}
}

// Zones change nothing while owners are there, nor where a zone has no stand-in, or peers have
// none.
func TestWithoutAStandInInTheZoneTheRingDecides(t *testing.T) {
	for what, adapt := range map[string]func(*groupcache.Options){
		"no zones":           inZones(patient, ""),
		"zones of their own": inZones(patient, "a", "b", "c", "d", "e", "f"),
	} {
		c := startCluster(t, 6, byHTTP(adapt))
		z := c.zoned(t)
		if _, err := get(t.Context(), z.nearOther.group, z.key); err != nil || loadsOf(z.owner) != 1 {
			t.Errorf("%s: %v, %d loads of the owner", what, err, loadsOf(z.owner))
		}
		z.owner.kill()
		for _, n := range c.nodes {
			n.group.DropHot()
		}
		for _, n := range []*node{z.nearFirst, z.nearOther} {
			if _, err := get(t.Context(), n.group, z.key); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if first, second := loadsOf(z.first), loadsOf(z.second); first != 1 || second != 0 {
			t.Errorf("%s: the stand-ins loaded %d and %d times, want the first of the ring alone", what, first, second)
		}
	}
}

// A write reaches the stand-ins of all zones before those that ask them: told earlier, one of these
// would get the old value from its stand-in, and keep it.
func TestAWriteReachesTheStandInsOfAllZonesFirst(t *testing.T) {
	for _, at := range []string{"the first", "the second"} {
		c := startCluster(t, 6, byHTTP(inZones(patient, "a", "b")))
		z := c.zoned(t)
		standIn, asker, writer := z.first, z.nearFirst, z.nearOther
		if at == "the second" {
			standIn, asker, writer = z.second, z.nearOther, z.nearFirst
		}
		z.owner.behind(refuses(http.StatusBadGateway, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/g/") && r.Method == http.MethodGet }))
		c.source.answer = func(context.Context, string) (string, error) { return "old", nil }
		read := func() string {
			v, err := get(t.Context(), asker.group, z.key)
			if err != nil {
				t.Error(err)
			}
			return v
		}
		if v := read(); v != "old" || loadsOf(standIn) != 1 {
			t.Fatalf("%s: %q, and the stand-in loaded %d times", at, v, loadsOf(standIn))
		}
		held := func() {
			time.Sleep(50 * time.Millisecond) // for those that are told at the same time
			asker.group.DropHot()
			read()
		}
		standIn.hold.Store(&held)
		c.source.answer = func(context.Context, string) (string, error) { return "new", nil }
		if err := writer.group.Remove(t.Context(), z.key); err != nil {
			t.Errorf("%s: Remove: %v", at, err)
		}
		if v := read(); v != "new" {
			t.Errorf("%s: %q after Remove", at, v)
		}
	}
}

// What other versions do not know is said to those that ask for it, and to nobody without a zone.
func TestZonesAreSaidToThoseThatHaveOne(t *testing.T) {
	for _, c := range []struct{ own, asker, want string }{{"a", "b", "a"}, {"a", "", ""}, {"", "b", ""}} {
		n := startNode(t, newSource(), func(o *groupcache.Options) { o.Zone = c.own })
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, n.url+"/_groupcache/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.asker != "" {
			r.Header.Set("X-Holdfast-Zone", c.asker)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get("X-Holdfast-Zone"); got != c.want {
			t.Errorf("zone %q, asked from %q: %q, want %q", c.own, c.asker, got, c.want)
		}
	}
}

// A proof covers the zone: who is on the way cannot change it, and those without zones are believed
// by those with, and the other way round.
func TestAForgedZoneIsNotBelieved(t *testing.T) {
	secret := secrets["a secret"]
	forged := func(zone string) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(zoneForger{w, zone}, r)
			})
		}
	}
	for what, c := range map[string]struct {
		zones  []string
		around func(http.Handler) http.Handler
		up     bool
	}{
		"nothing on the way":     {[]string{"a", "b"}, nil, true},
		"an asker without":       {[]string{"a", ""}, nil, true},
		"an answerer without":    {[]string{"", "a"}, nil, true},
		"another zone":           {[]string{"a", "b"}, forged("b"), false},
		"none":                   {[]string{"a", "b"}, forged(""), false},
		"one of those with none": {[]string{"", "b"}, forged("b"), false},
	} {
		cl := &cluster{source: newSource()}
		adapt := inZones(secret, c.zones...)
		for range 2 {
			cl.nodes = append(cl.nodes, startNode(t, cl.source, adapt))
		}
		if c.around != nil {
			cl.nodes[0].behind(c.around)
		}
		asker := cl.nodes[1]
		if err := asker.instance.SetPeers(cl.nodes[0].url, asker.url); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the peer is greeted, or found to be none", func() bool {
			if c.up {
				return asker.instance.Acquainted()
			}
			return asker.instance.PeersUp() == 0
		})
		for _, p := range asker.instance.Debug().Peers {
			if !p.Self && (p.Ours != c.up || p.Near) {
				t.Errorf("%s: believed %v, near %v; want %v and not near", what, p.Ours, p.Near, c.up)
			}
		}
	}
}

// zoneForger changes the zone in the head of answers.
type zoneForger struct {
	http.ResponseWriter
	zone string
}

func (f zoneForger) WriteHeader(code int) {
	if code >= http.StatusOK {
		f.Header().Del("X-Holdfast-Zone")
		if f.zone != "" {
			f.Header().Set("X-Holdfast-Zone", f.zone)
		}
	}
	f.ResponseWriter.WriteHeader(code)
}

func (f zoneForger) Unwrap() http.ResponseWriter { return f.ResponseWriter }

func TestAZoneIsASmallWord(t *testing.T) {
	for zone, ok := range map[string]bool{
		"": true, "eu-west-1a": true, strings.Repeat("z", 64): true,
		strings.Repeat("z", 65): false, "a b": false, "a\nb": false, "zürich": false,
	} {
		i, err := groupcache.New(groupcache.Options{Zone: zone})
		if (err == nil) != ok {
			t.Errorf("zone %q: %v", zone, err)
		}
		if err == nil {
			_ = i.Close()
		}
	}
}
