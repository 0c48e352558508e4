package etcd_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache/etcd"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

func TestMain(m *testing.M) {
	if isPeer() {
		fmt.Fprintln(os.Stderr, runPeer(os.Args[2:]))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// ttl is the shortest that etcd grants.
const ttl = 2 * time.Second

// source is a database that counts.
type source struct {
	mu    sync.Mutex
	loads map[string]int // by key; guarded by mu
	err   error          // guarded by mu
}

func newSource() *source { return &source{loads: make(map[string]int)} }

// Retrieve implements etcd.Retriever.
func (s *source) Retrieve(key string) ([]byte, error) {
	s.mu.Lock()
	s.loads[key]++
	err := s.err
	s.mu.Unlock()
	time.Sleep(2 * time.Millisecond) // so that others join
	return []byte("value of " + key), err
}

func (s *source) loadsOf(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads[key]
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := testutil.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// node is a server with a group.
type node struct {
	*etcd.Server
	group *etcd.Group
}

// newNode makes a server that does not run.
func newNode(t *testing.T, addr string, r etcd.Retriever, o etcd.Options) *node {
	t.Helper()
	return newNodeOf(t, "g", addr, r, o)
}

// newNodeOf is newNode with a name for its group: all groups are those of the process.
func newNodeOf(t *testing.T, group, addr string, r etcd.Retriever, o etcd.Options) *node {
	t.Helper()
	s, err := etcd.NewServerWith(addr, o)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{s, etcd.NewGroup(group, 1<<20, r)}
	n.group.RegisterServer(s)
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		etcd.DestroyGroup(group)
	})
	return n
}

// start runs Start, and returns what waits for its end.
func (n *node) start(t *testing.T) (wait func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- n.Start() }()
	var once sync.Once
	wait = func() {
		once.Do(func() {
			if err := <-done; err != nil {
				t.Errorf("Start: %v", err)
			}
		})
	}
	t.Cleanup(wait)   // after the next one
	t.Cleanup(n.Stop) // so that it ends
	eventually(t, "the server listens", func() bool {
		c, err := net.Dial("tcp", n.Addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return wait
}

// meet waits until all nodes know all others, and no more.
func meet(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, "the servers know each other", func() bool {
			peers := n.Instance().Debug().Peers
			for _, p := range peers {
				if !p.Self && (!p.Ours || p.State != "closed") {
					return false
				}
			}
			return len(peers) == len(nodes)
		})
	}
}

// expect lets all nodes ask for many keys at once, and checks the values.
func expect(t *testing.T, prefix string, nodes ...*node) (keys []string) {
	t.Helper()
	var all sync.WaitGroup
	for i := range 30 {
		key := fmt.Sprintf("%d %s", i*7919, prefix)
		keys = append(keys, key)
		for _, n := range nodes {
			all.Go(func() {
				if v, err := n.group.Get(key); v.String() != "value of "+key || err != nil {
					t.Errorf("Get(%q) at %s = %q, %v", key, n.Addr, v, err)
				}
			})
		}
	}
	all.Wait()
	return keys
}

// expectOnce is expect, and each key must be loaded once.
func expectOnce(t *testing.T, s *source, prefix string, nodes ...*node) {
	t.Helper()
	for _, key := range expect(t, prefix, nodes...) {
		if got := s.loadsOf(key); got != 1 {
			t.Errorf("%q: %d loads", key, got)
		}
	}
}

// eventually waits for a condition that must come true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 30 s: %s", what)
		}
	}
}
