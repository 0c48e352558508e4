package holdfastotel_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	holdfastotel "github.com/holdfast-go/holdfast/otel"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
)

// find returns the last span of a name and a kind.
func find(t *testing.T, exporter *tracetest.InMemoryExporter, name string, kind oteltrace.SpanKind) tracetest.SpanStub {
	t.Helper()
	spans := exporter.GetSpans()
	for i := len(spans) - 1; i >= 0; i-- {
		if spans[i].Name == name && spans[i].SpanKind == kind {
			return spans[i]
		}
	}
	t.Fatalf("no span %q of kind %v among %v", name, kind, spans)
	return tracetest.SpanStub{}
}

func TestMemcached(t *testing.T) {
	server := testutil.StartMemcached(t)
	addr := server.Addr()
	tracer, exporter := record(t, holdfastotel.Options{})
	c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{addr}, Trace: tracer})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, request := tracer.Begin(t.Context(), request())
	if err := c.SetContext(ctx, &memcache.Item{Key: "secret", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetMultiContext(ctx, []string{"secret", "none"}); err != nil {
		t.Fatal(err)
	}
	end(request)
	parent := find(t, exporter, "test request", oteltrace.SpanKindInternal).SpanContext
	for name, result := range map[string]string{"set " + addr: "ok", "get_multi " + addr: "hit"} {
		s := find(t, exporter, name, oteltrace.SpanKindClient)
		if s.Parent.SpanID() != parent.SpanID() || attributes(s)["holdfast.result"] != result || s.Status.Code != codes.Unset {
			t.Errorf("%q is %+v, want it %s within the request", name, s, result)
		}
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); c.Available() && time.Now().Before(deadline); {
		_, _ = c.GetContext(ctx, "secret")
	}
	_, _ = c.GetContext(ctx, "secret")
	s := find(t, exporter, "get "+addr, oteltrace.SpanKindClient)
	if s.Status.Code != codes.Error || attributes(s)["error.type"] != "refused" {
		t.Errorf("a get that is refused is %v, %+v", s.Attributes, s.Status)
	}
	hasNoKeys(t, exporter)
}

// hasNoKeys checks that nothing personal is told.
func hasNoKeys(t *testing.T, exporter *tracetest.InMemoryExporter) {
	t.Helper()
	for _, s := range exporter.GetSpans() {
		if _, ok := attributes(s)["holdfast.key"]; ok || s.Status.Description != "" {
			t.Errorf("%q tells of a key, or of an error: %v, %+v", s.Name, s.Attributes, s.Status)
		}
	}
}

func TestRedis(t *testing.T) {
	cluster := redis.StartCluster(t)
	tracer, exporter := record(t, holdfastotel.Options{})
	const name = "mymaster"
	c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), sentinel.Options{Names: []string{name}, Trace: tracer})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Do(t.Context(), name, radix.Cmd(nil, "SET", "secret", "v")); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), name, radix.Cmd(nil, "LPUSH", "secret", "v")); err == nil {
		t.Fatal("LPUSH to a string has worked")
	}
	ok, failed := find(t, exporter, "SET 0", oteltrace.SpanKindClient), find(t, exporter, "LPUSH 0", oteltrace.SpanKindClient)
	if at := attributes(ok); at["db.system.name"] != "redis" || at["db.namespace"] != "0" || at["holdfast.primary"] != name || ok.Status.Code != codes.Unset {
		t.Errorf("a SET is %v, %+v", ok.Attributes, ok.Status)
	}
	host, port, _ := net.SplitHostPort(c.Topology(name).Primary)
	if at := attributes(ok); at["server.address"] != host || port == "" {
		t.Errorf("a SET went to %v, want %s", at["server.address"], host)
	}
	if at := attributes(failed); failed.Status.Code != codes.Error || at["db.response.status_code"] != "WRONGTYPE" || at["error.type"] != "WRONGTYPE" {
		t.Errorf("an LPUSH to a string is %v, %+v", failed.Attributes, failed.Status)
	}
	hasNoKeys(t, exporter)
}

