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
	"sync/atomic"
	"testing"
	"time"

	"github.com/NYTimes/gziphandler"
	"github.com/gin-gonic/gin"
	oldchi "github.com/go-chi/chi"
	oldmiddleware "github.com/go-chi/chi/middleware"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/urfave/negroni/v3"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/proxies"
)

// surrounding is what lies between the peers' handlers and their callers.
type surrounding struct {
	name  string
	wrap  func(http.Handler) http.Handler             // nil: nothing
	proxy func(t *testing.T, to string) (addr string) // nil: nothing
}

const base = "/_groupcache/"

func surroundings() []surrounding {
	quiet := log.New(io.Discard, "", 0)
	return []surrounding{
		{name: "nothing"},
		{name: "http.TimeoutHandler", wrap: func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Minute, "late") }},
		{name: "gin", wrap: func(h http.Handler) http.Handler {
			gin.SetMode(gin.ReleaseMode)
			r := gin.New()
			r.UseRawPath = true
			r.Any(base+"*any", gin.WrapH(h))
			return r
		}},
		{name: "echo", wrap: func(h http.Handler) http.Handler {
			e := echo.New()
			e.Any(base+"*", echo.WrapHandler(h))
			return e
		}},
		{name: "echo, its Logger and Gzip", wrap: func(h http.Handler) http.Handler {
			e := echo.New()
			e.Use(echomiddleware.LoggerWithConfig(echomiddleware.LoggerConfig{Output: io.Discard}), echomiddleware.Gzip())
			e.Any(base+"*", echo.WrapHandler(h))
			return e
		}},
		{name: "chi 1.5.5, its Logger", wrap: func(h http.Handler) http.Handler { // takes 102 for the status, as all do up to 5.1
			r := oldchi.NewRouter()
			r.Use(oldmiddleware.RequestLogger(&oldmiddleware.DefaultLogFormatter{Logger: quiet}))
			r.Handle(base+"*", h)
			return r
		}},
		{name: "chi 5.5.0, its Logger", wrap: func(h http.Handler) http.Handler {
			r := chi.NewRouter()
			r.Use(middleware.RequestLogger(&middleware.DefaultLogFormatter{Logger: quiet}))
			r.Handle(base+"*", h)
			return r
		}},
		{name: "chi 5.5.0, its Compress, Timeout and Recoverer", wrap: func(h http.Handler) http.Handler {
			r := chi.NewRouter()
			r.Use(middleware.Compress(5, "application/x-protobuf", "text/plain"), middleware.Timeout(time.Minute), middleware.Recoverer)
			r.Handle(base+"*", h)
			return r
		}},
		{name: "gorilla/mux", wrap: func(h http.Handler) http.Handler {
			r := mux.NewRouter()
			r.PathPrefix(base).Handler(h)
			return r
		}},
		{name: "gorilla/handlers, compressing and logging", wrap: func(h http.Handler) http.Handler {
			return handlers.CompressHandler(handlers.CombinedLoggingHandler(io.Discard, h))
		}},
		{name: "negroni", wrap: func(h http.Handler) http.Handler {
			n := negroni.New()
			n.UseHandler(h)
			return n
		}},
		{name: "httprouter, GET alone", wrap: func(h http.Handler) http.Handler {
			r := httprouter.New()
			r.Handler(http.MethodGet, base+"*any", h)
			return r
		}},
		{name: "ServeMux, GET, PUT and DELETE", wrap: func(h http.Handler) http.Handler {
			m := http.NewServeMux()
			for _, method := range []string{"GET ", "PUT ", "DELETE "} {
				m.Handle(method+base, h)
			}
			return m
		}},
		{name: "NYTimes/gziphandler", wrap: gziphandler.GzipHandler},
		{name: "klauspost/gzhttp", wrap: func(h http.Handler) http.Handler { return gzhttp.GzipHandler(h) }},
		{name: "otelhttp", wrap: func(h http.Handler) http.Handler { return otelhttp.NewHandler(h, "groupcache") }},
		{name: "httputil.ReverseProxy", proxy: reverseProxy},
		{name: "nginx, as it comes", proxy: func(t *testing.T, to string) string {
			return proxies.Start(t, proxies.Nginx(to, "")).Addr()
		}},
		{name: "nginx, HTTP/1.1", proxy: func(t *testing.T, to string) string {
			return proxies.Start(t, proxies.Nginx(to, `proxy_http_version 1.1; proxy_set_header Connection "";`)).Addr()
		}},
		{name: "haproxy", proxy: func(t *testing.T, to string) string { return proxies.Start(t, proxies.Haproxy("http", to)).Addr() }},
	}
}

