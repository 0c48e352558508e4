package etcdpeers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

const (
	service = "groupcache"
	ttl     = 2 * time.Second
	// patience is how long a test waits for what has to come.
	patience = 30 * time.Second
	// sideBySide is how many tests run at once, however few the processors: they mostly wait, for
	// leases to run out.
	sideBySide = "6"
	// peerArgument as the first argument makes this program a registered process: then follow the
	// endpoint of etcd and the address.
	peerArgument = "run-as-registered-process"
)

var _ etcdpeers.Instance = (*groupcache.Instance)(nil)

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == peerArgument {
		fmt.Fprintln(os.Stderr, runProcess(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	if err := testutil.SideBySide(sideBySide); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// runProcess registers, and ends by a signal.
func runProcess(endpoint, self string) error {
	o := etcdpeers.Options{Self: self, Endpoints: []string{endpoint}, TTL: ttl}
	w, err := etcdpeers.Watch(context.Background(), &instance{}, service, o)
	if err != nil {
		return err
	}
	time.Sleep(10 * time.Minute)
	return w.Close()
}

// instance remembers what it was told.
type instance struct {
	mu    sync.Mutex
	lists [][]string
	err   error
}

func (i *instance) SetPeers(addrs ...string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return i.err
	}
	i.lists = append(i.lists, addrs)
	return nil
}

func (i *instance) refuse(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

func (i *instance) told() [][]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.lists)
}

// last is what it was told last.
func (i *instance) last() []string {
	lists := i.told()
	if len(lists) == 0 {
		return nil
	}
	return lists[len(lists)-1]
}

// node is a watcher and what it has told its instance.
type node struct {
	*etcdpeers.Watcher
	instance *instance
	log      *journal
}

// start begins to watch, and to be registered if self is not empty.
func start(t *testing.T, endpoint, self string, adapt ...func(*etcdpeers.Options)) *node {
	t.Helper()
	n := &node{instance: &instance{}, log: &journal{}}
	o := etcdpeers.Options{Self: self, Endpoints: []string{endpoint}, TTL: ttl, Logger: slog.New(slog.NewTextHandler(n.log, nil))}
	for _, change := range adapt {
		change(&o)
	}
	w, err := etcdpeers.Watch(t.Context(), n.instance, service, o)
	if err != nil {
		t.Fatal(err)
	}
	n.Watcher = w
	t.Cleanup(func() {
		_ = w.Close() // etcd may be gone
		if t.Failed() {
			t.Logf("%s %+v\ntold %q\n%s", self, w.Stats(), n.instance.told(), n.log)
		}
	})
	return n
}

// has reports whether these are the peers.
func (n *node) has(addrs ...string) bool { return slices.Equal(n.instance.last(), addrs) }

func (n *node) awaitPeers(t *testing.T, addrs ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the peers are %q", addrs), func() bool { return n.has(addrs...) })
}

// awaitGood waits until all is well.
func (n *node) awaitGood(t *testing.T) {
	t.Helper()
	eventually(t, "etcd answers, and the process is on its list", func() bool {
		s := n.Stats()
		return s.Connected && s.Registered && s.Err == nil
	})
}

// neverLacked checks every list since the first that had all of these addresses.
func (n *node) neverLacked(t *testing.T, addrs ...string) {
	t.Helper()
	complete := false
	for _, list := range n.instance.told() {
		whole := !slices.ContainsFunc(addrs, func(a string) bool { return !slices.Contains(list, a) })
		if complete = complete || whole; complete && !whole {
			t.Errorf("told %q, without some of %q", list, addrs)
		}
	}
	if !complete {
		t.Errorf("never told all of %q", addrs)
	}
}

// journal is a log that can be read.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) count(text string) int { return strings.Count(j.String(), text) }

// says waits for a line of the log, which comes after what is counted, and fails if there is a
// second one.
func (j *journal) says(t *testing.T, text string) {
	t.Helper()
	eventually(t, "the log says "+text, func() bool { return j.count(text) > 0 })
	if got := j.count(text); got != 1 {
		t.Errorf("the log says %d times %q: %s", got, text, j)
	}
}

// connect returns a client of etcd, as a test uses it.
func connect(t *testing.T, endpoint string, adapt ...func(*clientv3.Config)) *clientv3.Client {
	t.Helper()
	config := clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: patience, Logger: zap.NewNop()}
	for _, change := range adapt {
		change(&config)
	}
	client, err := clientv3.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return client
}

func put(t *testing.T, client *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := client.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// register puts an address on the list as another program might.
func register(t *testing.T, client *clientv3.Client, addr string) {
	t.Helper()
	put(t, client, service+"/"+addr, value(addr))
}

func value(addr string) string { return `{"Op":0,"Addr":"` + addr + `","Metadata":null}` }

func remove(t *testing.T, client *clientv3.Client, key string) {
	t.Helper()
	if _, err := client.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

// stored returns the value of a key, "" if there is none.
func stored(t *testing.T, client *clientv3.Client, key string) string {
	t.Helper()
	answer, err := client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Kvs) == 0 {
		return ""
	}
	return string(answer.Kvs[0].Value)
}

// eventually waits for a condition that must come true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, testutil.ErrCannotHang) {
		t.Skipf("NOT TESTED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
