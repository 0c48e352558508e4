package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/etcd"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
)

func TestAGroupWorksAlone(t *testing.T) {
	s := newSource()
	g := etcd.NewGroup("alone\xff", 1<<20, s)
	defer etcd.DestroyGroup("alone\xff")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if v, err := g.Get("k"); v.String() != "value of k" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
	all.Wait()
	if got := s.loadsOf("k"); got != 1 {
		t.Errorf("%d loads", got)
	}
	if _, err := g.Get(""); !errors.Is(err, etcd.ErrEmptyKey) {
		t.Errorf("the empty key: %v", err)
	}
	s.err = errors.New("the database is away")
	if v, err := g.Get("other"); !errors.Is(err, s.err) || v.Len() != 0 {
		t.Errorf("%q, %v", v, err)
	}
}

func TestAByteViewIsACopy(t *testing.T) {
	g := etcd.NewGroup("view", 1<<20, etcd.RetrieveFunc(func(key string) ([]byte, error) { return []byte(key), nil }))
	defer etcd.DestroyGroup("view")
	v, err := g.Get("abc")
	if err != nil || v.Len() != 3 || v.String() != "abc" {
		t.Fatalf("%q, %v", v, err)
	}
	v.Bytes()[0] = 'x'
	if again, _ := g.Get("abc"); v.String() != "abc" || string(again.Bytes()) != "abc" {
		t.Errorf("changed to %q and %q", v, again)
	}
	var zero etcd.ByteView
	if zero.Len() != 0 || zero.String() != "" || len(zero.Bytes()) != 0 {
		t.Error("the zero value is not empty")
	}
}

func TestGroupsAreFoundByName(t *testing.T) {
	first := etcd.NewGroup("name", 0, newSource())
	if etcd.GetGroup("name") != first {
		t.Error("the group is not found")
	}
	second := etcd.NewGroup("name", 0, newSource())
	if etcd.GetGroup("name") != second {
		t.Error("the newer group is not found")
	}
	if v, err := first.Get("k"); v.String() != "value of k" || err != nil {
		t.Errorf("the older group: %q, %v", v, err)
	}
	etcd.DestroryGroup("name")
	etcd.DestroyGroup("name")
	if etcd.GetGroup("name") != nil {
		t.Error("a destroyed group is found")
	}
}

func mustPanic(t *testing.T, what string, fn func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	fn()
}

func TestTheOriginalsPanics(t *testing.T) {
	mustPanic(t, "no Retriever", func() { etcd.NewGroup("x", 0, nil) })
	n := newNode(t, freeAddr(t), newSource(), etcd.Options{})
	mustPanic(t, "a second server", func() { n.group.RegisterServer(n.Server) })
}

func TestAddressesOfServers(t *testing.T) {
	for addr, want := range map[string]string{
		"": "127.0.0.1:6324", "10.0.0.1:1": "10.0.0.1:1", "localhost:6324": "localhost:6324", "cache-0.cache:6324": "cache-0.cache:6324", "[::1]:6324": "[::1]:6324",
	} {
		s, err := etcd.NewServer(addr)
		if err != nil {
			t.Errorf("NewServer(%q): %v", addr, err)
			continue
		}
		if s.Addr != want || s.Status || s.Running() {
			t.Errorf("NewServer(%q) = %q, running %v", addr, s.Addr, s.Status)
		}
		_ = s.Close()
	}
	for _, addr := range []string{"10.0.0.1", ":6324", "10.0.0.1:0", "http://10.0.0.1:6324", "::1:6324"} {
		if _, err := etcd.NewServer(addr); err == nil || !strings.Contains(err.Error(), "address") {
			t.Errorf("NewServer(%q): %v", addr, err)
		}
	}
	if _, err := etcd.NewServerWith("", etcd.Options{Cache: groupcache.Options{Self: "10.0.0.1:1"}}); err == nil {
		t.Error("Options.Cache.Self was taken")
	}
	if _, err := etcd.NewServerWith("", etcd.Options{Cache: groupcache.Options{Replicas: -1}}); err == nil || !strings.Contains(err.Error(), "Replicas") {
		t.Errorf("Options.Cache: %v", err)
	}
}

// away is an endpoint where no etcd is.
func away(t *testing.T) etcd.Options {
	t.Helper()
	return etcd.Options{Endpoints: []string{freeAddr(t)}, TTL: ttl, Cache: groupcache.Options{Silence: silence, Ring: groupcache.HashRing}}
}