func reverseProxy(t *testing.T, to string) string {
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	p.ErrorLog = log.New(io.Discard, "", 0)
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// silence is what a busy machine can keep, and loading is longer: only signs of life, or doing
// without them, lets one process load.
const silence, loading = 500 * time.Millisecond, 900 * time.Millisecond

// Wherever the handler is mounted, a key is loaded once, its owner's Getter says whether there is
// one, and what it says otherwise arrives. Frames would go past most of what there is.
func TestSurroundings(t *testing.T) {
	inSurroundings(t, ours(groupcache.Options{Frames: groupcache.FramesOff}))
}

// The same where peers prove who they are, and ask by frames where those pass: what a middleware or
// proxy does to a request or an answer must not make it a forged one.
func TestSurroundingsOfPeersThatProveWhoTheyAre(t *testing.T) {
	inSurroundings(t, ours(groupcache.Options{Auth: groupcache.AuthRequire, Secret: []byte("a secret of the peers")}))
}

// A model of the original is right in all of them.
func TestSurroundingsOfTheOriginal(t *testing.T) { inSurroundings(t, theirs) }

func inSurroundings(t *testing.T, start starter) {
	for _, s := range surroundings() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			testutil.AtSomePace(t, func(p *testutil.Pace) { checkSurrounding(t, p, s, start) })
		})
	}
}

// process is one that shares a groupcache.
type process struct {
	http.Handler
	get      func(ctx context.Context, key string) (string, error)
	setPeers func(urls ...string) error
}

// starter starts a process that is reached at an address.
type starter func(t *testing.T, pace *testutil.Pace, addr string, getter groupcache.Getter) process

// ours starts processes of this module.
func ours(o groupcache.Options) starter {
	return func(t *testing.T, pace *testutil.Pace, addr string, getter groupcache.Getter) process {
		t.Helper()
		o := o
		o.Self, o.Silence, o.PeerTimeout = addr, pace.Longer(silence), time.Minute
		i, err := groupcache.New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = i.Close() })
		g, err := i.NewGroup("g", 1<<20, getter)
		if err != nil {
			t.Fatal(err)
		}
		get := func(ctx context.Context, key string) (string, error) {
			v, err := g.View(ctx, key)
			return v.String(), err
		}
		return process{i.Handler(), get, i.SetPeers}
	}
}

// theirs starts models of the original.
func theirs(t *testing.T, _ *testutil.Pace, addr string, getter groupcache.Getter) process {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	o := &original{self: addr, load: getter, client: http.Client{Transport: transport}}
	return process{o, o.get, o.setPeers}
}

func checkSurrounding(t *testing.T, pace *testutil.Pace, s surrounding, start starter) {
	t.Helper()
	var loads atomic.Int64
	getter := groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
		if key[0] == 'w' {
			return dest.SetString("warm", time.Time{})
		}
		loads.Add(1)
		time.Sleep(pace.Longer(loading))
		switch key[0] {
		case 'n':
			return &groupcache.ErrNotFound{Msg: "nobody"}
		case 'e':
			return errors.New("the database says no")
		}
		return dest.SetString("value of "+key, time.Time{})
	})
	var processes []process
	var urls []string
	for range 3 {
		var handler atomic.Value
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h, ok := handler.Load().(http.Handler); ok {
				h.ServeHTTP(w, r)
			}
		}))
		t.Cleanup(server.Close)
		addr := server.Listener.Addr().String()
		if s.proxy != nil {
			addr = s.proxy(t, addr)
		}
		p := start(t, pace, "http://"+addr, getter)
		h := p.Handler
		if s.wrap != nil {
			h = s.wrap(h)
		}
		handler.Store(http.HandlerFunc(h.ServeHTTP))
		processes, urls = append(processes, p), append(urls, "http://"+addr)
	}
	for _, p := range processes {
		if err := p.setPeers(urls...); err != nil {
			t.Fatal(err)
		}
	}
	for k := range 30 { // all have answered
		for _, p := range processes {
			if _, err := p.get(t.Context(), fmt.Sprint("warm ", k)); err != nil {
				t.Fatal(err)
			}
		}
	}
	const herd = 12
	each := func(kind string, n, callers int, check func(v string, err error, key string)) {
		t.Helper()
		before := loads.Load()
		var all sync.WaitGroup
		for k := range n {
			for _, p := range processes {
				for range callers {
					all.Go(func() {
						key := fmt.Sprint(kind, " ", k)
						v, err := p.get(t.Context(), key)
						check(v, err, key)
					})
				}
			}
		}
		all.Wait()
		if got := loads.Load() - before; got != int64(n) {
			pace.Errorf("%s: %d loads of %d keys", kind, got, n)
		}
	}
	each("herd", herd, 10, func(v string, err error, key string) {
		if v != "value of "+key || err != nil {
			t.Errorf("%s: %q, %v", key, v, err)
		}
	})
	each("not found", 3, 1, func(_ string, err error, key string) {
		if !errors.Is(err, &groupcache.ErrNotFound{}) {
			t.Errorf("%s: %v", key, err)
		}
	})
	each("error", 3, 1, func(_ string, err error, key string) {
		if err == nil || errors.Is(err, &groupcache.ErrNotFound{}) {
			t.Errorf("%s: %v", key, err)
		}
	})
}
