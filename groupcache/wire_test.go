package groupcache_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-go/holdfast/groupcache"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// answer is what a peer has answered.
type answer struct {
	code   int
	header http.Header
	body   string
}

// ask sends a request as an old peer does, without our headers.
func ask(t *testing.T, method, address string, body []byte) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(content)}
}

// What an old peer sees of ours, byte by byte.
func TestAnswersToOldPeers(t *testing.T) {
	s := newSource()
	expire := time.Unix(0, 1234567890123456789)
	s.answer = func(_ context.Context, key string) (string, error) {
		switch key {
		case "absent":
			return "", &groupcache.ErrNotFound{Msg: "no such user"}
		case "bad":
			return "", errors.New("no database")
		}
		return "value of " + key, nil
	}
	n := startNode(t, groupcache.GetterFunc(func(ctx context.Context, key string, dest groupcache.Sink) error {
		if key == "expiring" {
			return dest.SetString("v", expire)
		}
		return s.Get(ctx, key, dest)
	}), nil)
	const plain = "text/plain; charset=utf-8"
	for _, c := range []struct {
		method, path, body string
		code               int
		kind, answer       string // the answer in hex if the kind is protobuf
	}{
		{"GET", "g/a", "", 200, "application/x-protobuf", "0a0a76616c7565206f662061"},
		{"GET", "g/a%2Fb%20c", "", 200, "application/x-protobuf", "0a0e76616c7565206f6620612f622063"},
		{"GET", "g/expiring", "", 200, "application/x-protobuf", "0a0176189582a6efc79e849111"},
		{"GET", "g/absent", "", 404, plain, "no such user\n"},
		{"GET", "g/bad", "", 503, plain, "no database\n"},
		{"GET", "h/a", "", 500, plain, "no such group: \"h\"\n"},
		{"DELETE", "g/a", "", 200, "", ""},
		{"PUT", "g/k", "\x0a\x01g\x12\x01k\x1a\x03new", 200, "", ""},
		{"GET", "g/k", "", 200, "application/x-protobuf", "0a036e6577"},
		{"PUT", "g/k", "\x0a\x01g\x12\x01k\x1a\xff", 400, plain, ""},
		{"PUT", "h/k", "\x0a\x01h\x12\x01k\x1a\x03new", 500, plain, "no such group: \"h\"\n"},
		{"GET", "", "", 400, plain, ""},
		{"GET", "g", "", 400, plain, ""},
		{"PATCH", "g/a", "", 405, plain, ""},
		{"HEAD", "g/a", "", 405, plain, ""},
	} {
		a := ask(t, c.method, n.url+"/_groupcache/"+c.path, []byte(c.body))
		got, kind := a.body, a.header.Get("Content-Type")
		if c.kind == "application/x-protobuf" {
			got = hex.EncodeToString([]byte(got))
		}
		if a.code != c.code || kind != c.kind || c.answer != "" && got != c.answer {
			t.Errorf("%s %s: %d %q %q, want %d %q %q", c.method, c.path, a.code, kind, got, c.code, c.kind, c.answer)
		}
		if c.code != 200 && a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: without nosniff", c.method, c.path)
		}
	}
	if a := ask(t, "GET", n.url+"/elsewhere/g/a", nil); a.code != 404 || a.header.Get("X-Content-Type-Options") != "" {
		t.Errorf("a foreign path: %d; an old peer would take it for a getter's answer", a.code)
	}
}

func TestBadRequestsAreNotEchoed(t *testing.T) {
	n := startNode(t, newSource(), func(o *groupcache.Options) { o.MaxValueSize = 1000 })
	secret := "<script>alert(1)</script>"
	for _, c := range []struct{ method, path, body string }{
		{"GET", url.PathEscape(secret), ""},
		{"PUT", "g/" + url.PathEscape(secret), secret},
		{"POST", "g/", secret},
		{secret[1:7], "g/a", ""},
	} {
		a := ask(t, c.method, n.url+"/_groupcache/"+c.path, []byte(c.body))
		if a.code < 400 || strings.Contains(a.body, "<script>") {
			t.Errorf("%s %q: %d %q", c.method, c.path, a.code, a.body)
		}
	}
	if a := ask(t, "PUT", n.url+"/_groupcache/g/a", make([]byte, 1<<20)); a.code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", a.code)
	}
	big, err := proto.Marshal(&pb.SetRequest{Group: proto.String("g"), Key: proto.String("a"), Value: make([]byte, 1001)})
	if err != nil {
		t.Fatal(err)
	}
	if a := ask(t, "PUT", n.url+"/_groupcache/g/a", big); a.code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large value: %d", a.code)
	}
}

// oldPeer answers as a peer of the original, and remembers what it was asked.
type oldPeer struct {
	mu       sync.Mutex
	requests []string // guarded by mu
	answers  map[string]func(http.ResponseWriter)
}

func (o *oldPeer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	o.mu.Lock()
	o.requests = append(o.requests, strings.TrimSpace(fmt.Sprintf("%s %s %x", r.Method, r.RequestURI, body)))
	o.mu.Unlock()
	if r.Method == http.MethodPut || r.Method == http.MethodDelete {
		return
	}
	if r.RequestURI == "/_groupcache/" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	o.answers[r.RequestURI](w)
}

