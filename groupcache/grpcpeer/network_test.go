package grpcpeer_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A graceful end lets loads under way finish, and does not let new ones begin.
func TestShutdownFinishesLoadsUnderWay(t *testing.T) {
	c := startCluster(t, 2, nil, grpcpeer.Options{})
	begun, release := make(chan struct{}), make(chan struct{})
	key := c.ownedBy(c.nodes[1])
	c.source.answer = func(_ context.Context, asked string) (string, error) {
		if asked == key {
			close(begun)
			<-release
		}
		return "value of " + asked, nil
	}
	var both sync.WaitGroup
	both.Go(func() { c.expectAt(t, c.nodes[0], key) })
	<-begun
	both.Go(func() {
		if err := c.nodes[1].network.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	health := healthOf(t, c.nodes[1].addr) // an old connection would be one that the server waits for
	eventually(t, "the server has ended", func() bool { return health() == "unavailable" })
	close(release)
	both.Wait()
	if got := c.source.loadsOf(key); got != 1 {
		t.Errorf("%d loads", got)
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	c := startCluster(t, 2, nil, grpcpeer.Options{})
	begun := make(chan struct{})
	key := c.ownedBy(c.nodes[1])
	var once sync.Once
	c.source.answer = func(ctx context.Context, asked string) (string, error) {
		first := false
		once.Do(func() { first = true })
		if first {
			close(begun)
			<-ctx.Done()
			return "", ctx.Err()
		}
		return "value of " + asked, nil
	}
	var asking sync.WaitGroup
	asking.Go(func() { c.expectAt(t, c.nodes[0], key) }) // which then loads itself
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.nodes[1].network.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	asking.Wait()
}

// When Close returns, nothing of a request is left.
func TestCloseEndsRequestsAndWaitsForThem(t *testing.T) {
	begun := make(chan struct{})
	var ended atomic.Bool
	n, addr := serve(t, &standIn{get: func(ctx context.Context, _, _ string, _ func()) (wire.Answer, error) {
		close(begun)
		<-ctx.Done()
		time.Sleep(20 * time.Millisecond) // a Getter that does not hurry
		ended.Store(true)
		return wire.Answer{}, ctx.Err()
	}}, grpcpeer.Options{})
	tr := dial(t, addr, grpcpeer.Options{})
	var asking sync.WaitGroup
	asking.Go(func() {
		if a, err := tr.Get(t.Context(), "g", "k", ignore); err == nil {
			t.Errorf("%+v", a)
		}
	})
	<-begun
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if !ended.Load() {
		t.Error("Close has not waited")
	}
	asking.Wait()
}

// Groupcache's service can be one of several on a server of the caller's.
func TestAServerOfTheCallersAnswersPeers(t *testing.T) {
	s := newSource()
	network, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	network.Register(server)
	l := listen(t, "127.0.0.1:0")
	owner, err := groupcache.New(groupcache.Options{Self: l.Addr().String(), Network: network})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.NewGroup("g", 1<<20, s); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() {
		server.Stop()
		if err := errors.Join(<-done, owner.Close(), network.Close()); err != nil {
			t.Error(err)
		}
	}()
	client := startNode(t, s, nil, grpcpeer.Options{})
	if err := client.instance.SetPeers(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if v, err := get(t.Context(), client.group, "k"); v != "value of k" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if got := owner.Group("g").Stats.ServerRequests.Get(); got != 1 {
		t.Errorf("%d requests", got)
	}
	services := server.GetServiceInfo()
	if len(services) != 2 || len(services["groupcachepb.GroupCache"].Methods) != 10 {
		t.Errorf("%v", services)
	}
	if got := healthOf(t, l.Addr().String())(); got != "SERVING" {
		t.Errorf("health: %s", got)
	}
}

func TestANetworkHasOneInstance(t *testing.T) {
	n, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Serve(listen(t, "127.0.0.1:0")); !errors.Is(err, grpcpeer.ErrNoInstance) {
		t.Errorf("Serve: %v", err)
	}
	i, err := groupcache.New(groupcache.Options{Network: n})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := groupcache.New(groupcache.Options{Network: n}); err == nil || !strings.Contains(err.Error(), "make one for each") {
		t.Errorf("a second Instance: %v", err)
	}
	err = errors.Join(n.Shutdown(t.Context()), n.Shutdown(t.Context()), n.Close(), n.Close(), i.Close())
	if err != nil {
		t.Error(err)
	}
	if err := n.Serve(listen(t, "127.0.0.1:0")); !errors.Is(err, grpcpeer.ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	n, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"10.0.0.1:6324", "localhost:1", "cache-1.cache.svc:65535", "[::1]:6324", "[fe80::1%eth0]:6324"} {
		if err := n.CheckAddress(addr); err != nil {
			t.Errorf("CheckAddress(%q) = %v", addr, err)
		}
	}
	for addr, advice := range map[string]string{
		"":                     "write host:port",
		"10.0.0.1":             "write host:port",
		"http://10.0.0.1:8080": "write host:port",
		"10.0.0.1:6324/path":   "write host:port",
		"::1:6324":             "write host:port",
		":6324":                "10.0.0.1:6324",
		"10.0.0.1:0":           "from 1 to 65535",
		"10.0.0.1:65536":       "from 1 to 65535",
		"10.0.0.1:http":        "from 1 to 65535",
		"10.0.0.1:":            "from 1 to 65535",
		"10.0.0.1?a:80":        "write host:port",
		"10.0.0.1#a:80":        "write host:port",
		"10.0.0.1 :80":         "write host:port",
		"me:secret@cache-1:80": "\"@cache-1:80\" has a user",
		"me@cache-1:80":        "has a user",
	} {
		if err := n.CheckAddress(addr); err == nil || !strings.Contains(err.Error(), advice) || strings.Contains(err.Error(), "secret") {
			t.Errorf("CheckAddress(%q) = %v, want advice %q", addr, err, advice)
		}
	}
	i, err := groupcache.New(groupcache.Options{Self: "10.0.0.1:6324", Network: n})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	if err := i.SetPeers("10.0.0.1:6324", "http://10.0.0.2:6324"); err == nil {
		t.Error("SetPeers took a URL")
	}
}

// IPv6, and an address with a zone, which is none in a URL.
func TestIPv6(t *testing.T) {
	s := newSource()
	l := listen(t, "[::1]:0")
	n, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	owner, err := groupcache.New(groupcache.Options{Self: l.Addr().String(), Network: n})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = owner.Close() }()
	if _, err := owner.NewGroup("g", 0, s); err != nil {
		t.Fatal(err)
	}
	start(t, n, l)
	for _, addr := range []string{l.Addr().String(), strings.Replace(l.Addr().String(), "]", "%lo]", 1)} {
		tr := dial(t, addr, grpcpeer.Options{})
		if a, err := tr.Get(t.Context(), "g", "k", ignore); err != nil || a.Value != "value of k" {
			t.Errorf("%s: %+v, %v", addr, a, err)
		}
	}
}

// Peers say over gRPC, too, in which zone they are.
func TestPeersKnowWhoIsInTheirZone(t *testing.T) {
	zones := []string{"a", "b", "a", ""}
	next := 0
	c := startCluster(t, len(zones), func(o *groupcache.Options) {
		o.Zone = zones[next]
		next++
	}, grpcpeer.Options{})
	for i, n := range c.nodes {
		want := map[string]bool{}
		for j, other := range c.nodes {
			want[other.addr] = i != j && zones[i] != "" && zones[i] == zones[j]
		}
		eventually(t, "zones are known", func() bool {
			for _, p := range n.instance.Debug().Peers {
				if p.Near != want[p.URL] {
					return false
				}
			}
			return true
		})
	}
}

// A transport says whether removals of several keys are one request: those of 1 024 keys that are
// not take longer than a peer may be silent.
func TestATransportSaysWhetherItRemovesTogether(t *testing.T) {
	var requests atomic.Int64
	tr := pair(t, &standIn{remove: func(string, string) error {
		requests.Add(1)
		return nil
	}})
	if err := tr.RemoveMulti(t.Context(), "g", []string{"a", "b", "c"}); err != nil {
		t.Fatal(err)
	}
	if n := requests.Load(); tr.Together() != (n == 1) {
		t.Errorf("together %v, and %d requests", tr.Together(), n)
	}
}
