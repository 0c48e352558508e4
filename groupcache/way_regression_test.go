package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// firstStatus is a writer that takes the first status for that of the answer, as recorders of the
// status in logs and metrics do.
type firstStatus struct {
	http.ResponseWriter
	done bool
}

func (f *firstStatus) WriteHeader(status int) {
	if !f.done {
		f.done = true
		f.ResponseWriter.WriteHeader(status)
	}
}

// lastStatus keeps the status until something is written.
type lastStatus struct {
	http.ResponseWriter
	status int
}

func (l *lastStatus) WriteHeader(status int) { l.status = status }

func (l *lastStatus) Write(b []byte) (int, error) {
	if l.status != 0 {
		l.ResponseWriter.WriteHeader(l.status)
		l.status = 0
	}
	return l.ResponseWriter.Write(b)
}

// silence is what a busy machine can keep, and loading is longer.
const silence, loading = 500 * time.Millisecond, 900 * time.Millisecond

// ways are what may be between a peer and its handler.
func ways() map[string]func(http.Handler) http.Handler {
	with := func(writer func(http.ResponseWriter) http.ResponseWriter) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(writer(w), r) })
		}
	}
	return map[string]func(http.Handler) http.Handler{
		"nothing":             func(h http.Handler) http.Handler { return h },
		"http.TimeoutHandler": func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Minute, "late") },
		"the first status counts": with(func(w http.ResponseWriter) http.ResponseWriter {
			return &firstStatus{ResponseWriter: w}
		}),
		"the last status counts": with(func(w http.ResponseWriter) http.ResponseWriter { return &lastStatus{ResponseWriter: w} }),
		"the status is lost":     withoutStatus,
		"GET alone":              refuses(http.StatusMethodNotAllowed, method("POST", "PUT", "DELETE", "OPTIONS")),
		"GET, PUT and DELETE":    refuses(http.StatusMethodNotAllowed, method("POST", "OPTIONS")),
		"a recorder of answers": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := httptest.NewRecorder()
				h.ServeHTTP(answer, r)
				for name, values := range answer.Header() {
					w.Header()[name] = values
				}
				w.WriteHeader(answer.Code)
				_, _ = w.Write(answer.Body.Bytes())
			})
		},
	}
}

// Signs of life (102 Processing) that something on the way takes for the status, or does not pass
// on, made peers load two or three times, and lose what their Getters say.
func TestSignsOfLifeAreNotUsedWhereTheyDoNotSurvive(t *testing.T) {
	for what, around := range ways() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			testutil.AtSomePace(t, func(p *testutil.Pace) {
				source := newSource()
				var nodes []*node
				for range 3 {
					n := startNode(t, source, byHTTP(func(o *groupcache.Options) { o.PeerTimeout, o.Silence = longest, p.Longer(silence) }))
					n.behind(around)
					nodes = append(nodes, n)
				}
				meetAll(t, nodes)
				checkLoads(t, p, &cluster{nodes: nodes, source: source})
			})
		})
	}
}

// A proxy that does not pass 1xx on, and one that does.
func TestSignsOfLifeThroughProxies(t *testing.T) {
	for what, proxy := range map[string]func(to *url.URL) http.Handler{
		"httputil.ReverseProxy": func(to *url.URL) http.Handler { return silentProxy(to) },
		"one that drops 1xx": func(to *url.URL) http.Handler {
			p := silentProxy(to)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.ServeHTTP(finalOnly{w}, r) })
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			testutil.AtSomePace(t, func(p *testutil.Pace) {
				source := newSource()
				var nodes []*node
				for range 3 {
					nodes = append(nodes, startBehind(t, source, proxy, p.Longer(silence)))
				}
				meetAll(t, nodes)
				checkLoads(t, p, &cluster{nodes: nodes, source: source})
			})
		})
	}
}

// startBehind starts an instance that the others reach through a proxy.
func startBehind(t *testing.T, source *source, proxy func(to *url.URL) http.Handler, silence time.Duration) *node {
	t.Helper()
	n := &node{}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	to, err := url.Parse(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	outer := httptest.NewServer(proxy(to))
	t.Cleanup(outer.Close)
	if n.instance, err = groupcache.New(groupcache.Options{Self: outer.URL, PeerTimeout: longest, Silence: silence}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.instance.Close() })
	if n.group, err = n.instance.NewGroup("g", 1<<20, source); err != nil {
		t.Fatal(err)
	}
	n.url = outer.URL
	return n
}

// silentProxy logs nothing of callers that leave.
func silentProxy(to *url.URL) http.Handler {
	p := httputil.NewSingleHostReverseProxy(to)
	p.ErrorLog = log.New(io.Discard, "", 0)
	return p
}

// finalOnly passes no 1xx on.
type finalOnly struct{ http.ResponseWriter }

func (f finalOnly) WriteHeader(status int) {
	if status >= http.StatusOK {
		f.ResponseWriter.WriteHeader(status)
	}
}

// meetAll lets nodes know each other, however much of a greeting reaches them.
func meetAll(t *testing.T, nodes []*node) {
	t.Helper()
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.url)
	}
	for _, n := range nodes {
		if err := n.instance.SetPeers(urls...); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		eventually(t, "the peers are up", func() bool { return n.instance.PeersUp() == len(nodes)-1 })
		for i := range 20 { // all have answered
			if _, err := get(t.Context(), n.group, fmt.Sprint("warm ", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// checkLoads has keys loaded that take their time, by many callers in all processes.
func checkLoads(t *testing.T, pace *testutil.Pace, c *cluster) {
	t.Helper()
	slow := errors.New("the database says no")
	c.source.answer = func(_ context.Context, key string) (string, error) {
		time.Sleep(pace.Longer(loading))
		switch key[0] {
		case 'n':
			return "", &groupcache.ErrNotFound{Msg: "nobody"}
		case 'e':
			return "", slow
		}
		return "value of " + key, nil
	}
	const herd = 12
	before := c.source.loads.Load()
	var callers sync.WaitGroup
	for i := range herd {
		for _, n := range c.nodes {
			for range 5 {
				callers.Go(func() {
					key := fmt.Sprint("herd ", i)
					if v, err := get(t.Context(), n.group, key); v != "value of "+key || err != nil {
						t.Errorf("%q, %v", v, err)
					}
				})
			}
		}
	}
	callers.Wait()
	if n := c.source.loads.Load() - before; n != herd {
		pace.Errorf("%d loads of %d keys", n, herd)
	}
	owner, asker := c.nodes[0], c.nodes[1]
	for _, kind := range []string{"not found", "error"} {
		before = c.source.loads.Load()
		for i := range 3 {
			callers.Go(func() {
				key := ""
				for k := 0; key == "" || !owner.instance.Owns(key); k++ {
					key = fmt.Sprint(kind, i, " ", k)
				}
				_, err := get(t.Context(), asker.group, key)
				if errors.Is(err, &groupcache.ErrNotFound{}) != (kind == "not found") || kind == "error" && !errors.Is(err, &groupcache.ErrRemoteCall{}) {
					t.Errorf("%s: %v", kind, err)
				}
			})
		}
		callers.Wait()
		if n := c.source.loads.Load() - before; n != 3 {
			pace.Errorf("%s: %d loads of 3 keys", kind, n)
		}
	}
}
