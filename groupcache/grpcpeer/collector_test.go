package grpcpeer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

func TestMetrics(t *testing.T) {
	refuse := false
	server, addr := serve(t, &standIn{
		get: func(_ context.Context, _, key string, _ func()) (wire.Answer, error) {
			switch key {
			case "broken":
				return wire.Answer{Outcome: wire.LoadFailed, Message: "broken"}, nil
			case "odd":
				return wire.Answer{}, status.Error(codes.Code(4711), "odd")
			}
			return wire.Answer{Value: "v"}, nil
		},
		set: func(string, string, string, int64) error { return wire.ErrNoGroup },
	}, grpcpeer.Options{Name: "server\xff", Authorize: func(context.Context, string) error {
		if refuse {
			return errors.New("not you")
		}
		return nil
	}})
	client := newNetwork(t, &standIn{}, grpcpeer.Options{Name: "client"})
	tr := client.Dial(addr)
	defer tr.Close()
	for _, key := range []string{"k", "l", "broken", "odd"} {
		_, err := tr.Get(t.Context(), "g", key, ignore)
		if (err == nil) == (key == "odd") {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := tr.Set(t.Context(), "g", "k", "v", 0, ignore); !errors.Is(err, wire.ErrNoGroup) {
		t.Error(err)
	}
	refuse = true
	if err := tr.Remove(t.Context(), "g", "k"); !errors.Is(err, wire.ErrRefused) {
		t.Error(err)
	}
	if err := server.Close(); err != nil { // all requests are counted then
		t.Fatal(err)
	}
	eventually(t, "a connection cannot be made", func() bool {
		if _, err := tr.Get(t.Context(), "g", "k", ignore); err == nil {
			t.Error("a closed server has answered")
		}
		return client.Stats().ConnectFailures > 0
	})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(server, client) // whose names differ
	for labels, want := range map[[2]string]float64{
		{"Get", "ok"}: 3, {"Get", "failed"}: 1, {"Set", "failed"}: 1, {"Remove", "refused"}: 1, {"Remove", "ok"}: 0, {"GetMulti", "canceled"}: 0,
	} {
		if got, ok := served(t, registry, labels[0], labels[1]); got != want || !ok {
			t.Errorf("%s requests of method %s: %v (%v), want %v", labels[1], labels[0], got, ok, want)
		}
	}
	s := client.Stats()
	if s.Connects != 1 || len(s.Served) != 0 {
		t.Errorf("%+v", s)
	}
}

// Networks without a name get names that differ, so that two can be registered.
func TestNetworksAreCollectedSideBySide(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for range 2 {
		n, err := grpcpeer.New(grpcpeer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := registry.Register(n); err != nil {
			t.Error(err)
		}
	}
}

// A constructor's error that nobody looked at ended in a crash without a word.
func TestANilCollectorSaysWhatIsWrong(t *testing.T) {
	var none *grpcpeer.Network
	err := prometheus.NewRegistry().Register(none)
	if err == nil || !strings.Contains(err.Error(), "grpcpeer: nil *Network: check the error of New before") {
		t.Errorf("Register: %v", err)
	}
	ch := make(chan prometheus.Metric, 1)
	none.Collect(ch)
	if err := (<-ch).Write(nil); err == nil || !strings.Contains(err.Error(), "grpcpeer: nil *Network") {
		t.Errorf("Collect: %v", err)
	}
}

// A peer over gRPC that hung, was cut off or spoke no TLS had the cause "error": grpc has but text
// for it.
func TestCausesHaveLabels(t *testing.T) {
	_, plain := serve(t, answerAll(), grpcpeer.Options{})
	for want, c := range map[string]struct {
		addr    string
		options grpcpeer.Options
	}{
		"timeout":            {accepting(t, func(net.Conn) {}), grpcpeer.Options{}},
		"connection closed":  {accepting(t, func(c net.Conn) { _ = c.Close() }), grpcpeer.Options{}},
		"connection refused": {"127.0.0.1:1", grpcpeer.Options{}},
		"tls":                {plain, grpcpeer.Options{ClientTLS: &tls.Config{RootCAs: testutil.NewAuthority(t).Pool}}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if want != "timeout" {
			ctx = t.Context()
		}
		_, err := dial(t, c.addr, c.options).Probe(ctx)
		cancel()
		if got := observe.CauseLabel(err); got != want {
			t.Errorf("%v has the label %q, want %q", err, got, want)
		}
	}
}

// accepting is the address of something that accepts connections, and does no more than this with
// them.
func accepting(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			do(c)
		}
	}()
	return l.Addr().String()
}

// served is how many requests a server's metrics count, and whether there is such a series.
func served(t *testing.T, from prometheus.Gatherer, method, result string) (n float64, ok bool) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "holdfast_groupcache_grpc_served_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["method"] == method && labels["result"] == result && labels["client"] == "server\uFFFD" {
				return m.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}
