package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Three nodes find each other by etcd, answer alike, and lose nothing when one of them leaves and
// one dies.
func TestThreeNodes(t *testing.T) {
	etcd := testutil.StartEtcd(t)
	var nodes []*node
	var servers []*httptest.Server
	for range 3 {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n, err := startNode(t.Context(), options{self: l.Addr().String(), etcd: etcd.Addr(), grace: time.Millisecond}, l)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
		s := httptest.NewServer(n.handler())
		defer s.Close()
		servers = append(servers, s)
	}
	defer func() {
		for _, n := range nodes[:2] {
			if err := n.discovery.Close(); err != nil {
				t.Error(err)
			}
			if err := n.stop(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}()
	defer http.DefaultClient.CloseIdleConnections()
	for _, n := range nodes {
		n.awaitPeers(t, 3)
	}
	loaded := make(map[string]string)
	for i := range 8 {
		path := fmt.Sprint("/user/", i+1)
		first := ask(t, servers[i%3].URL+path)
		alike := true
		for _, s := range servers {
			got := ask(t, s.URL+path)
			if !strings.HasPrefix(got, "user ") {
				t.Errorf("%s: %q", path, got)
			}
			alike = alike && got == first
		}
		if alike {
			loaded[path] = first
		}
	}
	if len(loaded) < 4 { // a busy machine makes a node silent, and another loads in its place
		t.Errorf("%d users of 8 are the same at all nodes: %q", len(loaded), loaded)
	}
	if got := ask(t, servers[1].URL+"/user/0"); got != "no user 0\n" {
		t.Errorf("%q", got)
	}
	if err := nodes[2].leave(t.Context()); err != nil {
		t.Error(err)
	}
	if err := nodes[2].stop(t.Context()); err != nil {
		t.Error(err)
	}
	for _, n := range nodes[:2] {
		n.awaitPeers(t, 2)
	}
	again := 0
	for path, want := range loaded {
		if got := ask(t, servers[0].URL+path); got != want {
			t.Logf("%s: %q was loaded again as %q", path, want, got)
			again++
		}
	}
	if again > len(loaded)/2 {
		t.Errorf("%d users of %d were loaded again when a node left", again, len(loaded))
	}
	if got := ask(t, servers[0].URL+"/metrics"); !strings.Contains(got, `holdfast_groupcache_gets_total{client="groupcache`) || !strings.Contains(got, "holdfast_groupcache_etcd_peers{") {
		t.Errorf("the metrics are %q", got)
	}
	_ = nodes[1].network.Close()
	for i := range 3 {
		if got := ask(t, servers[0].URL+fmt.Sprint("/user/", i+101)); !strings.HasPrefix(got, "user ") {
			t.Errorf("with a dead node: %q", got)
		}
	}
}

func (n *node) awaitPeers(t *testing.T, want int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		d := n.cache.Debug()
		ours := 0
		for _, p := range d.Peers {
			if p.Self || p.Ours {
				ours++
			}
		}
		if ours == want && len(d.Peers) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s knows %+v after 20 s", n.options.self, d.Peers)
		}
	}
}

func ask(t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPorts(t *testing.T) {
	if port, err := portOf("10.0.0.1:6324"); port != 6324 || err != nil {
		t.Errorf("%d, %v", port, err)
	}
	if _, err := portOf("10.0.0.1"); err == nil {
		t.Error("an address without a port was taken")
	}
}
