package groupcache_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A request of 2 400 bytes that named one key 800 times was answered by 800 times its value.
func TestAKeyIsAnsweredOnceInAnAnswer(t *testing.T) {
	large := strings.Repeat("v", 100<<10)
	s := newSource()
	s.answer = func(context.Context, string) (string, error) { return large, nil }
	n := startNode(t, s, nil)
	keys := make([]string, 800)
	for i := range keys {
		keys[i] = "k"
	}
	for _, place := range []string{"", "cached"} {
		a := ask(t, http.MethodPost, n.url+"/_groupcache/g/"+place, multiwire.AppendRequest(nil, keys))
		if a.code != http.StatusOK || len(a.body) > 2*len(large) {
			t.Errorf("%q: %d, %d bytes", place, a.code, len(a.body))
		}
		answers, err := multiwire.ParseAnswers([]byte(a.body), len(keys))
		if err != nil || answers[0].Value != large || answers[1].Outcome != wire.Absent || answers[799].Outcome != wire.Absent {
			t.Errorf("%q: %v", place, err)
		}
	}
	if loads := s.loads.Load(); loads != 1 {
		t.Errorf("%d loads", loads)
	}
}

// An answer was built whole in memory, however many keys were asked for, and however large their
// values.
func TestAnswersAreBounded(t *testing.T) {
	const size = 1 << 20
	s := newSource()
	s.answer = func(context.Context, string) (string, error) { return strings.Repeat("v", size), nil }
	n := startNode(t, s, nil)
	keys := make([]string, 200)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	a := ask(t, http.MethodPost, n.url+"/_groupcache/g/", multiwire.AppendRequest(nil, keys))
	if a.code != http.StatusOK || len(a.body) > multiwire.MaxAnswer+size {
		t.Errorf("%d, %d bytes", a.code, len(a.body))
	}
	if loads := s.loads.Load(); loads > 100 {
		t.Errorf("%d loads of values that found no room", loads)
	}
	many := multiwire.AppendRequest(nil, make([]string, multiwire.MaxKeys+1))
	if a := ask(t, http.MethodPost, n.url+"/_groupcache/g/", many); a.code != http.StatusBadRequest {
		t.Errorf("too many keys: %d", a.code)
	}
	if a := ask(t, http.MethodPost, n.url+"/_groupcache/g/", make([]byte, multiwire.MaxRequest+1)); a.code != http.StatusRequestEntityTooLarge {
		t.Errorf("a request that is too large: %d", a.code)
	}
	failing := errors.New(strings.Repeat("e", size))
	s.answer = func(context.Context, string) (string, error) { return "", failing }
	if a := ask(t, http.MethodPost, n.url+"/_groupcache/g/", multiwire.AppendRequest(nil, keys)); len(a.body) > multiwire.MaxAnswer+size {
		t.Errorf("errors: %d bytes", len(a.body))
	}
}

// What finds no room in a request or an answer is asked for again; the caller does not notice.
func TestGetMultiHasAllKeysHoweverManyAndLarge(t *testing.T) {
	for what, c := range map[string]struct{ keys, size, length int }{
		"many keys":    {multiwire.MaxKeys*2 + 100, 10, 0},
		"large values": {40, 1 << 20, 0},
		"long keys":    {cut(80, 2), 10, 300 << 10},
	} {
		t.Run(what, func(t *testing.T) {
			cl := startCluster(t, 2, func(o *groupcache.Options) { o.Silence = longest }) // a busy machine is no silent peer
			cl.source.answer = func(_ context.Context, key string) (string, error) {
				return strings.Repeat(key[:5], c.size/5), nil
			}
			keys := make([]string, c.keys)
			for i := range keys {
				keys[i] = fmt.Sprintf("%05d of many%s", i, strings.Repeat("k", c.length))
			}
			got, err := cl.nodes[0].group.GetMulti(t.Context(), keys)
			if err != nil || len(got) != len(keys) {
				t.Errorf("%d of %d values, %v", len(got), len(keys), err)
			}
			for _, key := range keys {
				if v := got[key]; v.Len() != c.size/5*5 || !strings.HasPrefix(v.String(), key[:5]) {
					t.Fatalf("key %.5q has %d bytes: %.10q", key, v.Len(), v.String())
				}
			}
			if up := cl.nodes[0].instance.PeersUp(); up != 1 {
				t.Error("the peer is down")
			}
		})
	}
}

