package groupcache_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/holdfast-go/holdfast/groupcache"
)

func TestMetrics(t *testing.T) {
	c := startCluster(t, 2, func(o *groupcache.Options) { o.Name = "test " + o.Self })
	registry := prometheus.NewPedanticRegistry()
	for _, n := range c.nodes {
		if err := registry.Register(n.instance); err != nil {
			t.Fatal(err)
		}
	}
	asker, owner := c.nodes[1], c.nodes[0]
	key := c.ownedBy(t, owner)
	for range 3 {
		if _, err := get(t.Context(), asker.group, key); err != nil {
			t.Fatal(err)
		}
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	response := httptest.NewRecorder()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			_, _ = response.WriteString(f.GetName() + "{")
			for _, l := range m.GetLabel() {
				_, _ = response.WriteString(l.GetName() + "=" + l.GetValue() + ",")
			}
			_, _ = response.WriteString("} " + strings.TrimSpace(m.String()) + "\n")
		}
	}
	text := response.Body.String()
	for _, want := range []string{
		"holdfast_groupcache_gets_total{client=test " + asker.url + ",group=g,} ",
		"holdfast_groupcache_hits_total{client=test " + asker.url + ",group=g,tier=hot,",
		"holdfast_groupcache_peer_requests_total{client=test " + asker.url + ",endpoint=" + owner.url + ",result=ok,}",
		"holdfast_groupcache_peers{client=test " + asker.url + ",state=up,}",
		"holdfast_breaker_state{client=test " + asker.url + ",endpoint=" + owner.url + ",kind=groupcache,",
		"holdfast_groupcache_load_duration_seconds{client=test " + owner.url,
		"holdfast_groupcache_value_size_bytes{client=test " + owner.url,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	hits := 0.0
	for _, f := range families {
		if f.GetName() != "holdfast_groupcache_hits_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			hits += m.GetCounter().GetValue()
		}
	}
	if hits != 2 {
		t.Errorf("%v hits, want 2", hits)
	}
}

// Groups may have any name; one that is no UTF-8 must not take the other metrics along.
func TestAnyNameCanBeScraped(t *testing.T) {
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	for _, name := range []string{"users", "\xff\xfe", "a\nb", ""} {
		if _, err := i.NewGroup(name, 1<<20, newSource()); err != nil {
			t.Fatal(err)
		}
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(i); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(registry, "holdfast_groupcache_gets_total"); n != 4 || err != nil {
		t.Errorf("%d groups, %v", n, err)
	}
}

func TestInstancesHaveNamesOfTheirOwn(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 3 {
		i, err := groupcache.New(groupcache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = i.Close() }()
		if err := registry.Register(i); err != nil {
			t.Error(err)
		}
	}
}

func TestDebugHandler(t *testing.T) {
	c := startCluster(t, 2, func(o *groupcache.Options) { o.DebugKeys = o.Self[len(o.Self)-1]%2 == 0 })
	const secret = "<b>key of a person</b>"
	for _, n := range c.nodes {
		if _, err := get(t.Context(), n.group, secret); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.nodes {
		page := httptest.NewRecorder()
		n.instance.DebugHandler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/", nil))
		for _, want := range []string{c.nodes[0].url, c.nodes[1].url, "<td>g</td>", ">up<"} {
			if !strings.Contains(page.Body.String(), want) {
				t.Errorf("%q is not on the page", want)
			}
		}
		if strings.Contains(page.Body.String(), "<b>key") {
			t.Error("a key is not escaped")
		}
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("Accept", "application/json")
		machine := httptest.NewRecorder()
		n.instance.DebugHandler().ServeHTTP(machine, request)
		var d groupcache.Debug
		if err := json.Unmarshal(machine.Body.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		if len(d.Peers) != 2 || len(d.Groups) != 1 || d.Self != n.url || d.Groups[0].Gets == 0 {
			t.Errorf("%+v", d)
		}
		if share := d.Peers[0].Share + d.Peers[1].Share; share < 0.99 || share > 1.01 {
			t.Errorf("the shares are %v in all", share)
		}
		allowed := n.url[len(n.url)-1]%2 == 0
		if shown := len(d.Groups[0].Hottest) > 0; shown && !allowed {
			t.Error("keys are shown, and nobody allowed it")
		} else if n.instance.Owns(secret) && allowed && !shown {
			t.Error("no keys are shown")
		}
	}
}

// A constructor's error that nobody looked at ended in a crash without a word.
func TestANilCollectorSaysWhatIsWrong(t *testing.T) {
	var none *groupcache.Instance
	err := prometheus.NewRegistry().Register(none)
	if err == nil || !strings.Contains(err.Error(), "groupcache: nil *Instance: check the error of New before") {
		t.Errorf("Register: %v", err)
	}
	ch := make(chan prometheus.Metric, 1)
	none.Collect(ch)
	if err := (<-ch).Write(nil); err == nil || !strings.Contains(err.Error(), "groupcache: nil *Instance") {
		t.Errorf("Collect: %v", err)
	}
}

// Two peers whose addresses are long, and alike at first, spoiled the whole scrape; the password of
// a peer was a label.
func TestPeersAreToldApartWithoutTheirPasswords(t *testing.T) {
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(i)
	long := "http://127.0.0.1:1" + strings.Repeat("/long", 60)
	if err := i.SetPeers(long+"/a", long+"/b", "http://user:secret@127.0.0.1:1", "http://[::1]:1"); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	endpoints := make(map[string]map[string]bool)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() != "endpoint" {
					continue
				}
				if endpoints[f.GetName()] == nil {
					endpoints[f.GetName()] = make(map[string]bool)
				}
				endpoints[f.GetName()][l.GetValue()] = true
				if strings.Contains(l.GetValue(), "secret") {
					t.Errorf("a password is in %v", m)
				}
			}
		}
	}
	ours, breakers := endpoints["holdfast_groupcache_peer_requests_inflight"], endpoints["holdfast_breaker_state"]
	if len(ours) != 4 || !maps.Equal(ours, breakers) {
		t.Errorf("the peers are %v, their breakers %v", ours, breakers)
	}
	if text := fmt.Sprintf("%+v", i.Debug().Peers); strings.Contains(text, "secret") {
		t.Errorf("a password is on the page: %s", text)
	}
}

