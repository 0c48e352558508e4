package groupcache_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// byFrames reports whether an instance asks all its peers by frames.
func byFrames(i *groupcache.Instance) bool {
	for _, p := range i.Debug().Peers {
		if !p.Self && !p.Frames {
			return false
		}
	}
	return true
}

// framed waits until all ask each other by frames.
func framed(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, "the peers ask by frames", func() bool { return byFrames(n.instance) })
	}
}

// noRequests makes the requests of peers to a node fail that are none of those that find out what
// is there.
func (n *node) noRequests() {
	n.behind(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/_groupcache/") {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
}

// secrets are options with and without one.
var secrets = map[string]func(*groupcache.Options){ //nolint:gochecknoglobals // a constant, were there such maps
	"no secret": patient,
	"a secret": func(o *groupcache.Options) {
		o.Auth, o.Secret = groupcache.AuthRequire, []byte("0123456789abcdef")
	},
	"a secret, accepted": func(o *groupcache.Options) {
		o.Auth, o.Secret = groupcache.AuthAccept, []byte("0123456789abcdef")
	},
}

func TestAllIsAskedByFrames(t *testing.T) {
	for what, adapt := range secrets {
		t.Run(what, func(t *testing.T) {
			c := startCluster(t, 3, adapt)
			framed(t, c.nodes...)
			for _, n := range c.nodes {
				n.noRequests()
			}
			owner, asker, third := c.nodes[0], c.nodes[1], c.nodes[2]
			ctx := t.Context()
			key := c.ownedBy(t, owner)
			if v, err := get(ctx, asker.group, key); err != nil || v != "value of "+key {
				t.Errorf("Get: %q, %v", v, err)
			}
			if err := asker.group.Set(ctx, key, []byte("new"), time.Time{}, false); err != nil {
				t.Error(err)
			}
			if v, err := get(ctx, third.group, key); err != nil || v != "new" {
				t.Errorf("Get after Set: %q, %v", v, err)
			}
			if err := asker.group.Remove(ctx, key); err != nil {
				t.Error(err)
			}
			if v, err := get(ctx, third.group, key); err != nil || v != "value of "+key {
				t.Errorf("Get after Remove: %q, %v", v, err)
			}
			if _, err := asker.group.RemovePrefix(ctx, "key"); err != nil {
				t.Error(err)
			}
			large := strings.Repeat("x", 300<<10)
			if err := asker.group.Set(ctx, key, []byte(large), time.Time{}, false); err != nil {
				t.Error(err)
			}
			if v, err := get(ctx, third.group, key); err != nil || v != large {
				t.Errorf("Get of a large value: %d bytes, %v", len(v), err)
			}
			var keys []string
			for i := range 50 {
				keys = append(keys, fmt.Sprint("several ", i))
			}
			if found, err := asker.group.GetMulti(ctx, keys); err != nil || len(found) != len(keys) {
				t.Errorf("GetMulti: %d values, %v", len(found), err)
			}
			if up := asker.instance.PeersUp(); up != 2 {
				t.Errorf("%d peers are up", up)
			}
		})
	}
}

func TestErrorsByFramesAreThoseOfHTTP(t *testing.T) {
	for _, frames := range []groupcache.Frames{groupcache.FramesAuto, groupcache.FramesOff} {
		s := newSource()
		s.answer = func(context.Context, string) (string, error) {
			return "", &groupcache.ErrNotFound{Msg: "no such thing"}
		}
		adapt := func(o *groupcache.Options) {
			o.Frames = frames
			o.ServerErrorHandler = func(ctx context.Context, w http.ResponseWriter, r *http.Request, err error) {
				w.Header().Set("X-Seen", r.URL.Path)
				groupcache.DefaultServerErrorHandler(ctx, w, r, err)
			}
		}
		c := &cluster{nodes: []*node{startNode(t, s, adapt), startNode(t, s, adapt)}}
		setPeers(t, c.nodes...)
		if frames == groupcache.FramesAuto {
			framed(t, c.nodes...)
		}
		_, err := get(t.Context(), c.nodes[1].group, c.ownedBy(t, c.nodes[0]))
		remote, ok := err.(groupcache.RemoteLoadError) //nolint:errorlint // as those over HTTP are
		if !ok || remote.StatusCode != http.StatusNotFound || string(remote.Body) != "no such thing" || remote.Status != "404 Not Found" {
			t.Errorf("%v: %#v", frames, err)
		}
	}
}

// hidden is a writer that lets nobody take the connection over.
type hidden struct{ http.ResponseWriter }

func TestWhatLetsNoFramesThroughIsAskedOverHTTP(t *testing.T) {
	for what, around := range map[string]func(h http.Handler, upgrades *atomic.Int64) http.Handler{
		"a writer that hides the connection": func(h http.Handler, _ *atomic.Int64) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(hidden{w}, r) })
		},
		"a proxy that drops upgrades": func(h http.Handler, upgrades *atomic.Int64) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != "" {
					upgrades.Add(1)
				}
				r.Header.Del("Connection")
				r.Header.Del("Upgrade")
				h.ServeHTTP(w, r)
			})
		},
		"a proxy that refuses upgrades": func(h http.Handler, upgrades *atomic.Int64) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != "" {
					upgrades.Add(1)
					http.Error(w, "no", http.StatusForbidden)
					return
				}
				h.ServeHTTP(w, r)
			})
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSource()
			nodes := []*node{startNode(t, s, nil), startNode(t, s, nil)}
			var upgrades, greetings atomic.Int64
			for _, n := range nodes {
				n.behind(func(h http.Handler) http.Handler {
					next := around(h, &upgrades)
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						next.ServeHTTP(w, r)
						if r.Method == http.MethodOptions {
							greetings.Add(1)
						}
					})
				})
			}
			setPeers(t, nodes...)
			key := (&cluster{nodes: nodes}).ownedBy(t, nodes[0])
			if v, err := get(t.Context(), nodes[1].group, key); err != nil || v != "value of "+key {
				t.Errorf("%q, %v", v, err)
			}
			if err := nodes[1].group.Remove(t.Context(), key); err != nil {
				t.Error(err)
			}
			route := wire.NotLetThrough
			if what == "a writer that hides the connection" {
				route = wire.NotOffered
			}
			for _, n := range nodes {
				eventually(t, "no way for frames is known", func() bool { return n.route() == route.String() })
			}
			for range 5 {
				before := greetings.Load()
				nodes[1].instance.GreetAgain()
				eventually(t, "the peer is greeted", func() bool { return greetings.Load() > before })
			}
			eventually(t, "no connection is being made", func() bool { return nodes[1].route() == route.String() })
			if byFrames(nodes[1].instance) {
				t.Error("it is asked by frames")
			}
			if n := upgrades.Load(); n > 2 {
				t.Errorf("%d times a connection was to go on with frames", n)
			}
		})
	}
}