// A peer that is still being sent the keys said nothing: many of them, on a slow network, made it a
// silent one.
func TestAPeerShowsLifeWhileItIsSentKeys(t *testing.T) {
	n := startNode(t, newSource(), nil)
	conn, err := (&net.Dialer{Timeout: longest}).DialContext(t.Context(), "tcp", strings.TrimPrefix(n.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(longest))
	body := multiwire.AppendRequest(nil, []string{"k"})
	fmt.Fprintf(conn, "POST /_groupcache/g/ HTTP/1.1\r\nHost: x\r\n%s: 1\r\nContent-Length: %d\r\n\r\n", httppeer.Marker, len(body))
	in := bufio.NewReader(conn)
	for range 2 { // and no body
		if code := statusOf(t, in); code != http.StatusProcessing {
			t.Fatalf("the status is %d", code)
		}
	}
	_, _ = conn.Write(body)
	for code := 0; code != http.StatusOK; {
		if code = statusOf(t, in); code != http.StatusOK && code != http.StatusProcessing {
			t.Fatalf("the status is %d", code)
		}
	}
}

// statusOf reads an answer.
func statusOf(t *testing.T, in *bufio.Reader) int {
	t.Helper()
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// With AuthRequire a body of 128 MiB was read before the signature was looked for.
func TestNothingIsReadBeforeTheHeadIsProved(t *testing.T) {
	secret := []byte(rand.Text())
	strict := startNode(t, newSource(), func(o *groupcache.Options) { o.Auth, o.Secret = groupcache.AuthRequire, secret })
	open := startNode(t, newSource(), func(o *groupcache.Options) { o.MaxValueSize = 1 << 20 })
	for _, c := range []struct {
		what, head string
		n          *node
		status     int
	}{
		{"unsigned", "PUT /_groupcache/g/k HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n", strict, http.StatusUnauthorized},
		{"unsigned, no group", "PUT /_groupcache/no/k HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n", strict, http.StatusUnauthorized},
		{"unsigned batch", "POST /_groupcache/g/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n", strict, http.StatusUnauthorized},
		{
			"a signature of something else", "PUT /_groupcache/g/k HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\nX-Holdfast-Time: 1\r\n" +
				"X-Holdfast-Signature: 00\r\n", strict, http.StatusUnauthorized,
		},
	} {
		conn, err := (&net.Dialer{Timeout: longest}).DialContext(t.Context(), "tcp", strings.TrimPrefix(c.n.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(longest))
		_, _ = io.WriteString(conn, c.head+"\r\n") // and no body
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		} else if _ = response.Body.Close(); response.StatusCode != c.status {
			t.Errorf("%s: %s", c.what, response.Status)
		}
		_ = conn.Close()
	}
	if a := ask(t, http.MethodPut, open.url+"/_groupcache/no/k", make([]byte, 1<<10)); a.code != http.StatusInternalServerError {
		t.Errorf("no such group: %d", a.code)
	}
}

// A signed head proves nothing of another body.
func TestABodyThatIsNotTheSignedOneDoesNothing(t *testing.T) {
	secret := []byte(rand.Text())
	c := startCluster(t, 2, func(o *groupcache.Options) {
		overHTTP(o)
		o.Auth, o.Secret = groupcache.AuthRequire, secret
	})
	owner, writer := c.nodes[0], c.nodes[1]
	key := c.ownedBy(t, owner)
	owner.behind(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(strings.NewReader(strings.Replace(string(body), "good", "evil", 1)))
			}
			h.ServeHTTP(w, r)
		})
	})
	if err := writer.group.Set(t.Context(), key, []byte("good"), time.Time{}, false); err == nil {
		t.Error("Set of a body that was changed on its way: no error")
	}
	if v, err := get(t.Context(), owner.group, key); strings.Contains(v, "evil") || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	owner.behind(func(h http.Handler) http.Handler { return h })
	if err := writer.group.Set(t.Context(), key, []byte("good"), time.Time{}, false); err != nil {
		t.Error(err)
	}
	if v, err := get(t.Context(), owner.group, key); v != "good" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

