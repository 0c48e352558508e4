package grpcpeer_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/tracing"
)

func TestMain(m *testing.M) {
	if isPeer() {
		fmt.Fprintln(os.Stderr, runPeer(os.Args[2:]))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// standIn answers peers as a test says. What a test has not set is not expected.
type standIn struct {
	get      func(ctx context.Context, group, key string, loading func()) (wire.Answer, error)
	getMulti func(ctx context.Context, group string, keys []string) ([]wire.Answer, error)
	cached   func(group string, keys []string) ([]wire.Answer, error)
	set      func(group, key, value string, expire int64) error
	remove   func(group, key string) error
	offer    func(ctx context.Context, group, from string, keys []string) error
	forget   func()
	sweep    func(group string, s writes.Sweep) error
	written  func(group string, within time.Duration, keys []string) ([]wire.Answer, error)
	even     bool
	size     int64 // of values at most; 0: 1 MiB
}

func (s *standIn) Get(ctx context.Context, group, key string, loading func()) (wire.Answer, error) {
	return s.get(ctx, group, key, loading)
}

func (s *standIn) Find(string, string) (wire.Answer, bool) { return wire.Answer{}, false }

func (s *standIn) GetMulti(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	return s.getMulti(ctx, group, keys)
}

func (s *standIn) GetCached(_ context.Context, group string, keys []string) ([]wire.Answer, error) {
	return s.cached(group, keys)
}

func (s *standIn) Set(_ context.Context, group, key, value string, expire int64) error {
	return s.set(group, key, value, expire)
}

func (s *standIn) Remove(_ context.Context, group string, keys ...string) error {
	return s.remove(group, keys[0])
}

func (s *standIn) Sweep(_ context.Context, group string, sweep writes.Sweep) error {
	return s.sweep(group, sweep)
}

func (s *standIn) Written(_ context.Context, group string, within time.Duration, keys []string) ([]wire.Answer, error) {
	return s.written(group, within, keys)
}

func (s *standIn) Offer(ctx context.Context, group, from string, keys []string) error {
	return s.offer(ctx, group, from, keys)
}

func (s *standIn) Forget() { s.forget() }

func (s *standIn) Greeting() wire.Greeting {
	return wire.Greeting{Marked: true, Ring: "even", RingInUse: s.even}
}

func (*standIn) Tracer() *tracing.Tracer { return nil }

func (s *standIn) MaxValueSize() int64 {
	if s.size == 0 {
		return 1 << 20
	}
	return s.size
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newNetwork(t testing.TB, local wire.Local, o grpcpeer.Options) *grpcpeer.Network {
	t.Helper()
	n, err := grpcpeer.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Attach(local); err != nil {
		t.Fatal(err)
	}
	return n
}

// serve lets a stand-in answer peers, and returns its address.
func serve(t testing.TB, local wire.Local, o grpcpeer.Options) (*grpcpeer.Network, string) {
	t.Helper()
	n, l := newNetwork(t, local, o), listen(t, "127.0.0.1:0")
	start(t, n, l)
	return n, l.Addr().String()
}

// start runs Serve until the end of the test.
func start(t testing.TB, n *grpcpeer.Network, l net.Listener) {
	t.Helper()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := n.Serve(l); err != nil && !errors.Is(err, grpcpeer.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
}

// dial makes what asks the peer at an address.
func dial(t testing.TB, addr string, o grpcpeer.Options) wire.Transport {
	t.Helper()
	tr := newNetwork(t, &standIn{}, o).Dial(addr)
	t.Cleanup(tr.Close)
	return tr
}

// pair is a stand-in and what asks it.
func pair(t *testing.T, local wire.Local) wire.Transport {
	t.Helper()
	_, addr := serve(t, local, grpcpeer.Options{})
	return dial(t, addr, grpcpeer.Options{})
}

func ignore() {}

// source is a database that counts.
type source struct {
	mu     sync.Mutex
	loads  map[string]int // by key; guarded by mu
	answer func(ctx context.Context, key string) (string, error)
}

func newSource() *source {
	return &source{loads: make(map[string]int), answer: func(_ context.Context, key string) (string, error) { return "value of " + key, nil }}
}

// Get implements groupcache.Getter.
func (s *source) Get(ctx context.Context, key string, dest groupcache.Sink) error {
	s.mu.Lock()
	s.loads[key]++
	s.mu.Unlock()
	v, err := s.answer(ctx, key)
	if err != nil {
		return err
	}
	return dest.SetString(v, time.Time{})
}

func (s *source) loadsOf(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads[key]
}

// node is one process of a cluster, in this one.
type node struct {
	addr     string
	network  *grpcpeer.Network
	instance *groupcache.Instance
	group    *groupcache.Group

	mu    sync.Mutex
	calls map[string]int // from peers, by method; guarded by mu
}

func (n *node) callsOf(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls["/groupcachepb.GroupCache/"+method]
}

func startNode(t *testing.T, s groupcache.Getter, adapt func(*groupcache.Options), opts grpcpeer.Options) *node {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	n := &node{addr: l.Addr().String(), calls: make(map[string]int)}
	authorize := opts.Authorize
	opts.Authorize = func(ctx context.Context, method string) error {
		n.mu.Lock()
		n.calls[method]++
		n.mu.Unlock()
		if authorize == nil {
			return nil
		}
		return authorize(ctx, method)
	}
	var err error
	if n.network, err = grpcpeer.New(opts); err != nil {
		t.Fatal(err)
	}
	o := groupcache.Options{Self: n.addr, Network: n.network, Ring: groupcache.HashRing}
	o.Silence = 5 * time.Second // a busy machine is no silent peer
	if adapt != nil {
		adapt(&o)
	}
	if n.instance, err = groupcache.New(o); err != nil {
		t.Fatal(err)
	}
	if n.group, err = n.instance.NewGroup("g", 4<<20, s); err != nil {
		t.Fatal(err)
	}
	start(t, n.network, l)
	t.Cleanup(func() {
		if err := n.instance.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// cluster is a groupcache of several instances over real sockets.
type cluster struct {
	nodes  []*node
	source *source
	ring   *consistenthash.Map
}

func startCluster(t *testing.T, n int, adapt func(*groupcache.Options), opts grpcpeer.Options) *cluster {
	t.Helper()
	c := &cluster{source: newSource()}
	for range n {
		c.nodes = append(c.nodes, startNode(t, c.source, adapt, opts))
	}
	c.meet(t)
	return c
}

func (c *cluster) addrs() (addrs []string) {
	for _, n := range c.nodes {
		addrs = append(addrs, n.addr)
	}
	return addrs
}

// meet tells all nodes of all, and waits until they know each other.
func (c *cluster) meet(t *testing.T) {
	t.Helper()
	c.meetStrangers()
	for _, n := range c.nodes {
		if err := n.instance.SetPeers(c.addrs()...); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.nodes {
		eventually(t, "the peers know each other", func() bool { return acquainted(n.instance) })
	}
}

// meetStrangers finds out who owns what.
func (c *cluster) meetStrangers() {
	c.ring = consistenthash.New(50, nil)
	c.ring.Add(c.addrs()...)
}

// acquainted reports whether all peers have shown that they are of ours.
func acquainted(i *groupcache.Instance) bool {
	for _, p := range i.Debug().Peers {
		if !p.Self && !p.Ours {
			return false
		}
	}
	return true
}

// ownedBy finds a key that a node owns.
func (c *cluster) ownedBy(n *node) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("%d, a key of %s", i, n.addr); c.ring.Get(key) == n.addr {
			return key
		}
	}
}

func get(ctx context.Context, g *groupcache.Group, key string) (string, error) {
	v, err := g.View(ctx, key)
	return v.String(), err
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