func TestFramesOverTLS(t *testing.T) {
	ca := testutil.NewAuthority(t)
	for _, h2 := range []bool{true, false} {
		owner := startNode(t, newSource(), func(o *groupcache.Options) { o.RequireClientCert = true })
		server := httptest.NewUnstartedServer(owner.instance.Handler())
		server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Here(t)}, ClientCAs: ca.Pool, ClientAuth: tls.VerifyClientCertIfGiven}
		server.EnableHTTP2 = h2
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		client := startNode(t, newSource(), func(o *groupcache.Options) {
			o.TLS = &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{ca.Here(t)}}
		})
		if err := client.instance.SetPeers(server.URL); err != nil {
			t.Fatal(err)
		}
		framed(t, client)
		if v, err := get(t.Context(), client.group, "a"); v != "value of a" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		if n := owner.group.Stats.ServerRequests.Get(); n != 1 {
			t.Errorf("%d requests", n)
		}
	}
}

// behindWire starts an owner behind a wire, and a process that asks it.
func behindWire(t *testing.T, s *source, adapt func(*groupcache.Options)) (asker, owner *node, w *wireProxy) {
	t.Helper()
	owner, asker = startNode(t, s, nil), startNode(t, s, adapt)
	w = startWire(t, owner.url)
	if err := asker.instance.SetPeers(w.url()); err != nil {
		t.Fatal(err)
	}
	framed(t, asker)
	eventually(t, "it is known what gets through", asker.instance.Explored) // PeerTimeout, which is long, is for peers of which it is not
	return asker, owner, w
}

// A connection that many requests share is one failure, not as many as there are requests.
func TestACutConnectionIsOneFailure(t *testing.T) {
	s := newSource()
	release := make(chan struct{})
	s.answer = func(context.Context, string) (string, error) {
		<-release
		return "v", nil
	}
	asker, owner, w := behindWire(t, s, nil)
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			if _, err := get(t.Context(), asker.group, fmt.Sprint("key ", i)); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all are asked", func() bool { return owner.group.Stats.ServerRequests.Get() == 64 })
	w.cut()
	close(release)
	callers.Wait()
	if n := asker.instance.PeersUp(); n != 1 {
		t.Error("the peer is taken for down")
	}
	framed(t, asker)
}

