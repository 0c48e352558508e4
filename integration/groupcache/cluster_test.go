package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// node is an instance with a server that can be cut off.
type node struct {
	instance *groupcache.Instance
	group    *groupcache.Group
	url      string
	address  string
	server   *http.Server
	serving  sync.WaitGroup

	mu     sync.Mutex
	framed []net.Conn // that go on with frames, which the server does not know any more; guarded by mu
}

// cluster is several instances in this process, over real sockets, that load from one source.
type cluster struct {
	nodes    []*node
	versions sync.Map // what the source has for each key, from string to int; 0 if it is missing
}

// startCluster starts n instances and waits until they know each other.
func startCluster(t *testing.T, n int, adapt func(*groupcache.Options)) *cluster {
	t.Helper()
	c := &cluster{}
	var urls []string
	for range n {
		c.nodes = append(c.nodes, c.startNode(t, adapt))
		urls = append(urls, c.nodes[len(c.nodes)-1].url)
	}
	for _, n := range c.nodes {
		if err := n.instance.SetPeers(urls...); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitPeers(t)
	return c
}

func (c *cluster) startNode(t *testing.T, adapt func(*groupcache.Options)) *node {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{address: l.Addr().String(), url: "http://" + l.Addr().String()}
	o := groupcache.Options{Self: n.url}
	if adapt != nil {
		adapt(&o)
	}
	if n.instance, err = groupcache.New(o); err != nil {
		t.Fatal(err)
	}
	if n.group, err = n.instance.NewGroup("g", 1<<20, groupcache.GetterFunc(c.load)); err != nil {
		t.Fatal(err)
	}
	n.serve(l)
	t.Cleanup(func() {
		if err := n.instance.Close(); err != nil {
			t.Error(err)
		}
		n.cut()
	})
	return n
}

// load is the Getter of all instances. Every other version takes a moment to load, so that writes
// overtake loads.
func (c *cluster) load(ctx context.Context, key string, dest groupcache.Sink) error {
	stored, _ := c.versions.Load(key)
	v, _ := stored.(int)
	if v%2 == 0 {
		select {
		case <-time.After(100 * time.Microsecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return dest.SetString(strconv.Itoa(v), time.Time{})
}

func (n *node) serve(l net.Listener) {
	server := &http.Server{Handler: n.instance.Handler(), ReadHeaderTimeout: time.Minute, ConnState: n.keepFramed}
	n.server = server
	n.serving.Go(func() { _ = server.Serve(l) }) // it ends by cut
}

func (n *node) keepFramed(conn net.Conn, is http.ConnState) {
	if is != http.StateHijacked {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.framed = append(n.framed, conn)
}

// cut closes the listener and all connections to the node, which itself goes on.
func (n *node) cut() {
	_ = n.server.Close()
	n.serving.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, conn := range n.framed {
		_ = conn.Close()
	}
	n.framed = nil
}

// restore makes the node reachable again.
func (n *node) restore(ctx context.Context) error {
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // somebody may have taken the port
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", n.address)
		if err == nil {
			n.serve(l)
			return nil
		}
		last = err
	}
	return last
}

// awaitPeers waits until each node uses all others.
func (c *cluster) awaitPeers(t *testing.T) {
	t.Helper()
	eventually(t, "all use all peers", func() bool {
		for _, n := range c.nodes {
			if n.instance.Debug().Ring != "even" {
				return false
			}
			for _, p := range n.instance.Debug().Peers {
				if !p.Self && (!p.Ours || p.State != "closed") {
					return false
				}
			}
		}
		return true
	})
}

// ownedBy finds a key that a node owns.
func (c *cluster) ownedBy(t *testing.T, n *node, prefix string) string {
	t.Helper()
	for i := range 10000 {
		key := fmt.Sprintf("%d, %s", i, prefix)
		if _, elsewhere := n.instance.PeerPicker().PickPeer(key); !elsewhere {
			return key
		}
	}
	t.Fatalf("%s owns nothing", n.url)
	return ""
}

// eventually waits for a condition that must come true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// read gets a version, unless the context ends.
func (n *node) read(ctx context.Context, key string) (version int, err error) {
	v, err := n.group.View(ctx, key)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(v.String())
}

// write changes the source, and tells the groupcache by Set, with or without a copy in the hot
// cache, or Remove.
func (c *cluster) write(ctx context.Context, n *node, key string, version, how int) error {
	c.versions.Store(key, version)
	switch how % 4 {
	case 0:
		return n.group.Set(ctx, key, []byte(strconv.Itoa(version)), time.Time{}, true)
	case 1:
		return n.group.Set(ctx, key, []byte(strconv.Itoa(version)), time.Time{}, false)
	}
	return n.group.Remove(ctx, key)
}

// leaves says that a Get ended because its caller left.
func leaves(err error) bool { return errors.Is(err, context.DeadlineExceeded) }
