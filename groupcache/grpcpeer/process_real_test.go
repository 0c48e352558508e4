package grpcpeer_test

import (
	"context"
	"encoding/json"
	"errors"
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

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// peerArgument as the first argument makes this program a peer: then follow its address for peers,
// the port for the test, the URL of the database, and the addresses of all peers.
const peerArgument = "run-as-grpc-peer"

func isPeer() bool { return len(os.Args) > 1 && os.Args[1] == peerArgument }

// runPeer is the program of a peer. It loads from the database over HTTP, so that the test can
// count, and ends by a signal.
func runPeer(args []string) error {
	self, port, database, peers := args[0], args[1], args[2], args[3:]
	network, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		return err
	}
	// A busy machine makes processes silent for longer than the default allows, and the next owner
	// load.
	i, err := groupcache.New(groupcache.Options{Self: self, Network: network, Ring: groupcache.HashRing, Silence: time.Second})
	if err != nil {
		return err
	}
	g, err := i.NewGroup("g", 1<<20, groupcache.GetterFunc(func(ctx context.Context, key string, dest groupcache.Sink) error {
		v, err := fetch(ctx, database+"?key="+url.QueryEscape(key))
		if err != nil {
			return err
		}
		return dest.SetString(v, time.Time{})
	}))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/herd", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err == nil {
			err = json.NewEncoder(w).Encode(runHerd(r.Context(), g, r.FormValue("key"), n))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("/state", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(i.Debug().Peers)
	})
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", self)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- network.Serve(l) }()
	go func() {
		failed <- (&http.Server{Addr: "127.0.0.1:" + port, Handler: mux, ReadHeaderTimeout: time.Minute}).ListenAndServe()
	}()
	if err := i.SetPeers(peers...); err != nil {
		return err
	}
	return <-failed
}

// herd is what many callers who asked for one key at once have felt.
type herd struct {
	Values  map[string]int
	Errors  map[string]int
	Slowest time.Duration
}

func runHerd(ctx context.Context, g *groupcache.Group, key string, n int) herd {
	h := herd{Values: map[string]int{}, Errors: map[string]int{}}
	var mu sync.Mutex
	var callers sync.WaitGroup
	for range n {
		callers.Go(func() {
			began := time.Now()
			v, err := get(ctx, g, key)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			if h.Slowest = max(h.Slowest, took); err != nil {
				h.Errors[err.Error()]++
				return
			}
			h.Values[v]++
		})
	}
	callers.Wait()
	return h
}

func fetch(ctx context.Context, address string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, b)
	}
	return string(b), err
}

// family is a groupcache of several processes.
type family struct {
	addrs    []string // for peers
	ports    []string // for the test
	children []*testutil.Child
	database string
	ring     *consistenthash.Map

	mu    sync.Mutex
	pause time.Duration  // of the database; guarded by mu
	loads map[string]int // guarded by mu
}

func startFamily(t *testing.T, n int) *family {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT TESTED with -short: starts processes")
	}
	f := &family{loads: make(map[string]int), pause: usualPause, ring: consistenthash.New(50, nil)}
	database := httptest.NewServer(http.HandlerFunc(f.answer))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		database.Close()
	})
	f.database = database.URL
	freePort := func() string {
		port, err := testutil.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		return strconv.Itoa(port)
	}
	for range n {
		f.addrs = append(f.addrs, "127.0.0.1:"+freePort())
		f.ports = append(f.ports, freePort())
	}
	f.ring.Add(f.addrs...)
	f.children = make([]*testutil.Child, n)
	for i := range n {
		f.launch(t, i)
	}
	f.allUp(t)
	var warm sync.WaitGroup
	for i := range n {
		warm.Go(func() {
			for k := range 40 { // so that it knows how quick its peers are
				f.herd(t, i, fmt.Sprintf("warm %d of %d", k*7919, i), 1)
			}
		})
	}
	warm.Wait()
	return f
}

// answer is the database.
func (f *family) answer(w http.ResponseWriter, r *http.Request) {
	key := r.FormValue("key")
	f.mu.Lock()
	f.loads[key]++
	pause := f.pause
	f.mu.Unlock()
	time.Sleep(pause)
	_, _ = io.WriteString(w, "value of "+key)
}

func (f *family) launch(t *testing.T, i int) {
	t.Helper()
	args := slices.Concat([]string{peerArgument, f.addrs[i], f.ports[i], f.database}, f.addrs)
	child, err := testutil.LaunchSelf(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	f.children[i] = child
	t.Cleanup(func() {
		if err := child.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("peer %d wrote %q", i, child.Stderr())
		}
	})
}