func TestAFrozenOwnerCostsNoErrorByFrames(t *testing.T) {
	asker, _, w := behindWire(t, newSource(), hasty)
	for i := range 200 { // its pace is known
		if _, err := get(t.Context(), asker.group, fmt.Sprint("warm ", i)); err != nil {
			t.Fatal(err)
		}
	}
	w.frozen.Store(true)
	slow := 0
	for i := range 300 {
		begun := time.Now()
		if v, err := get(t.Context(), asker.group, fmt.Sprint("key ", i)); err != nil || v == "" {
			t.Fatalf("%q, %v", v, err)
		}
		if time.Since(begun) > 15*time.Millisecond {
			slow++
		}
	}
	if up := asker.instance.PeersUp(); up != 0 {
		t.Error("the peer counts as up")
	}
	t.Logf("%d of 300 waited", slow)
	w.frozen.Store(false)
	eventually(t, "the peer is back", func() bool { return asker.instance.PeersUp() == 1 })
	framed(t, asker)
}

// A server that shuts down does not wait for connections that go on with frames, nor end them.
func TestShutdownEndsFramesInGoodOrder(t *testing.T) {
	c := startCluster(t, 2, nil)
	framed(t, c.nodes...)
	owner, asker := c.nodes[0], c.nodes[1]
	var failed atomic.Int64
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		callers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := get(t.Context(), asker.group, fmt.Sprint("key ", i%100)); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	if err := owner.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "nobody asks by frames", func() bool { return !byFrames(asker.instance) })
	close(stop)
	callers.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d Gets failed", n)
	}
}

// Processes that ask by frames come and go among those that do not: in both orders nothing fails.
func TestRollingOutFrames(t *testing.T) {
	for _, order := range [][2]groupcache.Frames{
		{groupcache.FramesOff, groupcache.FramesAuto},
		{groupcache.FramesAuto, groupcache.FramesOff},
		{groupcache.FramesAccept, groupcache.FramesAuto},
	} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			s := newSource()
			with := func(f groupcache.Frames) *node { return startNode(t, s, func(o *groupcache.Options) { o.Frames = f }) }
			nodes := []*node{with(order[0]), with(order[0]), with(order[0])}
			setPeers(t, nodes...)
			for i := range nodes {
				old := nodes[i]
				nodes[i] = with(order[1])
				setPeers(t, nodes...)
				if err := old.instance.Close(); err != nil {
					t.Fatal(err)
				}
				for _, n := range nodes { // they have told the one that has joined what it missed
					eventually(t, "all are up", func() bool { return n.instance.PeersUp() == 2 })
				}
				(&cluster{nodes: nodes, source: s}).readAndWrite(t, fmt.Sprint("step ", i))
			}
			if order[1] == groupcache.FramesAuto {
				framed(t, nodes...)
			} else if byFrames(nodes[0].instance) {
				t.Error("frames are used where they are off")
			}
		})
	}
}

// readAndWrite has each node set, read and remove keys of each.
func (c *cluster) readAndWrite(t *testing.T, word string) {
	t.Helper()
	for i, by := range c.nodes {
		for _, owner := range c.nodes {
			key := c.ownedBy(t, owner, word, fmt.Sprint(i))
			if v, err := get(t.Context(), by.group, key); err != nil || v != "value of "+key {
				t.Errorf("%s: %q, %v", word, v, err)
			}
			if err := by.group.Set(t.Context(), key, []byte("set"), time.Time{}, false); err != nil {
				t.Errorf("%s: Set: %v", word, err)
			}
			for _, n := range c.nodes {
				if v, err := get(t.Context(), n.group, key); err != nil || v != "set" {
					t.Errorf("%s: after Set: %q, %v", word, v, err)
				}
			}
			if err := by.group.Remove(t.Context(), key); err != nil {
				t.Errorf("%s: Remove: %v", word, err)
			}
		}
	}
}

// What was told by frames, held back and given up, is not carried out after what was told later by
// HTTP.
func TestAWriteThatWasHeldBackByFramesChangesNothing(t *testing.T) {
	secret := func(o *groupcache.Options) {
		o.Auth, o.Secret = groupcache.AuthRequire, []byte("0123456789abcdef")
		o.PeerTimeout = 200 * time.Millisecond
	}
	s := newSource()
	owner, asker := startNode(t, s, secret), startNode(t, s, secret)
	w := startWire(t, owner.url)
	if err := asker.instance.SetPeers(w.url()); err != nil {
		t.Fatal(err)
	}
	framed(t, asker)
	key := "k"
	if err := asker.group.Set(t.Context(), key, []byte("first"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	release := w.hold()
	defer release()
	if err := asker.group.Set(t.Context(), key, []byte("held back"), time.Time{}, false); err == nil {
		t.Fatal("a Set that is held back is no error")
	}
	eventually(t, "the peer is back", func() bool { return asker.instance.PeersUp() == 1 })
	if err := asker.group.Set(t.Context(), key, []byte("last"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is another connection", func() bool { return owner.instance.Sessions() == 2 })
	release()
	eventually(t, "what was held back has arrived, and the end of its connection", func() bool { return owner.instance.Sessions() == 1 })
	if v, err := get(t.Context(), owner.group, key); err != nil || v != "last" {
		t.Errorf("%q, %v", v, err)
	}
}
