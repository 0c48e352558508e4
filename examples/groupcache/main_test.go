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

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Three nodes answer alike, also when one of them is gone.
func TestThreeNodes(t *testing.T) {
	var listeners []net.Listener
	var addresses []string
	for range 3 {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners, addresses = append(listeners, l), append(addresses, l.Addr().String())
	}
	var servers, forPeers []*httptest.Server
	for i, l := range listeners {
		n, err := newNode(addresses[i], addresses, []byte("a secret of the test"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.cache.Close() }()
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: n.peers}}
		s.Start()
		defer s.Close()
		forPeers = append(forPeers, s)
		users := httptest.NewServer(n.users)
		defer users.Close()
		servers = append(servers, users)
	}
	defer http.DefaultClient.CloseIdleConnections()
	answers := make(map[string]string)
	for id := 42; !alike(t, servers, fmt.Sprint(id), answers); id++ { // a busy machine makes a node silent, and another loads in its place
		if id == 52 {
			t.Fatalf("no user of ten is the same at all nodes: %q", answers)
		}
	}
	for _, s := range servers {
		if got := ask(t, s.URL+"/user/0"); got != "no user 0" && got != "no user 0\n" {
			t.Errorf("%q", got)
		}
		if got := ask(t, s.URL+"/debug/groupcache"); !strings.Contains(got, "users") || !strings.Contains(got, addresses[2]) {
			t.Errorf("the debug page is %q", got)
		}
		if got := ask(t, s.URL+"/metrics"); !strings.Contains(got, `holdfast_groupcache_gets_total{client="groupcache`) {
			t.Errorf("the metrics are %q", got)
		}
	}
	if got := ask(t, servers[0].URL+"/_groupcache/users/42"); !strings.Contains(got, "not found") {
		t.Errorf("users are served as peers: %q", got)
	}
	if got := ask(t, forPeers[0].URL+"/_groupcache/users/42"); !strings.Contains(got, "Unauthorized") {
		t.Errorf("who does not know the secret gets %q", got)
	}
	forPeers[2].Close()
	for _, id := range []string{"1", "2", "3"} {
		if got := ask(t, servers[0].URL+"/user/"+id); !strings.HasPrefix(got, "user "+id) {
			t.Errorf("with two nodes: %q", got)
		}
	}
}

// alike asks all nodes for a user, notes what they say, and reports whether that is the same.
func alike(t *testing.T, servers []*httptest.Server, id string, answers map[string]string) bool {
	t.Helper()
	same := true
	for i, s := range servers {
		got := ask(t, s.URL+"/user/"+id)
		if !strings.HasPrefix(got, "user "+id+", loaded at ") {
			t.Errorf("%q", got)
		}
		same = same && (i == 0 || got == answers[id])
		answers[id] = got
	}
	return same
}

func ask(t *testing.T, address string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, address, nil)
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
