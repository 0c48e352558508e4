package etcd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	"github.com/holdfast-go/holdfast/groupcache/etcd"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// peerArgument as the first argument makes this program a server: then follow its address for
// peers, that for the test, the endpoint of etcd, and the URL of the database.
const peerArgument = "run-as-etcd-server"

// silence is longer than the default: a busy machine makes processes silent for longer, and the
// next owner load.
const silence = time.Second

func isPeer() bool { return len(os.Args) > 5 && os.Args[1] == peerArgument }

// runPeer is the program of a server. It loads from the database over HTTP, so that the test can
// count, and ends by a signal.
//
//nolint:contextcheck // the original's Get has no context
func runPeer(args []string) error {
	self, control, endpoint, database := args[0], args[1], args[2], args[3]
	o := etcd.Options{Endpoints: []string{endpoint}, TTL: ttl, Cache: groupcache.Options{Silence: silence, Ring: groupcache.HashRing}}
	s, err := etcd.NewServerWith(self, o)
	if err != nil {
		return err
	}
	g := etcd.NewGroup("g", 1<<20, etcd.RetrieveFunc(func(key string) ([]byte, error) {
		return fetch(context.Background(), database+"?key="+url.QueryEscape(key))
	}))
	g.RegisterServer(s)
	http.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(ask(g, r.FormValue("key")))
	})
	http.HandleFunc("/peers", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(s.Instance().Debug().Peers)
	})
	failed := make(chan error, 2)
	go func() { failed <- s.Start() }()
	go func() {
		failed <- (&http.Server{Addr: control, ReadHeaderTimeout: time.Minute}).ListenAndServe()
	}()
	return <-failed
}

// callers is how many ask a process for a key at once.
const callers = 100

// answers are what they got.
type answers struct{ Values, Errors map[string]int }

func ask(g *etcd.Group, key string) answers {
	a := answers{map[string]int{}, map[string]int{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			v, err := g.Get(key)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				a.Errors[err.Error()]++
				return
			}
			a.Values[v.String()]++
		})
	}
	all.Wait()
	return a
}

func fetch(ctx context.Context, address string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return io.ReadAll(response.Body)
}

// family is a groupcache of several processes.
type family struct {
	etcd     *testutil.Etcd
	database *httptest.Server
	addrs    []string // for peers
	controls []string // for the test
	children []*testutil.Child

	mu    sync.Mutex
	loads map[string]int // guarded by mu
}

func startFamily(t *testing.T, n int) *family {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT TESTED with -short: starts processes")
	}
	f := &family{etcd: testutil.StartEtcd(t), loads: make(map[string]int), children: make([]*testutil.Child, n)}
	f.database = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.FormValue("key")
		f.mu.Lock()
		f.loads[key]++
		f.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		_, _ = io.WriteString(w, "value of "+key)
	}))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		f.database.Close()
	})
	for range n {
		f.addrs, f.controls = append(f.addrs, freeAddr(t)), append(f.controls, freeAddr(t))
	}
	for i := range n {
		f.launch(t, i)
	}
	f.meet(t, f.addrs...)
	return f
}

func (f *family) launch(t *testing.T, i int) {
	t.Helper()
	child, err := testutil.LaunchSelf(t.Context(), peerArgument, f.addrs[i], f.controls[i], f.etcd.Addr(), f.database.URL)
	if err != nil {
		t.Fatal(err)
	}
	f.children[i] = child
	t.Cleanup(func() {
		if err := child.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("server %d wrote %q", i, child.Stderr())
		}
	})
}

// meet waits until those servers know each other, and no more.
func (f *family) meet(t *testing.T, addrs ...string) {
	t.Helper()
	for i, addr := range f.addrs {
		if slices.Contains(addrs, addr) {
			eventually(t, "the processes know each other", func() bool { return f.knows(t, i, len(addrs)) })
		}
	}
}

func (f *family) knows(t *testing.T, i, n int) bool {
	t.Helper()
	b, err := fetch(t.Context(), "http://"+f.controls[i]+"/peers")
	if err != nil {
		return false
	}
	var peers []groupcache.DebugPeer
	if err := json.Unmarshal(b, &peers); err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if !p.Self && (!p.Ours || p.State != "closed") {
			return false
		}
	}
	return len(peers) == n
}

// stampede lets many callers at some processes ask for keys, all at once, and checks that all get
// them, and each key is loaded once.
func (f *family) stampede(t *testing.T, prefix string, processes ...int) {
	t.Helper()
	for n := range 10 {
		f.stampedeFor(t, fmt.Sprintf("%d %s", n*7919, prefix), processes...)
	}
}

func (f *family) stampedeFor(t *testing.T, key string, processes ...int) {
	t.Helper()
	var all sync.WaitGroup
	for _, i := range processes {
		all.Go(func() {
			b, err := fetch(t.Context(), "http://"+f.controls[i]+"/get?key="+url.QueryEscape(key))
			if err != nil {
				t.Error(err)
				return
			}
			var a answers
			if err := json.Unmarshal(b, &a); err != nil || len(a.Errors) > 0 || a.Values["value of "+key] != callers {
				t.Errorf("process %d, %q: %+v, %v", i, key, a, err)
			}
		})
	}
	all.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := f.loads[key]; got != 1 {
		t.Errorf("%q: %d loads", key, got)
	}
}

// owned finds a key that a process owns.
func (f *family) owned(i int, prefix string) string {
	ring := consistenthash.New(50, nil)
	ring.Add(f.addrs...)
	for n := 0; ; n++ {
		if key := fmt.Sprintf("%d %s", n, prefix); ring.Get(key) == f.addrs[i] {
			return key
		}
	}
}

