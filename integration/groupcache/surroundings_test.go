package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/NYTimes/gziphandler"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	"github.com/urfave/negroni/v3"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/internal/testutil"
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
		{name: "chi 5.1.0, its Logger", wrap: func(h http.Handler) http.Handler {
			r := chi.NewRouter()
			r.Use(middleware.RequestLogger(&middleware.DefaultLogFormatter{Logger: quiet}))
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
		{name: "nginx, as it comes", proxy: func(t *testing.T, to string) string { return nginx(t, to, "") }},
		{name: "nginx, HTTP/1.1", proxy: func(t *testing.T, to string) string {
			return nginx(t, to, `proxy_http_version 1.1; proxy_set_header Connection "";`)
		}},
		{name: "haproxy", proxy: haproxy},
	}
}

func reverseProxy(t *testing.T, to string) string {
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	p.ErrorLog = log.New(io.Discard, "", 0)
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func nginx(t *testing.T, to, more string) string {
	dir := t.TempDir()
	return runProxy(t, "nginx", filepath.Join(dir, "nginx.conf"), func(addr string) string {
		return fmt.Sprintf(`master_process off; daemon off; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 512; }
http { access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi; server { listen %[2]s; location / { proxy_pass http://%[3]s; %[4]s } } }
`, dir, addr, to, more)
	}, "-p", dir, "-c")
}

func haproxy(t *testing.T, to string) string {
	return runProxy(t, "haproxy", filepath.Join(t.TempDir(), "haproxy.cfg"), func(addr string) string {
		return fmt.Sprintf("defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\nlisten peers\n bind %s\n server peer %s\n", addr, to)
	}, "-db", "-f")
}

// runProxy runs a program with a configuration, whose file is its last argument, until the test
// ends.
func runProxy(t *testing.T, program, file string, config func(addr string) string, args ...string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + program); err != nil {
			testutil.Missing(t, program, err)
		}
	}
	port, err := testutil.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if err := os.WriteFile(file, []byte(config(addr)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append(args, file)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, program+" listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return addr
}

// silence is what a busy machine can keep, and loading is longer: only signs of life, or doing
// without them, lets one process load.
const silence, loading = 500 * time.Millisecond, 900 * time.Millisecond

// Wherever the handler is mounted, a key is loaded once, its owner's Getter says whether there is
// one, and what it says otherwise arrives.
func TestSurroundings(t *testing.T) {
	for _, s := range surroundings() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			testutil.AtSomePace(t, func(p *testutil.Pace) { checkSurrounding(t, p, s, groupcache.AuthOff) })
		})
	}
}

// The same where peers prove who they are: what a middleware or proxy does to a request or an
// answer must not make it a forged one.
func TestSurroundingsOfPeersThatProveWhoTheyAre(t *testing.T) {
	for _, s := range surroundings() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			testutil.AtSomePace(t, func(p *testutil.Pace) { checkSurrounding(t, p, s, groupcache.AuthRequire) })
		})
	}
}

func checkSurrounding(t *testing.T, pace *testutil.Pace, s surrounding, auth groupcache.Auth) {
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
	var groups []*groupcache.Group
	var instances []*groupcache.Instance
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
		o := groupcache.Options{Self: "http://" + addr, Silence: pace.Longer(silence), PeerTimeout: time.Minute, Auth: auth}
		if auth != groupcache.AuthOff {
			o.Secret = []byte("a secret of the peers")
		}
		i, err := groupcache.New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = i.Close() })
		g, err := i.NewGroup("g", 1<<20, getter)
		if err != nil {
			t.Fatal(err)
		}
		h := i.Handler()
		if s.wrap != nil {
			h = s.wrap(h)
		}
		handler.Store(http.HandlerFunc(h.ServeHTTP))
		groups, instances, urls = append(groups, g), append(instances, i), append(urls, "http://"+addr)
	}
	for _, i := range instances {
		if err := i.SetPeers(urls...); err != nil {
			t.Fatal(err)
		}
	}
	for k := range 30 { // all have answered
		for _, g := range groups {
			if _, err := g.View(t.Context(), fmt.Sprint("warm ", k)); err != nil {
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
			for _, g := range groups {
				for range callers {
					all.Go(func() {
						key := fmt.Sprint(kind, " ", k)
						v, err := g.View(t.Context(), key)
						check(v.String(), err, key)
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