// Without etcd a list that all are given does.
func TestServersWorkWithoutEtcd(t *testing.T) {
	s := newSource()
	var nodes []*node
	var addrs []string
	for range 3 {
		n := newNode(t, freeAddr(t), s, away(t))
		nodes, addrs = append(nodes, n), append(addrs, n.Addr)
	}
	for _, n := range nodes {
		n.SetPeers(append([]string{"http://no.address", ""}, addrs...))
		n.start(t)
		if !n.Running() {
			t.Error("not running")
		}
		if err := n.Start(); !errors.Is(err, etcd.ErrRunning) {
			t.Errorf("a second Start: %v", err)
		}
	}
	meet(t, nodes...)
	expectOnce(t, s, "without etcd", nodes...)

	fetched := 0
	for i := range 100 {
		key := fmt.Sprintf("%d picked", i*7919)
		f, elsewhere := nodes[0].Pick(key)
		if !elsewhere {
			continue
		}
		fetched++
		if v, err := f.Fetch("g", key); string(v) != "value of "+key || err != nil {
			t.Errorf("Fetch(%q) = %q, %v", key, v, err)
		}
	}
	if fetched == 0 || fetched == 100 {
		t.Errorf("%d of 100 keys are elsewhere", fetched)
	}
	// One that has stopped is alone, and knows the others again when it is started.
	nodes[0].Stop()
	for i := range 100 {
		if _, elsewhere := nodes[0].Pick(fmt.Sprintf("%d picked", i*7919)); elsewhere {
			t.Fatal("a stopped server has peers")
		}
	}
	nodes[0].start(t)
	meet(t, nodes...)
	expectOnce(t, s, "once more", nodes...)
}

// A newer group of a name takes the older one's place at its server.
func TestANewerGroupTakesThePlaceOfAnOlderOne(t *testing.T) {
	n := newNode(t, freeAddr(t), newSource(), away(t))
	newer := etcd.NewGroup("g", 1<<20, etcd.RetrieveFunc(func(string) ([]byte, error) { return []byte("newer"), nil }))
	newer.RegisterServer(n.Server)
	group, key := "g", "k"
	if r, err := n.Get(t.Context(), &pb.GetRequest{Group: &group, Key: &key}); string(r.GetValue()) != "newer" || err != nil {
		t.Errorf("%v, %v", r, err)
	}
	if v, err := n.group.Get("k"); v.String() != "value of k" || err != nil {
		t.Errorf("the older group: %q, %v", v, err)
	}
}

