package groupcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache"
)

func TestMain(m *testing.M) {
	if isPeer() {
		fmt.Fprintln(os.Stderr, runPeer(os.Args[2:]))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait")) // net/http lingers
}

// source is a database that counts.
type source struct {
	loads  atomic.Int64
	mu     sync.Mutex
	byKey  map[string]int // guarded by mu
	answer func(ctx context.Context, key string) (string, error)
}

func newSource() *source {
	return &source{byKey: make(map[string]int), answer: func(_ context.Context, key string) (string, error) { return "value of " + key, nil }}
}

// Get implements groupcache.Getter.
func (s *source) Get(ctx context.Context, key string, dest groupcache.Sink) error {
	s.loads.Add(1)
	s.mu.Lock()
	s.byKey[key]++
	s.mu.Unlock()
	v, err := s.answer(ctx, key)
	if err != nil {
		return err
	}
	return dest.SetString(v, time.Time{})
}

// twice lists the keys that were loaded more than once.
func (s *source) twice() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, n := range s.byKey {
		if n > 1 {
			keys = append(keys, key)
		}
	}
	return keys
}

// node is one process of a cluster, in this one.
type node struct {
	instance *groupcache.Instance
	group    *groupcache.Group
	url      string
	server   *http.Server
	hung     atomic.Bool            // takes requests and answers none
	untold   atomic.Bool            // does not hear of removals
	hold     atomic.Pointer[func()] // runs before it hears of a removal
	late     atomic.Pointer[lateness]
	around   atomic.Pointer[func(http.Handler) http.Handler] // a middleware, or a proxy
	posts    atomic.Int64
	sets     atomic.Int64
	down     atomic.Bool                          // something else answers in its place
	before   atomic.Pointer[func(request []byte)] // runs before a removal by prefix, or a question after writes, of which it is given all

	tapped bool // frames that it is sent are subject to all that
	taps   sync.WaitGroup
	mu     sync.Mutex
	conns  []net.Conn // that are tapped; guarded by mu
}

// ServeHTTP implements http.Handler.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "/_groupcache/") { // that is a greeting
		n.posts.Add(1)
	}
	if r.Method == http.MethodPut {
		n.sets.Add(1)
	}
	if n.down.Load() {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if n.hung.Load() {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client leaves
		<-r.Context().Done()
		return
	}
	if r.Method == http.MethodDelete {
		if hold := n.hold.Load(); hold != nil {
			(*hold)()
		}
		if n.untold.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
	}
	if late := n.late.Load(); late != nil && strings.HasSuffix(r.URL.Path, "/cached") {
		late.serve(n.instance.Handler(), w, r)
		return
	}
	if before := n.before.Load(); before != nil && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/g") {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		(*before)(body)
	}
	h := n.instance.Handler()
	if n.tapped {
		w = tapping{w, n}
	}
	if around := n.around.Load(); around != nil {
		h = (*around)(h)
	}
	h.ServeHTTP(w, r)
}

// behind puts something between the peers and this one.
func (n *node) behind(around func(http.Handler) http.Handler) { n.around.Store(&around) }

// lateness holds answers back that were made already.
type lateness struct{ made, release chan struct{} }

func (l *lateness) serve(h http.Handler, w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	l.made <- struct{}{}
	<-l.release
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// cluster is a groupcache of several instances over real sockets.
type cluster struct {
	nodes  []*node
	source *source
}

// patient has a busy machine be no silent peer. Nodes are, unless they are told otherwise.
func patient(o *groupcache.Options) { o.Silence, o.PeerTimeout = 5*time.Second, longest }

// hasty has the defaults, for tests of peers that hang.
func hasty(o *groupcache.Options) { o.Silence, o.PeerTimeout = 0, 0 }

// overHTTP has peers asked over HTTP, for tests of what happens to requests on their way.
func overHTTP(o *groupcache.Options) { o.Frames = groupcache.FramesOff }

// byHTTP is overHTTP with other options.
func byHTTP(adapt func(*groupcache.Options)) func(*groupcache.Options) {
	return func(o *groupcache.Options) {
		overHTTP(o)
		adapt(o)
	}
}

// startCluster starts n instances that share a source, and waits until they know each other.
func startCluster(t *testing.T, n int, adapt func(*groupcache.Options), opts ...groupcache.GroupOption) *cluster {
	t.Helper()
	c := &cluster{source: newSource()}
	for range n {
		c.nodes = append(c.nodes, startNode(t, c.source, adapt, opts...))
	}
	c.acquaint(t)
	return c
}

// acquaint tells nodes of each other, and waits until they know each other.
func (c *cluster) acquaint(t *testing.T) {
	t.Helper()
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, n.url)
	}
	for _, node := range c.nodes {
		if err := node.instance.SetPeers(urls...); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range c.nodes {
		eventually(t, "the peers know each other", func() bool { return node.instance.Acquainted() })
	}
	for _, node := range c.nodes {
		node.mayAskByFrames()
	}
}

// mayAskByFrames waits a moment for the connections for frames, if there are to be any.
func (n *node) mayAskByFrames() {
	for end := time.Now().Add(time.Second); n.instance.AsksByFrames() && !byFrames(n.instance); {
		if time.Now().After(end) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func startNode(t *testing.T, s groupcache.Getter, adapt func(*groupcache.Options), opts ...groupcache.GroupOption) *node {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startNodeAt(t, l, s, adapt, opts...)
}

// startNodeAt is startNode for a listener that there is.
func startNodeAt(t *testing.T, l net.Listener, s groupcache.Getter, adapt func(*groupcache.Options), opts ...groupcache.GroupOption) *node {
	t.Helper()
	o := groupcache.Options{Self: "http://" + l.Addr().String()}
	patient(&o)
	if adapt != nil {
		adapt(&o)
	}
	i, err := groupcache.New(o)
	if err != nil {
		t.Fatal(err)
	}
	g, err := i.NewGroup("g", 1<<20, s, opts...)
	if err != nil {
		t.Fatal(err)
	}
	nd := &node{instance: i, group: g, url: o.Self}
	nd.server = &http.Server{Handler: nd, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := nd.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		nd.kill()
		serving.Wait()
		nd.taps.Wait()
	})
	return nd
}

// ownedBy finds a key that node owns, another one for other words in it.
func (c *cluster) ownedBy(t *testing.T, n *node, words ...string) string {
	t.Helper()
	for i := range 10000 {
		key := fmt.Sprintf("key %d of %s", i, n.url)
		if len(words) > 0 {
			key = fmt.Sprint(i, " ", strings.Join(words, " "))
		}
		if n.instance.Owns(key) {
			return key
		}
	}
	t.Fatalf("%s owns nothing", n.url)
	return ""
}

func get(ctx context.Context, g *groupcache.Group, key string) (string, error) {
	var s string
	err := g.Get(ctx, key, groupcache.StringSink(&s))
	return s, err
}

// eventually waits for a condition that must come true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}
