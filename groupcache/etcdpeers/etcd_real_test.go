package etcdpeers_test

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

const (
	a = "10.0.0.1:8080"
	b = "10.0.0.2:8080"
	c = "[fd00::3]:8080"
)

// three are processes that see each other.
func three(t *testing.T, endpoint string, adapt ...func(*etcdpeers.Options)) []*node {
	t.Helper()
	var nodes []*node
	for _, self := range []string{a, b, c} {
		nodes = append(nodes, start(t, endpoint, self, adapt...))
	}
	for _, n := range nodes {
		n.awaitPeers(t, a, b, c)
		n.awaitGood(t)
	}
	return nodes
}

func TestProcessesFindEachOther(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	nodes := three(t, e.Addr(), func(o *etcdpeers.Options) { o.TTL, o.Timeout = 2*patience, patience })
	client := connect(t, e.Addr())
	if got := stored(t, client, service+"/"+c); got != value(c) {
		t.Errorf("registered as %q", got)
	}
	if err := nodes[0].Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if got := stored(t, client, service+"/"+a); got != "" {
		t.Errorf("after Close: still registered, %q", got)
	}
	closed := time.Now()
	nodes[1].awaitPeers(t, b, c)
	nodes[2].awaitPeers(t, b, c)
	if took := time.Since(closed); took > patience { // not when a lease ends
		t.Errorf("dropped only after %v", took)
	}
	if err := nodes[0].Close(); err != nil {
		t.Errorf("second Close() = %v", err)
	}
	if s := nodes[0].Stats(); s.Connected || s.Registered || !nodes[0].has(a, b, c) {
		t.Errorf("after Close: %+v", s)
	}
	if s := nodes[1].Stats(); s.Registrations != 1 || s.Failures != 0 || s.Listed != 2 || len(s.Relists) != 0 || time.Since(s.Updated) > patience {
		t.Errorf("%+v", s)
	}
}

func TestRestartOfEtcd(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	nodes := three(t, e.Addr())
	check(t, e.Kill())
	for _, n := range nodes {
		eventually(t, "noticed", func() bool { return !n.Stats().Connected })
		if s := n.Stats(); s.Err == nil || s.Failures == 0 || len(s.Peers) != 3 {
			t.Errorf("without etcd: %+v", s)
		}
	}
	eventually(t, "several tries", func() bool { return nodes[0].Stats().Failures > 5 })
	check(t, e.Restart())
	restarted := time.Now()
	for _, n := range nodes {
		n.awaitGood(t)
	}
	t.Logf("all well again %v after the restart", time.Since(restarted))
	pastGrace(t, nodes)
	for _, n := range nodes {
		n.neverLacked(t, a, b, c)
		n.log.says(t, "etcd is away")
		if s := n.Stats(); s.Relists[etcdpeers.CauseAway] == 0 {
			t.Errorf("%+v", s)
		}
	}
}

// pastGrace waits until peers that are not listed would have been dropped.
func pastGrace(t *testing.T, nodes []*node) {
	t.Helper()
	time.Sleep(ttl + ttl/4)
	for _, n := range nodes {
		n.awaitGood(t)
		if s := n.Stats(); s.Listed != 3 {
			t.Errorf("listed are %d", s.Listed)
		}
	}
}

// A hung etcd keeps its connections. When it goes on, the leases of all processes have run out.
func TestHungEtcd(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	nodes := three(t, e.Addr())
	check(t, e.Hang())
	hung := time.Now()
	for _, n := range nodes {
		eventually(t, "noticed", func() bool { return !n.Stats().Connected })
	}
	eventually(t, "no lease left", func() bool { return !nodes[0].Stats().Registered })
	time.Sleep(time.Until(hung.Add(ttl + ttl/4)))
	check(t, e.Release())
	resumed := time.Now()
	for _, n := range nodes {
		n.awaitGood(t)
	}
	t.Logf("all well again %v after it went on", time.Since(resumed))
	pastGrace(t, nodes)
	for _, n := range nodes {
		n.neverLacked(t, a, b, c)
	}
}

// A hang that is over before a question has timed out is not noticed by the questions, only by the
// silence.
func TestEtcdHangsForShort(t *testing.T) {
	t.Parallel()
	for range 3 {
		if hangForShort(t) {
			return
		}
	}
	t.Error("this machine is too slow: a question has failed each time")
}

// hangForShort reports whether no question has failed, which would be another case.
func hangForShort(t *testing.T) bool {
	t.Helper()
	e := testutil.StartEtcd(t)
	client := connect(t, e.Addr())
	w := start(t, e.Addr(), "", func(o *etcdpeers.Options) { o.TTL = 6 * time.Second; o.Timeout = 10 * time.Second })
	register(t, client, b)
	lease, err := client.Grant(t.Context(), 4)
	check(t, err)
	_, err = client.Put(t.Context(), service+"/"+a, value(a), clientv3.WithLease(lease.ID))
	check(t, err)
	w.awaitPeers(t, a, b)
	before := w.Stats().Updated
	eventually(t, "asked", func() bool { return w.Stats().Updated.After(before) })
	check(t, e.Hang())
	heard := w.Stats().Updated
	time.Sleep(time.Until(heard.Add(3400 * time.Millisecond))) // half a lease is 3 s; it asks after 2 s, and waits for 2 s
	check(t, e.Release())
	eventually(t, "the lease has expired", func() bool { return w.Stats().Listed == 1 })
	time.Sleep(time.Second)
	w.neverLacked(t, a, b)
	if s := w.Stats(); s.Failures > 0 {
		t.Logf("a question has failed: %+v", s)
		return false
	}
	w.awaitPeers(t, b)
	return true
}

