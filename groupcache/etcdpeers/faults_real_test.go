package etcdpeers_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promtest "github.com/prometheus/client_golang/prometheus/testutil"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

func TestValuesThatNameNoAddress(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	client := connect(t, e.Addr())
	register(t, client, a)
	bad := []string{"", "no JSON", `{"Addr":""}`, `{"Addr":7}`, `null`, `{"Addr":"http://10.0.0.9:80"}`, `{"Addr":"10.0.0.9"}`, `{"Addr":"10.0.0.9:0"}`}
	for i, v := range bad {
		put(t, client, service+"/bad"+strings.Repeat("x", 100*i), v)
	}
	put(t, client, service+"-other/"+b, value(b)) // of another service
	n := start(t, e.Addr(), "")
	if !n.has(a) {
		t.Errorf("told %q", n.instance.told())
	}
	put(t, client, service+"/worse", "{")
	eventually(t, "counted", func() bool { return n.Stats().Ignored == len(bad)+1 })
	n.log.says(t, "left out")
	put(t, client, service+"/worse", value(c)) // any key will do
	n.awaitPeers(t, a, c)
	put(t, client, service+"/another key", value(c))
	remove(t, client, service+"/worse")
	eventually(t, "one of two removed", func() bool { return n.Stats().Listed == 2 && n.Stats().Ignored == len(bad) })
	time.Sleep(time.Second)
	if !n.has(a, c) || len(n.instance.told()) != 2 {
		t.Errorf("told %q", n.instance.told())
	}
}

// An etcd that is full refuses writes, and still says who is there.
func TestEtcdIsFull(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t, testutil.EtcdOptions{Args: []string{"--quota-backend-bytes", "262144"}})
	client := connect(t, e.Addr())
	register(t, client, b)
	for err := error(nil); !errors.Is(err, rpctypes.ErrNoSpace); {
		_, err = client.Put(t.Context(), "elsewhere", strings.Repeat("x", 100_000))
		if err != nil && !errors.Is(err, rpctypes.ErrNoSpace) {
			t.Fatal(err)
		}
	}
	n := start(t, e.Addr(), a)
	n.awaitPeers(t, a, b)
	eventually(t, "both noticed", func() bool {
		s := n.Stats()
		return s.Connected && !s.Registered && errors.Is(s.Err, rpctypes.ErrNoSpace)
	})
	n.log.says(t, "cannot register")
}

// deaf is a watch that tells nothing.
type deaf struct{ clientv3.Watcher }

func (d deaf) Watch(ctx context.Context, _ string, _ ...clientv3.OpOption) clientv3.WatchChan {
	silence := make(chan clientv3.WatchResponse)
	context.AfterFunc(ctx, func() { close(silence) })
	return silence
}

func TestAWatchThatTellsNothing(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	client, own := connect(t, e.Addr()), connect(t, e.Addr())
	own.Watcher = deaf{own.Watcher}
	register(t, client, a)
	n := start(t, "", "", func(o *etcdpeers.Options) { o.Endpoints, o.Client, o.Timeout = nil, own, patience })
	n.awaitPeers(t, a)
	register(t, client, b)
	n.awaitPeers(t, a, b)
	if s := n.Stats(); s.Relists[etcdpeers.CauseBehind] == 0 || s.Failures != 0 {
		t.Errorf("%+v", s)
	}
}

func TestTheCallersClientStaysOpen(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	own := connect(t, e.Addr())
	n := start(t, "", a, func(o *etcdpeers.Options) { o.Endpoints, o.Client = nil, own })
	n.awaitGood(t)
	check(t, n.Close())
	if stored(t, own, service+"/"+a) != "" {
		t.Error("still registered")
	}
}

func TestAClientThatTheCallerHasClosed(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	own, err := clientv3.New(clientv3.Config{Endpoints: []string{e.Addr()}, Logger: zap.NewNop()})
	check(t, err)
	n := start(t, "", a, func(o *etcdpeers.Options) { o.Endpoints, o.Client = nil, own })
	n.awaitGood(t)
	check(t, own.Close())
	eventually(t, "noticed", func() bool { s := n.Stats(); return !s.Connected && s.Err != nil })
	if err := n.Close(); err == nil || !n.has(a) {
		t.Errorf("Close() = %v, told %q", err, n.instance.told())
	}
}