// Groups and peers cost so many series in each process: in a cluster of a hundred that is a hundred
// times a hundred peers.
func TestSeriesOfGroupsAndPeers(t *testing.T) {
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(i)
	series := func() int {
		n, err := testutil.GatherAndCount(registry)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	none := series()
	if _, err := i.NewGroup("g", 1<<20, newSource()); err != nil {
		t.Fatal(err)
	}
	group := series() - none
	if err := i.SetPeers("http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is found down", func() bool { return i.Debug().Peers[0].State != "closed" })
	if peer := series() - none - group; group != 16 || peer != 21 {
		t.Errorf("a group costs %d series, a peer that is down %d; want 16 and 21", group, peer)
	}
}

// A scrape while a group was taken away counted it twice, so that counters fell at the next.
func TestCountersDoNotFallWhenAGroupIsTakenAway(t *testing.T) {
	n := startNode(t, newSource(), func(o *groupcache.Options) { o.Name = "n" })
	refused := func() float64 {
		return testutil.ToFloat64(only{n.instance, "holdfast_groupcache_refused_values_total"})
	}
	create := func(name string) *groupcache.Group {
		g, err := n.instance.NewGroup(name, 1<<10, groupcache.GetterFunc(func(_ context.Context, _ string, dest groupcache.Sink) error {
			return dest.SetString(strings.Repeat("v", 2<<10), time.Time{}) // too large to be kept
		}))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	for i := range 200 { // that a scrape takes a while for
		create(fmt.Sprint("stays ", i))
	}
	for round := range 60 {
		g := create("comes and goes")
		if _, err := get(t.Context(), g, "a"); err != nil {
			t.Fatal(err)
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for began := time.Now(); time.Since(began) < time.Duration(round)*2*time.Microsecond; {
			}
			n.instance.Deregister("comes and goes")
		}()
		during := refused()
		<-gone
		if after := refused(); after < during || after != float64(round+1) {
			t.Fatalf("%v values were refused, then %v, want %d", during, after, round+1)
		}
	}
}

// only is a collector without all metrics of other names, at which a registry would look, too.
type only struct {
	prometheus.Collector
	name string
}

func (o only) Collect(ch chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric, 1000) // as many as a registry has
	go func() {
		defer close(all)
		o.Collector.Collect(all)
	}()
	named := make(map[*prometheus.Desc]bool)
	for m := range all {
		has, known := named[m.Desc()]
		if !known {
			has = strings.Contains(m.Desc().String(), fmt.Sprintf("%q", o.name))
			named[m.Desc()] = has
		}
		if has {
			ch <- m
		}
	}
}