// Processes find each other by etcd, and each key is loaded once, by whichever process it is asked
// for. One that is killed is missed by nobody: at first the next owner loads for all, then etcd
// takes it off the list. One that comes back gets its keys again.
func TestProcessesFindEachOther(t *testing.T) {
	t.Parallel()
	f := startFamily(t, 4)
	f.stampede(t, "all are there", 0, 1, 2, 3)
	if err := f.children[0].Kill(); err != nil {
		t.Fatal(err)
	}
	f.stampedeFor(t, f.owned(0, "just killed"), 1, 2, 3)
	f.meet(t, f.addrs[1:]...)
	f.stampede(t, "one is gone", 1, 2, 3)
	f.launch(t, 0)
	f.meet(t, f.addrs...)
	f.stampede(t, "one is back", 0, 1, 2, 3)
}

// Without etcd the processes go on with the peers that they know, even if one of them dies.
func TestProcessesOutliveEtcd(t *testing.T) {
	t.Parallel()
	f := startFamily(t, 3)
	if err := f.etcd.Kill(); err != nil {
		t.Fatal(err)
	}
	f.stampede(t, "etcd is gone", 0, 1, 2)
	time.Sleep(ttl + ttl/4) // all leases would have run out
	for i := range f.addrs {
		if !f.knows(t, i, 3) {
			t.Errorf("process %d has lost peers", i)
		}
	}
	f.stampede(t, "etcd is gone for long", 0, 1, 2)
	if err := f.children[0].Kill(); err != nil {
		t.Fatal(err)
	}
	f.stampedeFor(t, f.owned(0, "killed without etcd"), 1, 2)
	if err := f.etcd.Restart(); err != nil {
		t.Fatal(err)
	}
	f.meet(t, f.addrs[1:]...)
	f.stampede(t, "etcd is back", 1, 2)
}

// Three servers in this process.
func TestServersFindEachOther(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	s := newSource()
	o := etcd.Options{Endpoints: []string{e.Addr()}, TTL: ttl, Cache: groupcache.Options{Silence: silence, Ring: groupcache.HashRing}}
	var nodes []*node
	var waits []func()
	for range 3 {
		n := newNodeOf(t, t.Name(), freeAddr(t), s, o)
		nodes, waits = append(nodes, n), append(waits, n.start(t))
	}
	meet(t, nodes...)
	expectOnce(t, s, "three", nodes...)
	var handedOver []string // values that nobody else has
	for i := 0; len(handedOver) < 20; i++ {
		key := fmt.Sprintf("%d to hand over", i)
		if _, elsewhere := nodes[0].Pick(key); elsewhere {
			continue
		}
		handedOver = append(handedOver, key)
		if _, err := nodes[0].group.Get(key); err != nil {
			t.Error(err)
		}
	}

	nodes[0].Stop()
	waits[0]()
	rest := nodes[1:]
	meet(t, rest...)
	expectOnce(t, s, "two", rest...)
	for _, key := range handedOver {
		if v, err := rest[0].group.Get(key); v.String() != "value of "+key || err != nil || s.loadsOf(key) != 1 {
			t.Errorf("%q: %q, %v, %d loads", key, v, err, s.loadsOf(key))
		}
	}
	expect(t, "alone", nodes[0])

	nodes[0].start(t)
	meet(t, nodes...)
	expectOnce(t, s, "three again", nodes...)

	if err := e.Kill(); err != nil {
		t.Fatal(err)
	}
	expectOnce(t, s, "without etcd", nodes...)
	began := time.Now()
	nodes[0].Stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Stop without etcd took %v", took)
	}
	if err := e.Restart(); err != nil {
		t.Fatal(err)
	}
	meet(t, rest...)
	expectOnce(t, s, "with etcd again", rest...)
}

// A server that begins while etcd is away registers when it is there.
func TestServersThatBeginBeforeEtcd(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	if err := e.Kill(); err != nil {
		t.Fatal(err)
	}
	s := newSource()
	var nodes []*node
	for range 2 {
		n := newNodeOf(t, t.Name(), freeAddr(t), s, etcd.Options{Endpoints: []string{e.Addr()}, TTL: ttl, Cache: groupcache.Options{Silence: silence, Ring: groupcache.HashRing}})
		nodes = append(nodes, n)
		n.start(t)
		expect(t, "alone at "+n.Addr, n)
	}
	if err := e.Restart(); err != nil {
		t.Fatal(err)
	}
	meet(t, nodes...)
	expectOnce(t, s, "together", nodes...)
}

// The endpoints of a server without options are those of the environment, and it registers like the
// original: others find it by its key.
func TestDefaultsAreTheOriginals(t *testing.T) {
	e := testutil.StartEtcd(t)
	t.Setenv("ETCDCTL_ENDPOINTS", e.Addr())
	port, err := testutil.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("localhost", strconv.Itoa(port))
	s, err := etcd.NewServer(addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Start() }()
	key := "groupcache/" + addr
	eventually(t, "the server is registered", func() bool { return registered(t, e.Addr(), key) == `{"Op":0,"Addr":"`+addr+`","Metadata":null}` })
	s.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := registered(t, e.Addr(), key); got != "" {
		t.Errorf("after Stop: %s", got)
	}
	_ = s.Close()
}

// registered is the value of a key in etcd, empty if there is none.
func registered(t *testing.T, endpoint, key string) string {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return ""
	}
	return string(r.Kvs[0].Value)
}