func TestAnInstanceThatRefusesIsAskedAgain(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	n := start(t, e.Addr(), "")
	client := connect(t, e.Addr())
	n.instance.refuse(errors.New("not now"))
	register(t, client, a)
	eventually(t, "refused", func() bool { s := n.Stats(); return s.Err != nil && s.Connected && len(s.Peers) == 0 })
	n.instance.refuse(nil)
	n.awaitPeers(t, a)
	eventually(t, "all is well", func() bool { return n.Stats().Err == nil })
}

func TestARealInstance(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	client := connect(t, e.Addr())
	register(t, client, "127.0.0.1:9")
	i, err := groupcache.New(groupcache.Options{Self: "http://127.0.0.1:8"})
	check(t, err)
	defer func() { check(t, i.Close()) }()
	w, err := etcdpeers.Watch(t.Context(), i, service, etcdpeers.Options{Self: "127.0.0.1:8", Scheme: "http", Endpoints: []string{e.Addr()}, TTL: ttl})
	check(t, err)
	defer func() { check(t, w.Close()) }()
	if s := w.Stats(); len(s.Peers) != 2 || s.Peers[0] != "http://127.0.0.1:8" || s.Peers[1] != "http://127.0.0.1:9" {
		t.Errorf("%+v", s)
	}
}

func TestEndpointsOfTheEnvironment(t *testing.T) {
	e := testutil.StartEtcd(t)
	t.Setenv(etcdpeers.EndpointsEnv, "http://127.0.0.1:1,"+e.URL())
	n := start(t, "", a, func(o *etcdpeers.Options) { o.Endpoints = nil })
	n.awaitPeers(t, a)
	n.awaitGood(t)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	e := testutil.StartEtcd(t)
	n := start(t, e.Addr(), a)
	n.awaitGood(t)
	registry := prometheus.NewPedanticRegistry()
	check(t, registry.Register(n))
	problems, err := promtest.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	want := `
# HELP holdfast_groupcache_etcd_peers Peers that were set last.
# TYPE holdfast_groupcache_etcd_peers gauge
holdfast_groupcache_etcd_peers{client="groupcache"} 1
# HELP holdfast_groupcache_etcd_registered 1 if this process is on the list; only where it has an address to register (Options.Self).
# TYPE holdfast_groupcache_etcd_registered gauge
holdfast_groupcache_etcd_registered{client="groupcache"} 1
# HELP holdfast_groupcache_etcd_registrations_total Times that this process has put itself on the list: more than once means that it was lost.
# TYPE holdfast_groupcache_etcd_registrations_total counter
holdfast_groupcache_etcd_registrations_total{client="groupcache"} 1
# HELP holdfast_groupcache_etcd_up 1 if etcd answers and its list is followed.
# TYPE holdfast_groupcache_etcd_up gauge
holdfast_groupcache_etcd_up{client="groupcache"} 1
`
	names := []string{"holdfast_groupcache_etcd_peers", "holdfast_groupcache_etcd_up", "holdfast_groupcache_etcd_registered", "holdfast_groupcache_etcd_registrations_total"}
	if err := promtest.GatherAndCompare(registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if got, err := promtest.GatherAndCount(registry); err != nil || got != 14 {
		t.Errorf("%d metrics, %v", got, err)
	}
	check(t, e.Kill())
	eventually(t, "noticed", func() bool { return !n.Stats().Connected })
	down := strings.NewReader(strings.Replace(want[strings.Index(want, "# HELP holdfast_groupcache_etcd_up"):], "} 1", "} 0", 1))
	if err := promtest.GatherAndCompare(registry, down, "holdfast_groupcache_etcd_up"); err != nil {
		t.Error(err)
	}
}
