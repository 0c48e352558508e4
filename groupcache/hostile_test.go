package groupcache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-go/holdfast/groupcache"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
)

// sent is a request or an answer as somebody on the way has seen it.
type sent struct {
	method, path string
	code         int
	header       http.Header
	body         []byte
}

// tap is an attacker on the way to a process that keeps all requests, and may hold them back.
type tap struct {
	mu       sync.Mutex
	requests []sent                          // guarded by mu
	hold     func(*http.Request) bool        // what is kept and not passed on; guarded by mu
	change   func(sent, http.ResponseWriter) // answers in the place of the process; guarded by mu
}

func (p *tap) around(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.mu.Lock()
		p.requests = append(p.requests, sent{r.Method, r.URL.EscapedPath(), 0, r.Header.Clone(), body})
		held, change := p.hold != nil && p.hold(r), p.change
		p.mu.Unlock()
		if held {
			<-r.Context().Done()
			return
		}
		if change == nil {
			h.ServeHTTP(w, r)
			return
		}
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, r)
		change(sent{r.Method, r.URL.EscapedPath(), recorder.Code, recorder.Header(), recorder.Body.Bytes()}, w)
	})
}

func (p *tap) with(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// taken are the requests of a method for keys.
func (p *tap) taken(method string) (all []sent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.requests {
		if s.method == method && !strings.HasSuffix(s.path, "/_groupcache/") {
			all = append(all, s)
		}
	}
	return all
}

// to sends a request that was seen to a process, and returns the status of the answer.
func (s sent) to(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), s.method, url+s.path, bytes.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = s.header.Clone()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// proofHeader is where requests and answers prove who they come from: version, time, session,
// number, floor, target, digest, signature.
const proofHeader = "X-Holdfast-Proof"

func (s sent) with(field int, value string) sent {
	f := strings.Split(s.header.Get(proofHeader), " ")
	f[field] = value
	s.header = s.header.Clone()
	s.header.Set(proofHeader, strings.Join(f, " "))
	return s
}

func startGuarded(t *testing.T, n int, auth groupcache.Auth) (*cluster, []*tap) {
	t.Helper()
	c := startCluster(t, n, func(o *groupcache.Options) {
		overHTTP(o)
		o.Auth, o.Secret, o.Handover = auth, []byte("0123456789abcdef"), -1
	})
	taps := make([]*tap, n)
	for i, node := range c.nodes {
		taps[i] = &tap{}
		node.behind(taps[i].around)
	}
	return c, taps
}

// A signed request could be sent again, to any peer, for 30 s: it brought back what had been
// removed.
func TestAMessageThatWasSeenChangesNothing(t *testing.T) {
	c, taps := startGuarded(t, 3, groupcache.AuthRequire)
	owner, asker, third := c.nodes[0], c.nodes[1], c.nodes[2]
	key := c.ownedBy(t, owner)
	if err := asker.group.Set(t.Context(), key, []byte("old"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	if err := asker.group.Remove(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	puts, removals := taps[0].taken(http.MethodPut), taps[0].taken(http.MethodDelete)
	if len(puts) != 1 || len(removals) != 1 {
		t.Fatalf("%d PUTs, %d DELETEs were seen", len(puts), len(removals))
	}
	put := puts[0]
	moved := put
	moved.path = strings.Replace(put.path, "/g/", "/h/", 1)
	other := put
	other.body = append(slices.Clone(put.body), put.body...)
	asDelete := put
	asDelete.method = http.MethodDelete
	unsigned := put
	unsigned.header = put.header.Clone()
	unsigned.header.Del(proofHeader)
	now := time.Now().Unix()
	for what, s := range map[string]sent{
		"replayed": put, "another path": moved, "another body": other, "another method": asDelete, "unsigned": unsigned,
		"another number": put.with(3, "1000000"), "another session": put.with(2, "x"), "another floor": put.with(4, "0x"), "no target": put.with(5, "-"),
		"later": put.with(1, strconv.FormatInt(now+5, 10)), "a digest of another body": put.with(6, strings.Repeat("0", 64)),
		"no signature": put.with(7, ""), "another version": put.with(0, "1"), "one field": {put.method, put.path, 0, http.Header{proofHeader: {"2"}}, put.body},
	} {
		if code := s.to(t, owner.url); code != http.StatusUnauthorized {
			t.Errorf("%s: %d", what, code)
		}
	}
	for _, n := range []*node{asker, third} {
		if code := put.to(t, n.url); code != http.StatusUnauthorized {
			t.Errorf("redirected: %d", code)
		}
	}
	c.source.answer = func(context.Context, string) (string, error) { return "fresh", nil }
	for _, n := range c.nodes {
		if v, err := get(t.Context(), n.group, key); v != "fresh" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
	}
	if code := removals[0].to(t, owner.url); code != http.StatusUnauthorized || c.source.loads.Load() != 1 {
		t.Errorf("a removal that is replayed: %d, %d loads", code, c.source.loads.Load())
	}
	forget := sent{http.MethodDelete, "/_groupcache/", 0, removals[0].header, nil}
	if code := forget.to(t, owner.url); code != http.StatusUnauthorized {
		t.Errorf("Forget: %d", code)
	}
}

// A write that was held back until its sender had given it up, and had gone on, came into effect.
func TestAMessageThatWasHeldBackChangesNothing(t *testing.T) {
	c, taps := startGuarded(t, 2, groupcache.AuthRequire)
	owner, asker := c.nodes[0], c.nodes[1]
	key := c.ownedBy(t, owner)
	first := true
	taps[0].with(func() {
		taps[0].hold = func(r *http.Request) bool {
			held := first && r.Method == http.MethodPut
			first = first && !held
			return held
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan error, 1)
	group := asker.instance.PeerPicker().GetAll()
	go func() {
		for _, p := range group {
			if set, ok := p.(interface {
				Set(context.Context, *pb.SetRequest) error
			}); ok && p.GetURL() == owner.url {
				name := "g"
				written <- set.Set(ctx, &pb.SetRequest{Group: &name, Key: &key, Value: []byte("held")})
			}
		}
	}()
	eventually(t, "the write is held", func() bool { return len(taps[0].taken(http.MethodPut)) == 1 })
	cancel()
	if err := <-written; !errors.Is(err, context.Canceled) {
		t.Errorf("the write: %v", err)
	}
	if err := asker.group.Set(t.Context(), key, []byte("new"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	if code := taps[0].taken(http.MethodPut)[0].to(t, owner.url); code != http.StatusUnauthorized {
		t.Errorf("held back: %d", code)
	}
	if v, err := get(t.Context(), owner.group, key); v != "new" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

// What answered at a peer's address was believed, whoever it was.
func TestAnImpostorIsNotBelieved(t *testing.T) {
	forged, err := proto.Marshal(&pb.GetResponse{Value: []byte("forged")})
	if err != nil {
		t.Fatal(err)
	}
	reply := func(w http.ResponseWriter, header http.Header, code int, body []byte) {
		maps.Copy(w.Header(), header)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(code)
		_, _ = w.Write(body)
	}
	for what, change := range map[string]func(seen []sent, s sent, w http.ResponseWriter){
		"that has no secret": func(_ []sent, _ sent, w http.ResponseWriter) {
			reply(w, http.Header{"X-Holdfast-Groupcache": {"1"}, "Content-Type": {"application/x-protobuf"}}, http.StatusOK, forged)
		},
		"of the original": func(_ []sent, _ sent, w http.ResponseWriter) {
			reply(w, http.Header{"Content-Type": {"application/x-protobuf"}}, http.StatusOK, forged)
		},
		"that changes the body": func(_ []sent, s sent, w http.ResponseWriter) {
			reply(w, s.header, s.code, bytes.ReplaceAll(s.body, []byte("genuine"), []byte("forged!")))
		},
		"that changes the status": func(_ []sent, s sent, w http.ResponseWriter) {
			s.header.Set("X-Holdfast-Status", "404")
			reply(w, s.header, http.StatusNotFound, s.body)
		},
		"that repeats an answer": func(seen []sent, s sent, w http.ResponseWriter) {
			for _, old := range seen {
				if old.method == s.method {
					s = old
				}
			}
			reply(w, s.header, s.code, s.body)
		},
		"that says nothing was found": func(_ []sent, _ sent, w http.ResponseWriter) {
			reply(w, http.Header{"X-Holdfast-Groupcache": {"1"}, "Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}}, 404, []byte("no"))
		},
		"that refuses all": func(_ []sent, _ sent, w http.ResponseWriter) {
			reply(w, http.Header{"X-Holdfast-Groupcache": {"refused"}}, http.StatusBadRequest, nil)
		},
		"that takes all": func(_ []sent, _ sent, w http.ResponseWriter) {
			reply(w, http.Header{"X-Holdfast-Groupcache": {"1"}}, http.StatusOK, nil)
		},
	} {
		t.Run(what, func(t *testing.T) {
			c, taps := startGuarded(t, 2, groupcache.AuthRequire)
			owner, asker := c.nodes[0], c.nodes[1]
			c.source.answer = func(context.Context, string) (string, error) { return "genuine", nil }
			var mu sync.Mutex
			var seen []sent
			taps[0].with(func() {
				taps[0].change = func(s sent, w http.ResponseWriter) { // as it is, once
					mu.Lock()
					defer mu.Unlock()
					seen = append(seen, s)
					reply(w, s.header, s.code, s.body)
				}
			})
			if v, err := get(t.Context(), asker.group, c.ownedBy(t, owner, "first")); v != "genuine" || err != nil {
				t.Fatalf("%q, %v", v, err)
			}
			if err := asker.group.Remove(t.Context(), c.ownedBy(t, owner, "second")); err != nil {
				t.Fatal(err)
			}
			taps[0].with(func() {
				taps[0].change = func(s sent, w http.ResponseWriter) {
					mu.Lock()
					defer mu.Unlock()
					change(seen, s, w)
				}
			})
			for i := range 10 {
				key := c.ownedBy(t, owner, "key", strconv.Itoa(i))
				if v, err := get(t.Context(), asker.group, key); v != "genuine" || err != nil {
					t.Errorf("%q, %v", v, err)
				}
				if got, err := asker.group.GetMulti(t.Context(), []string{key + "a", key + "b"}); err != nil || got[key+"a"].String() != "genuine" {
					t.Errorf("%v, %v", got, err)
				}
			}
			if slices.Contains([]string{"that changes the body", "that changes the status", "that repeats an answer"}, what) { // it lets the removal arrive
				return
			}
			if err := asker.group.Remove(t.Context(), c.ownedBy(t, owner, "first")); err == nil {
				t.Error("a removal that has not arrived is taken for done")
			}
		})
	}
}

// A peer that starts anew, at the same address, takes no message that was meant for the one before,
// and is used at once.
func TestAPeerThatStartsAnewIsUsedAndTakesNothingOld(t *testing.T) {
	c, taps := startGuarded(t, 2, groupcache.AuthRequire)
	owner, asker := c.nodes[0], c.nodes[1]
	key := c.ownedBy(t, owner)
	if err := asker.group.Set(t.Context(), key, []byte("old"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	fresh := startNode(t, c.source, func(o *groupcache.Options) {
		overHTTP(o)
		patient(o)
		o.Auth, o.Secret = groupcache.AuthRequire, []byte("0123456789abcdef")
	})
	owner.behind(func(http.Handler) http.Handler { return fresh.instance.Handler() })
	if code := taps[0].taken(http.MethodPut)[0].to(t, owner.url); code != http.StatusUnauthorized {
		t.Errorf("replayed after a restart: %d", code)
	}
	if _, err := get(t.Context(), asker.group, c.ownedBy(t, owner, "other")); err != nil || fresh.group.Stats.ServerRequests.Get() != 1 {
		t.Errorf("%v, %d requests", err, fresh.group.Stats.ServerRequests.Get())
	}
	if err := asker.group.Remove(t.Context(), key); err != nil {
		t.Error(err)
	}
}

// A prefix that an ingress strips was signed, too: all requests were refused.
func TestAPrefixMayBeStrippedFromSignedRequests(t *testing.T) {
	c := &cluster{source: newSource()}
	for range 2 {
		n := startNode(t, c.source, func(o *groupcache.Options) {
			overHTTP(o)
			patient(o)
			o.Auth, o.Secret = groupcache.AuthRequire, []byte("0123456789abcdef")
			o.Self += "/prefix"
		})
		n.behind(func(h http.Handler) http.Handler { return http.StripPrefix("/prefix", h) })
		c.nodes = append(c.nodes, n)
	}
	setPeers(t, c.nodes...)
	for _, n := range c.nodes {
		eventually(t, "the peers know each other", n.instance.Acquainted)
	}
	key := c.ownedBy(t, c.nodes[0])
	_, err := get(t.Context(), c.nodes[1].group, key)
	if err = errors.Join(err, c.nodes[1].group.Remove(t.Context(), key)); err != nil || c.nodes[0].group.Stats.ServerRequests.Get() != 1 {
		t.Errorf("%v, %d requests", err, c.nodes[0].group.Stats.ServerRequests.Get())
	}
}

// While some have AuthAccept and others AuthRequire, all take each other for peers.
func TestRequireIsRolledOutAfterAccept(t *testing.T) {
	i := 0
	c := startCluster(t, 3, func(o *groupcache.Options) {
		patient(o)
		o.Auth, o.Secret = []groupcache.Auth{groupcache.AuthAccept, groupcache.AuthRequire, groupcache.AuthAccept}[i], []byte("0123456789abcdef")
		i++
	})
	for _, owner := range c.nodes {
		key := c.ownedBy(t, owner)
		for _, n := range c.nodes {
			if _, err := get(t.Context(), n.group, key); err != nil {
				t.Error(err)
			}
		}
		if err := c.nodes[0].group.Set(t.Context(), key, bytes.Repeat([]byte("long"), 50_000), time.Time{}, false); err != nil {
			t.Error(err)
		}
	}
	if twice := c.source.twice(); len(twice) > 0 {
		t.Errorf("loaded twice: %q", twice)
	}
}