func TestAutorefresh(t *testing.T) {
	tracer, exporter := record(t, holdfastotel.Options{})
	var within oteltrace.SpanContext
	c, err := autorefresh.New(func(ctx context.Context, key, _ string) (string, error) {
		within = oteltrace.SpanContextFromContext(ctx)
		return key, nil
	}, autorefresh.Options[string, string]{Period: time.Hour, Trace: tracer})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Load(t.Context(), "secret"); err != nil {
		t.Fatal(err)
	}
	wait, load := find(t, exporter, "autorefresh wait", oteltrace.SpanKindInternal), find(t, exporter, "autorefresh load", oteltrace.SpanKindInternal)
	if load.Parent.SpanID() != wait.SpanContext.SpanID() || within.SpanID() != load.SpanContext.SpanID() {
		t.Errorf("the source was called within %v, which is part of %v", within, load.Parent)
	}
	hasNoKeys(t, exporter)
}

// node is one of two instances in this process.
type node struct {
	instance *groupcache.Instance
	group    *groupcache.Group
	addr     string
	within   oteltrace.SpanContext // of its Getter
}

func (n *node) join(t *testing.T, o groupcache.Options) {
	t.Helper()
	var err error
	o.Self, o.Handover = n.addr, -1
	if n.instance, err = groupcache.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.instance.Close() })
	n.group, err = n.instance.NewGroup("users", 1<<20, groupcache.GetterFunc(func(ctx context.Context, key string, dest groupcache.Sink) error {
		n.within = oteltrace.SpanContextFromContext(ctx)
		return dest.SetString(key, time.Time{})
	}))
	if err != nil {
		t.Fatal(err)
	}
}

func overHTTP(t *testing.T, o groupcache.Options) *node {
	n := new(node)
	server := httptest.NewUnstartedServer(nil)
	n.addr = "http://" + server.Listener.Addr().String()
	n.join(t, o)
	server.Config.Handler = n.instance.Handler()
	server.Start()
	t.Cleanup(server.Close)
	return n
}

func overGRPC(t *testing.T, o groupcache.Options) *node {
	network, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{addr: l.Addr().String()}
	o.Network = network
	n.join(t, o)
	served := make(chan error, 1)
	go func() { served <- network.Serve(l) }()
	t.Cleanup(func() { _ = errors.Join(network.Close(), <-served) })
	return n
}

// One trace leads from who asks to the Getter at the owner.
func TestGroupcache(t *testing.T) {
	for name, start := range map[string]func(*testing.T, groupcache.Options) *node{"HTTP": overHTTP, "gRPC": overGRPC} {
		t.Run(name, func(t *testing.T) {
			tracer, exporter := record(t, holdfastotel.Options{})
			o := groupcache.Options{
				Trace: tracer,
				Ring:  groupcache.HashRing, // whose owners do not depend on what the peers know of each other yet
				// A busy owner may be silent for so long that its key is loaded here.
				PeerTimeout: time.Minute, Silence: time.Minute,
			}
			asker, owner := start(t, o), start(t, o)
			for _, n := range []*node{asker, owner} {
				if err := n.instance.SetPeers(asker.addr, owner.addr); err != nil {
					t.Fatal(err)
				}
			}
			key := "secret"
			for elsewhere := false; !elsewhere; key += "t" {
				_, elsewhere = asker.instance.PeerPicker().PickPeer(key + "t")
			}
			if v, err := asker.group.View(t.Context(), key); v.String() != key || err != nil {
				t.Fatal(v, err)
			}
			get := find(t, exporter, "groupcache get", oteltrace.SpanKindInternal)
			client := find(t, exporter, "groupcache/get", oteltrace.SpanKindClient)
			server := find(t, exporter, "groupcache/get", oteltrace.SpanKindServer)
			load := find(t, exporter, "groupcache load", oteltrace.SpanKindInternal)
			for _, s := range []struct{ child, parent oteltrace.SpanContext }{
				{client.Parent, get.SpanContext}, {server.Parent, client.SpanContext}, {load.Parent, server.SpanContext}, {owner.within, load.SpanContext},
			} {
				if s.child.SpanID() != s.parent.SpanID() || s.child.TraceID() != get.SpanContext.TraceID() {
					t.Errorf("%v is not %v of one trace", s.child, s.parent)
				}
			}
			if !server.Parent.IsRemote() || len(exporter.GetSpans()) != 4 {
				t.Errorf("%d spans, that of the owner within %+v", len(exporter.GetSpans()), server.Parent)
			}
			if at := attributes(client); at["rpc.method"] != "groupcache/get" || at["holdfast.group"] != "users" || at["server.address"] != "127.0.0.1" {
				t.Errorf("the request is %v", client.Attributes)
			}
			hasNoKeys(t, exporter)
		})
	}
}