// pipeListener accepts the connections that it is given.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	at     net.TCPAddr
}

func newPipeListener(at net.TCPAddr) pipeListener {
	return pipeListener{conns: make(chan net.Conn), closed: make(chan struct{}), at: at}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l pipeListener) Addr() net.Addr { return &l.at }

// A body that never came was waited for without end.
func TestABodyThatStallsIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		what       string
		own        time.Duration // ReadTimeout of the server
		first      int           // bytes at once
		every      time.Duration // of a piece
		piece      int
		least, end time.Duration // when it is given up
	}{
		{"it stalls at once", 0, 0, 0, 0, 10 * time.Second, 11 * time.Second},
		{"it was fast, and stalls", 0, 8 << 20, 0, 0, 10 * time.Second, 11 * time.Second},
		{"a byte each second", 0, 0, time.Second, 1, 10 * time.Second, 20 * time.Second},
		{"the server's own limit holds", 3 * time.Second, 0, 0, 0, 3 * time.Second, 4 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			i, err := groupcache.New(groupcache.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := i.NewGroup("g", 1<<20, newSource()); err != nil {
				t.Fatal(err)
			}
			l := pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
			server := &http.Server{Handler: i.Handler(), ReadTimeout: c.own} //nolint:gosec // what is tested
			go func() { _ = server.Serve(l) }()
			here, there := net.Pipe()
			l.conns <- there
			began := time.Now()
			go func() {
				_, _ = io.WriteString(here, "PUT /_groupcache/g/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
				_, _ = here.Write(make([]byte, c.first))
				for c.piece > 0 {
					time.Sleep(c.every)
					if _, err := here.Write(make([]byte, c.piece)); err != nil {
						return
					}
				}
			}()
			_, err = http.ReadResponse(bufio.NewReader(here), nil) //nolint:bodyclose // the connection ends with it
			if took := time.Since(began); took < c.least || took > c.end {
				t.Errorf("%s: %v after %v", c.what, err, took)
			}
			_ = here.Close()
			_ = server.Close()
			time.Sleep(time.Second) // net/http lingers
			_ = i.Close()
		})
	}
}

func TestASecretWithoutAuthIsRefused(t *testing.T) {
	_, err := groupcache.New(groupcache.Options{Secret: []byte("0123456789abcdef")})
	if err == nil || !strings.Contains(err.Error(), "set AuthAccept") {
		t.Errorf("New: %v", err)
	}
}

// A request for many keys whose caller had left began to load all of them at once: the bound of
// loads counted those who wait.
func TestNobodyLoadsForACallerWhoHasLeft(t *testing.T) {
	s := newSource()
	release := make(chan struct{})
	var begun, served atomic.Int64
	s.answer = func(context.Context, string) (string, error) {
		begun.Add(1)
		<-release
		return "v", nil
	}
	n := startNode(t, s, nil)
	n.behind(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer served.Add(1)
			h.ServeHTTP(w, r)
		})
	})
	// leaving is the context of a caller who leaves once loads have begun for it.
	leaving := func() context.Context {
		ctx, leave := context.WithCancel(t.Context())
		before := begun.Load()
		go func() {
			defer leave()
			for begun.Load() == before && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
		}()
		return ctx
	}
	keys := func(name string) (all []string) {
		for i := range 2000 {
			all = append(all, fmt.Sprint(name, i))
		}
		return all
	}
	if got, err := n.group.GetMulti(leaving(), keys("here")); len(got) > 0 || err == nil {
		t.Errorf("%d values, %v", len(got), err)
	}
	r, err := http.NewRequestWithContext(leaving(), http.MethodPost, n.url+"/_groupcache/g/", bytes.NewReader(multiwire.AppendRequest(nil, keys("there"))))
	if err != nil {
		t.Fatal(err)
	}
	if response, err := http.DefaultTransport.RoundTrip(r); err == nil {
		_ = response.Body.Close()
		t.Errorf("it is answered: %s", response.Status)
	}
	eventually(t, "the request has ended", func() bool { return served.Load() > 0 })
	close(release)
	eventually(t, "all loads have ended", func() bool { return n.group.Loading() == 0 })
	if n := begun.Load(); n > 100 {
		t.Errorf("%d loads have begun", n)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // it is one
}