// Stop does nothing to a server that does not run, may be called by many, and the groups work on.
func TestStopAndStart(t *testing.T) {
	s := newSource()
	n := newNode(t, freeAddr(t), s, away(t))
	n.Stop()
	for range 3 {
		wait := n.start(t)
		expect(t, "running", n)
		var all sync.WaitGroup
		for range 3 {
			all.Go(n.Stop)
		}
		all.Wait()
		if n.Status || n.Running() {
			t.Error("Stop has returned, and the server is running")
		}
		wait()
		expectOnce(t, s, "running", n)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); !errors.Is(err, etcd.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	late := etcd.NewGroup("late", 0, s)
	defer etcd.DestroyGroup("late")
	late.RegisterServer(n.Server)
	if v, err := late.Get("k"); v.String() != "value of k" || err != nil {
		t.Errorf("a group of a closed server: %q, %v", v, err)
	}
}

func TestStartTellsWhatIsWrong(t *testing.T) {
	n := newNode(t, freeAddr(t), newSource(), away(t))
	n.start(t)
	other := newNode(t, n.Addr, newSource(), away(t))
	if err := other.Start(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port that is in use: %v", err)
	}
	wrong := newNode(t, freeAddr(t), newSource(), etcd.Options{Endpoints: []string{"no endpoint"}})
	if err := wrong.Start(); err == nil || !strings.Contains(err.Error(), "no endpoint") {
		t.Errorf("a bad endpoint: %v", err)
	}
	if wrong.Running() || other.Running() {
		t.Error("a server whose Start has failed says that it is running")
	}
}

// A server of many groups stops with the last of them.
func TestTheLastGroupStopsItsServer(t *testing.T) {
	n := newNode(t, freeAddr(t), newSource(), away(t))
	more := etcd.NewGroup("more", 0, newSource())
	more.RegisterServer(n.Server)
	wait := n.start(t)
	etcd.DestroyGroup("more")
	if !n.Running() {
		t.Error("the server of another group was stopped")
	}
	etcd.DestroyGroup("g")
	wait()
}

func TestGetAnswersLikeTheService(t *testing.T) {
	s := newSource()
	n := newNode(t, freeAddr(t), s, away(t))
	ask := func(group, key string) (*pb.GetResponse, error) {
		return n.Get(context.Background(), &pb.GetRequest{Group: &group, Key: &key})
	}
	if r, err := ask("g", "k"); string(r.GetValue()) != "value of k" || err != nil {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := ask("no group", "k"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("no group: %v", err)
	}
	s.err = errors.New("the database is away")
	if _, err := ask("g", "l"); status.Code(err) != codes.Unknown || !strings.Contains(err.Error(), "the database is away") {
		t.Errorf("an error: %v", err)
	}
	s.err = &groupcache.ErrNotFound{Msg: "gone"}
	if _, err := ask("g", "m"); status.Code(err) != codes.NotFound {
		t.Errorf("not found: %v", err)
	}
}

func TestAClientAsksOnePeer(t *testing.T) {
	n := newNode(t, freeAddr(t), newSource(), away(t))
	n.start(t)
	for _, service := range []string{n.Addr, "groupcache/" + n.Addr, "services/groupcache/" + n.Addr} {
		c := etcd.NewClient(service)
		if v, err := c.Fetch("g", "k\xff"); string(v) != "value of k\xff" || err != nil {
			t.Errorf("%s: %q, %v", service, v, err)
		}
		if _, err := c.Fetch("no group", "k"); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %v", service, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	c := etcd.NewClient("groupcache")
	if _, err := c.Fetch("g", "k"); err == nil || !strings.Contains(err.Error(), "10.0.0.1:6324") {
		t.Errorf("a service without an address: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// caller is a Picker, and a Fetcher, of the caller's.
type caller struct{ err error }

func (c caller) Pick(key string) (etcd.Fetcher, bool) { return c, key != "mine" }

func (c caller) Fetch(group string, key string) ([]byte, error) {
	return []byte(group + "/" + key), c.err
}

func TestAPickerOfTheCallers(t *testing.T) {
	s := newSource()
	g := etcd.NewGroup("picked", 1<<20, s)
	defer etcd.DestroyGroup("picked")
	g.RegisterServer(caller{})
	for key, want := range map[string]string{"mine": "value of mine", "theirs": "picked/theirs"} {
		if v, err := g.Get(key); v.String() != want || err != nil {
			t.Errorf("%q, %v", v, err)
		}
	}
	g = etcd.NewGroup("picked", 1<<20, s)
	g.RegisterServer(caller{errors.New("away")})
	if v, err := g.Get("theirs"); v.String() != "value of theirs" || err != nil {
		t.Errorf("what cannot be fetched is not loaded: %q, %v", v, err)
	}
}

// A process may have several servers: a line in the log says whose it is.
func TestLinesNameTheirServer(t *testing.T) {
	var text bytes.Buffer
	o := away(t)
	o.Cache.Name, o.Logger = "users", slog.New(slog.NewTextHandler(&text, nil))
	s, err := etcd.NewServerWith(freeAddr(t), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	s.SetPeers([]string{"http://no.address"})
	if !strings.Contains(text.String(), "a peer is left out\" client=users cause=") {
		t.Errorf("the log is %q", text.String())
	}
}

// A server answered only for the groups that were registered with it; the original's answers for
// all of the process.
func TestAServerAnswersForEveryGroupOfTheProcess(t *testing.T) {
	n := newNode(t, freeAddr(t), newSource(), away(t))
	n.start(t)
	newNodeOf(t, "of another server", freeAddr(t), newSource(), away(t))
	alone := newSource()
	etcd.NewGroup("alone", 1<<20, alone)
	t.Cleanup(func() { etcd.DestroyGroup("alone") })
	c := etcd.NewClient(n.Addr)
	defer func() { _ = c.Close() }()
	for _, group := range []string{"g", "of another server", "alone"} {
		for range 2 {
			if v, err := c.Fetch(group, "k"); string(v) != "value of k" || err != nil {
				t.Errorf("%s: %q, %v", group, v, err)
			}
		}
		key := "k"
		if r, err := n.Get(t.Context(), &pb.GetRequest{Group: &group, Key: &key}); string(r.GetValue()) != "value of k" || err != nil {
			t.Errorf("%s: %q, %v", group, r.GetValue(), err)
		}
	}
	if got := alone.loadsOf("k"); got != 1 {
		t.Errorf("%d loads, want 1: the group does not keep what it loads", got)
	}
	if v, err := etcd.GetGroup("alone").Get("k"); v.String() != "value of k" || err != nil || alone.loadsOf("k") != 1 {
		t.Errorf("Get: %q, %v, %d loads: it is another cache", v, err, alone.loadsOf("k"))
	}
	etcd.DestroyGroup("alone")
	if _, err := c.Fetch("alone", "k"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a group that is no more: %v", err)
	}
}