// knows reports whether a process has so many peers of ours that it asks.
func (f *family) knows(t *testing.T, i, peers int) bool {
	t.Helper()
	s, err := fetch(t.Context(), "http://127.0.0.1:"+f.ports[i]+"/state")
	if err != nil {
		return false
	}
	var all []groupcache.DebugPeer
	if err := json.Unmarshal([]byte(s), &all); err != nil {
		t.Fatal(err)
	}
	up := 0
	for _, p := range all {
		if p.Ours && p.State == "closed" {
			up++
		}
	}
	return up == peers
}

// ownedBy finds a key that a process owns, which nobody has asked for.
func (f *family) ownedBy(i int, prefix string) string {
	for n := 0; ; n++ {
		if key := fmt.Sprintf("%d %s of %d", n, prefix, i); f.ring.Get(key) == f.addrs[i] {
			return key
		}
	}
}

// herd lets n callers ask process i for a key at once.
func (f *family) herd(t *testing.T, i int, key string, n int) (h herd) {
	t.Helper()
	s, err := fetch(t.Context(), fmt.Sprintf("http://127.0.0.1:%s/herd?n=%d&key=%s", f.ports[i], n, url.QueryEscape(key)))
	if err == nil {
		err = json.Unmarshal([]byte(s), &h)
	}
	if err != nil {
		t.Errorf("a herd at process %d: %v", i, err)
	}
	return h
}

// stampede lets 501 callers each ask all processes but the first for a key, and checks that all of
// them get it from one load.
func (f *family) stampede(t *testing.T, key string) {
	t.Helper()
	var all sync.WaitGroup
	for i := 1; i < len(f.addrs); i++ {
		all.Go(func() {
			h := f.herd(t, i, key, 501)
			t.Logf("process %d: slowest %v", i, h.Slowest)
			if len(h.Errors) > 0 || h.Values["value of "+key] != 501 {
				t.Errorf("process %d: values %v, errors %v", i, h.Values, h.Errors)
			}
		})
	}
	all.Wait()
	if got := f.loadsOf(key); got != 1 {
		t.Errorf("%d loads", got)
	}
}

// usualPause is how long the database takes.
const usualPause = 5 * time.Millisecond

func (f *family) setPause(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pause = d
}

func (f *family) loadsOf(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loads[key]
}

func hang(t *testing.T, c *testutil.Child) {
	t.Helper()
	if err := c.Hang(); errors.Is(err, testutil.ErrCannotHang) {
		t.Skipf("NOT TESTED: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

func TestAHerdCausesOneLoad(t *testing.T) {
	f := startFamily(t, 3)
	t.Run("owner alive", func(t *testing.T) { f.stampede(t, f.ownedBy(0, "cold")) })
	// A database that is slow is no fault of the owner's: it says that it is at work, and nobody
	// loads the key a second time.
	t.Run("slow load", func(t *testing.T) {
		f.setPause(2 * time.Second)
		defer f.setPause(usualPause)
		f.stampede(t, f.ownedBy(0, "slow"))
	})
	t.Run("owner hung", func(t *testing.T) {
		key := f.ownedBy(0, "while it is hung")
		hang(t, f.children[0])
		f.stampede(t, key)
		if err := f.children[0].Release(); err != nil {
			t.Fatal(err)
		}
		f.allUp(t)
	})
	t.Run("owner killed", func(t *testing.T) {
		key := f.ownedBy(0, "while it is dead")
		if err := f.children[0].Kill(); err != nil {
			t.Fatal(err)
		}
		f.stampede(t, key)
	})
}

// Of five processes each loads what it owns, once. One that was hung, or killed and started again
// at its address, gets its keys back.
func TestPeersComeBack(t *testing.T) {
	f := startFamily(t, 5)
	for i := range f.addrs {
		f.stampede(t, f.ownedBy(i, "cold"))
	}
	hang(t, f.children[0])
	f.stampede(t, f.ownedBy(0, "while it is hung"))
	if err := f.children[0].Release(); err != nil {
		t.Fatal(err)
	}
	f.allUp(t)
	f.stampede(t, f.ownedBy(0, "after it was hung"))
	if err := f.children[0].Kill(); err != nil {
		t.Fatal(err)
	}
	f.stampede(t, f.ownedBy(0, "while it is dead"))
	f.launch(t, 0)
	f.allUp(t)
	f.stampede(t, f.ownedBy(0, "after it was dead"))
}

func (f *family) allUp(t *testing.T) {
	t.Helper()
	for i := range f.addrs {
		eventually(t, "all are up", func() bool { return f.knows(t, i, len(f.addrs)-1) })
	}
}