func TestEtcdLosesItsData(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	nodes := three(t, e.Addr())
	observer := start(t, e.Addr(), "")
	observer.awaitPeers(t, a, b, c)
	client := connect(t, e.Addr())
	for range 20 { // so that the new one is behind for long
		put(t, client, "elsewhere", "x")
	}
	for range 2 { // the first answer may be older
		before := observer.Stats().Updated
		eventually(t, "it has asked", func() bool { return observer.Stats().Updated.After(before) })
	}
	check(t, e.RestartEmpty())
	restarted := time.Now()
	eventually(t, "registered again", func() bool {
		for _, n := range nodes {
			if s := n.Stats(); s.Registrations < 2 || !s.Registered {
				return false
			}
		}
		return true
	})
	t.Logf("registered again %v after the restart", time.Since(restarted))
	pastGrace(t, nodes)
	for _, n := range append(nodes, observer) {
		n.neverLacked(t, a, b, c)
	}
	relists := observer.Stats().Relists
	if relists[etcdpeers.CauseDataLost] == 0 {
		t.Errorf("listed again: %v", relists)
	}
	register(t, client, "10.0.0.4:8080")
	observer.awaitPeers(t, a, b, "10.0.0.4:8080", c)
}

// Processes that do not come back after etcd has lost its data are kept for the length of a lease,
// and dropped then.
func TestPeersAreHeldForOneLease(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	client := connect(t, e.Addr())
	for _, addr := range []string{a, b, c} {
		register(t, client, addr)
	}
	w := start(t, e.Addr(), "")
	w.awaitPeers(t, a, b, c)
	check(t, e.RestartEmpty())
	restarted := time.Now()
	eventually(t, "an empty list was read", func() bool { s := w.Stats(); return s.Listed == 0 && s.Connected })
	register(t, client, a)
	eventually(t, "one has registered", func() bool { return w.Stats().Listed == 1 })
	if !w.has(a, b, c) {
		t.Errorf("told %q", w.instance.told())
	}
	time.Sleep(ttl / 2)
	register(t, client, b)
	w.awaitPeers(t, a, b)
	if held := time.Since(restarted); held < ttl*9/10 { // etcd answered a moment before this test knew it
		t.Errorf("dropped after %v", held)
	}
	w.neverLacked(t, a, b)
}

func TestAnEmptyListDropsNobody(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	client := connect(t, e.Addr())
	w := start(t, e.Addr(), "")
	if len(w.instance.told()) != 0 {
		t.Errorf("told %q of an empty list", w.instance.told())
	}
	register(t, client, a)
	w.awaitPeers(t, a)
	remove(t, client, service+"/"+a)
	eventually(t, "the list is empty", func() bool { return w.Stats().Listed == 0 })
	time.Sleep(ttl)
	if !w.has(a) {
		t.Errorf("told %q", w.instance.told())
	}
	register(t, client, b)
	w.awaitPeers(t, b)
}

// The watch is cut off while etcd forgets the changes that it has missed.
func TestCompactedUnderTheWatch(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	client := connect(t, e.Addr())
	register(t, client, a)
	proxy := testutil.StartProxy(t, e.Addr())
	w := start(t, proxy.Addr(), "", func(o *etcdpeers.Options) { o.TTL, o.Timeout = 30*time.Second, patience })
	w.awaitPeers(t, a)
	eventually(t, "watches", func() bool { return w.Stats().Connected })
	check(t, proxy.Kill())
	register(t, client, b)
	answer, err := client.Put(t.Context(), "elsewhere", "x")
	check(t, err)
	_, err = client.Compact(t.Context(), answer.Header.Revision, clientv3.WithCompactPhysical())
	check(t, err)
	check(t, proxy.Restart())
	w.awaitPeers(t, a, b)
	if s := w.Stats(); s.Relists[etcdpeers.CauseCompacted] != 1 || s.Failures != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAProcessThatStopsIsDroppedAndComesBack(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	nodes := []*node{start(t, e.Addr(), a), start(t, e.Addr(), b)}
	child, err := testutil.LaunchSelf(t.Context(), peerArgument, e.Addr(), c)
	check(t, err)
	t.Cleanup(func() {
		check(t, child.Kill())
		if t.Failed() {
			t.Logf("the process wrote %q", child.Stderr())
		}
	})
	everywhere := func(addrs ...string) {
		t.Helper()
		for _, n := range nodes {
			n.awaitPeers(t, addrs...)
		}
	}
	everywhere(a, b, c)
	check(t, child.Hang())
	stopped := time.Now()
	everywhere(a, b)
	t.Logf("dropped %v after it was stopped", time.Since(stopped))
	check(t, child.Release())
	resumed := time.Now()
	everywhere(a, b, c)
	t.Logf("back %v after it went on", time.Since(resumed))
	check(t, child.Kill())
	everywhere(a, b)
}

// Whoever removed the own registration may have removed others that are there all the same.
// The programs of the original use the package naming/endpoints.
