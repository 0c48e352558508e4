package memcache_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// gather scrapes and returns the samples of one metric by their labels.
func gather(t *testing.T, g prometheus.Gatherer, metric string) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatalf("scrape: %v", err)
	}
	samples := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != metric {
			continue
		}
		for _, m := range f.GetMetric() {
			samples[labelText(m)] = value(m)
		}
	}
	return samples
}

func labelText(m *dto.Metric) string {
	var parts []string
	for _, l := range m.GetLabel() {
		parts = append(parts, l.GetName()+"="+l.GetValue())
	}
	return strings.Join(parts, ",")
}

func value(m *dto.Metric) float64 {
	switch {
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	}
	return float64(m.GetHistogram().GetSampleCount())
}

// TestTwoClientsOneRegistry tells of two clients in one process, whose equal metrics made registering the second panic.
func TestTwoClientsOneRegistry(t *testing.T) {
	fake := testutil.StartFake(t)
	registry := prometheus.NewPedanticRegistry()
	for range 2 {
		c := memcache.New(fake.Addr())
		defer func() { _ = c.Close() }()
		if err := registry.Register(c); err != nil {
			t.Fatalf("register an unused client: %v", err)
		}
		if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
		_, _ = c.Get("k")
		_, _ = c.Get("absent")
	}
	if got := gather(t, registry, "memcached_client_operations_total"); len(got) != 6 {
		t.Errorf("operations of two clients = %v, want set, hit and miss of each", got)
	}
	if got := gather(t, registry, "breaker_state"); len(got) == 0 {
		t.Error("the breakers' metrics are missing")
	}
}

func TestMetrics(t *testing.T) {
	fake := testutil.StartFake(t)
	addr := fake.Addr()
	c := newClient(t, memcache.Options{Name: "users\xff", Servers: []string{addr}})
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, _ = c.Get("k")
	}
	_ = c.Add(&memcache.Item{Key: "k"})
	if err := fake.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "found down", func() bool { _, _ = c.Get("k"); return !c.Available() })
	_, _ = c.Get("k")
	_ = c.Delete("k")

	const client = "client=users\uFFFD"
	operations := gather(t, registry, "memcached_client_operations_total")
	for labels, want := range map[string]float64{
		client + ",op=get,result=hit,server=" + addr:        3,
		client + ",op=add,result=not_stored,server=" + addr: 1,
		client + ",op=set,result=ok,server=" + addr:         1,
		client + ",op=delete,result=refused,server=" + addr: 1,
	} {
		if operations[labels] != want {
			t.Errorf("operations{%s} = %v, want %v; all: %v", labels, operations[labels], want, operations)
		}
	}
	if operations[client+",op=get,result=refused,server="+addr] < 1 {
		t.Errorf("no refused Get counted: %v", operations)
	}
	if got := gather(t, registry, "memcached_client_missed_invalidations")[client+",server="+addr]; got != 1 {
		t.Errorf("missed_invalidations = %v, want 1", got)
	}
	if got := gather(t, registry, "memcached_client_operation_duration_seconds")[client+",op=get"]; got < 3 {
		t.Errorf("durations of get: %v samples, want at least 3", got)
	}
	if got := gather(t, registry, "memcached_client_dials_total")[client+",result=failed,server="+addr]; got < 1 {
		t.Errorf("failed dials = %v, want at least 1", got)
	}
	if got := gather(t, registry, "breaker_state"); len(got) == 0 {
		t.Error("no breaker_state")
	}
	st := c.Stats()[addr]
	if st.DownSince.IsZero() || st.DownCause == nil || st.Refused < 2 || st.DialErrors < 1 || st.MissedInvalidations != 1 {
		t.Errorf("Stats = %+v", st)
	}
}