// seen are the requests of the method.
func (o *oldPeer) seen(method string) (requests []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.requests {
		if strings.HasPrefix(r, method) {
			requests = append(requests, r)
		}
	}
	return requests
}

// What ours sends to an old peer, and makes of its answers.
func TestRequestsToOldPeers(t *testing.T) {
	old := &oldPeer{answers: map[string]func(http.ResponseWriter){
		"/_groupcache/g/found": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/x-protobuf")
			_, _ = w.Write([]byte("\x0a\x03old\x11\x00\x00\x00\x00\x00\x00\xf0?\x18\x95\x82\xa6\xef\xc7\x9e\x84\x91\x11"))
		},
		"/_groupcache/g/absent":       func(w http.ResponseWriter) { http.Error(w, "no such user", http.StatusNotFound) },
		"/_groupcache/g/bad":          func(w http.ResponseWriter) { http.Error(w, "no database", http.StatusServiceUnavailable) },
		"/_groupcache/g/nogroup":      func(w http.ResponseWriter) { http.Error(w, "no such group: g", http.StatusNotFound) },
		"/_groupcache/g/proxy":        func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"/_groupcache/g/html":         func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>welcome</html>") },
		"/_groupcache/g/a%2Fb%20+%25": func(w http.ResponseWriter) { http.Error(w, "escaped", http.StatusNotFound) },
	}}
	server := httptest.NewServer(old)
	defer server.Close()
	n := startNode(t, newSource(), nil)
	if err := n.instance.SetPeers(server.URL); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, value, err string }{
		{"found", "old", ""},
		{"absent", "", "no such user"},
		{"bad", "", "no database"},
		{"nogroup", "value of nogroup", ""},
		{"proxy", "value of proxy", ""},
		{"html", "value of html", ""},
		{"a/b +%", "", "escaped"},
	} {
		v, err := get(t.Context(), n.group, c.key)
		if v != c.value || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%q: %q, %v; want %q, %q", c.key, v, err, c.value, c.err)
		}
	}
	view, err := n.group.View(t.Context(), "found")
	if err != nil || view.Expire().UnixNano() != 1234567890123456789 {
		t.Errorf("expires at %v, %v", view.Expire(), err)
	}
	if err := n.group.Set(t.Context(), "k", []byte("new"), time.Unix(0, 5), true); err != nil {
		t.Error(err)
	}
	if err := n.group.Remove(t.Context(), "k l"); err != nil {
		t.Error(err)
	}
	if got, want := old.seen("PUT"), "PUT /_groupcache/g/k 0a016712016b1a036e65772005"; len(got) != 1 || got[0] != want {
		t.Errorf("Set sent %q, want %q", got, want)
	}
	if got, want := old.seen("DELETE"), "DELETE /_groupcache/g/k%20l"; len(got) != 1 || got[0] != want {
		t.Errorf("Remove sent %q, want %q", got, want)
	}
	if got := old.seen("POST"); len(got) != 0 {
		t.Errorf("an old peer was sent %q", got)
	}
	got, err := n.group.GetMulti(t.Context(), []string{"found", "absent"})
	if len(got) != 1 || err != nil {
		t.Errorf("GetMulti: %v, %v", got, err)
	}
}

// A peer that is loading says so to those who understand it, and only to them.
func TestSignsOfLife(t *testing.T) {
	testutil.AtSomePace(t, func(p *testutil.Pace) { showLife(t, p) })
}

func showLife(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	s := newSource()
	s.answer = func(context.Context, string) (string, error) {
		time.Sleep(pace.Longer(400 * time.Millisecond))
		return "slow", nil
	}
	adapt := func(o *groupcache.Options) { o.Silence = pace.Longer(250 * time.Millisecond) }
	server, client := startNode(t, s, adapt), startNode(t, s, adapt)
	if err := client.instance.SetPeers(server.url); err != nil {
		t.Fatal(err)
	}
	eventually(t, "acquainted", client.instance.Acquainted)
	for i := range 3 { // more than would make it count as down
		if v, err := get(t.Context(), client.group, fmt.Sprint(i)); v != "slow" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
	}
	if got := s.loads.Load(); got != 3 {
		pace.Errorf("%d loads: the peer was taken for dead while it was loading", got)
	}
	if up := client.instance.PeersUp(); up != 1 {
		pace.Errorf("the peer is down")
	}
}

func TestServerErrorHandler(t *testing.T) {
	s := newSource()
	s.answer = func(context.Context, string) (string, error) { return "", errors.New("secret") }
	server := startNode(t, s, func(o *groupcache.Options) {
		o.ServerErrorHandler = func(_ context.Context, w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "code 42: "+fmt.Sprint(err != nil), http.StatusTeapot)
		}
	})
	var seen error
	client := startNode(t, s, nil, groupcache.WithPeerErrorHandler(
		func(_ context.Context, _ *groupcache.Group, _, _ string, err error) (bool, error) {
			seen = err
			return false, err
		}))
	if err := client.instance.SetPeers(server.url); err != nil {
		t.Fatal(err)
	}
	_, err := get(t.Context(), client.group, "a")
	var remote groupcache.RemoteLoadError
	if !errors.As(seen, &remote) || remote.StatusCode != http.StatusTeapot || string(remote.Body) != "code 42: true" || !errors.Is(err, &groupcache.ErrRemoteCall{}) {
		t.Errorf("%#v", seen)
	}
}
