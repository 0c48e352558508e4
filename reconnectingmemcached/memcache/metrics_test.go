package memcache_test

import (
	"strconv"
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

// TestTwoClientsOneRegistry tells of two clients in one process, whose equal metrics made
// registering the second panic.
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
	counted := 0
	for _, n := range gather(t, registry, "holdfast_memcached_operations_total") {
		if n > 0 {
			counted++
		}
	}
	if counted != 6 {
		t.Errorf("%d operations of two clients were counted, want set, hit and miss of each", counted)
	}
	if got := gather(t, registry, "holdfast_breaker_state"); len(got) == 0 {
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
	eventually(t, "cause known", func() bool { return c.Stats()[addr].DownCause != nil })
	_, _ = c.Get("k")
	_ = c.Delete("k")

	const client = "client=users\uFFFD"
	operations := gather(t, registry, "holdfast_memcached_operations_total")
	for labels, want := range map[string]float64{
		client + ",op=get,result=hit":        3,
		client + ",op=add,result=not_stored": 1,
		client + ",op=set,result=ok":         1,
		client + ",op=delete,result=refused": 1,
	} {
		if operations[labels] != want {
			t.Errorf("operations{%s} = %v, want %v; all: %v", labels, operations[labels], want, operations)
		}
	}
	if operations[client+",op=get,result=refused"] < 1 {
		t.Errorf("no refused Get counted: %v", operations)
	}
	byServer := gather(t, registry, "holdfast_memcached_endpoint_operations_total")
	for result, want := range map[string]float64{"hit": 3, "ok": 2, "miss": 0} { // ok: the Set and the Add
		if got := byServer[client+",endpoint="+addr+",result="+result]; got != want {
			t.Errorf("%s at the server = %v, want %v; all: %v", result, got, want, byServer)
		}
	}
	if got := gather(t, registry, "holdfast_memcached_value_size_bytes")[client+",op=get"]; got != 3 {
		t.Errorf("sizes of values read: %v samples, want 3", got)
	}
	if got := gather(t, registry, "holdfast_memcached_missed_invalidations")[client+",endpoint="+addr]; got != 1 {
		t.Errorf("missed_invalidations = %v, want 1", got)
	}
	if got := gather(t, registry, "holdfast_memcached_operation_duration_seconds")[client+",op=get"]; got < 3 {
		t.Errorf("durations of get: %v samples, want at least 3", got)
	}
	if got := gather(t, registry, "holdfast_memcached_dials_total")[client+",endpoint="+addr+",result=failed"]; got < 1 {
		t.Errorf("failed dials = %v, want at least 1", got)
	}
	if got := gather(t, registry, "holdfast_breaker_state"); len(got) == 0 {
		t.Error("no holdfast_breaker_state")
	}
	st := c.Stats()[addr]
	if st.DownSince.IsZero() || st.DownCause == nil || st.Refused < 2 || st.DialErrors < 1 || st.MissedInvalidations != 1 {
		t.Errorf("Stats = %+v", st)
	}
}

// TestSeriesFromTheStart tells of the first burst that no rate() saw: a series began with its first
// count. All that an operation can end with is there from the start, before the first use already.
func TestSeriesFromTheStart(t *testing.T) {
	fake := testutil.StartFake(t)
	list := new(memcache.ServerList)
	if err := list.SetServers(fake.Addr()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*memcache.Client{
		"names": memcache.New(fake.Addr(), fake.Addr()), "selector": memcache.NewFromSelector(list),
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { _ = c.Close() }()
			registry := prometheus.NewPedanticRegistry()
			if err := registry.Register(c); err != nil {
				t.Fatal(err)
			}
			before := gather(t, registry, "holdfast_memcached_operations_total")
			if len(before) < 100 {
				t.Errorf("%d series before the first use, want all", len(before))
			}
			durations := gather(t, registry, "holdfast_memcached_operation_duration_seconds")
			if len(durations) != 4 {
				t.Errorf("%d histograms before the first use, want get, get_multi, store and other", len(durations))
			}
			useAll(c)
			after := gather(t, registry, "holdfast_memcached_operations_total")
			for labels := range after {
				if _, ok := before[labels]; !ok {
					t.Errorf("series %s came only with its first use", labels)
				}
			}
			if len(after) != len(before) {
				t.Errorf("%d series after the use, %d before", len(after), len(before))
			}
		})
	}
}

// useAll brings about what each operation can end with on a server that is up.
func useAll(c *memcache.Client) {
	for _, key := range []string{"k", "absent"} {
		item := &memcache.Item{Key: key, Value: []byte("1")}
		for _, do := range []func(*memcache.Item) error{c.Replace, c.Append, c.Prepend, c.CompareAndSwap} {
			_ = do(item)
		}
		_, _ = c.Increment(key, 1)
		_, _ = c.Decrement(key, 1)
		_ = c.Touch(key, 1)
		_, _ = c.Get(key)
		_, _ = c.GetAndTouch(key, 1)
		_, _ = c.GetMulti([]string{key, "absent"})
		_ = c.Set(&memcache.Item{Key: "k", Value: []byte("1")})
		_ = c.Add(item)
		it, _ := c.Get("k")
		_ = c.CompareAndSwap(it)
		_ = c.CompareAndSwap(it)
		_ = c.Delete(key)
		_ = c.Set(&memcache.Item{Key: "k", Value: make([]byte, 2<<20)})
	}
	_, _ = c.Ping(), c.FlushAll()
}

// TestGetMultiCountsKeys tells of the hit ratio that knew nothing of GetMulti: it counted requests
// as "ok".
func TestGetMultiCountsKeys(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Name: "multi", Servers: []string{fake.Addr()}})
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if err := c.Set(&memcache.Item{Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := c.GetMulti([]string{"a", "b", "c", "d", "e"}); err != nil {
			t.Fatal(err)
		}
	}
	c.ForceDown(fake.Addr())
	eventually(t, "down", func() bool { return !c.Available() })
	_, _ = c.GetMulti([]string{"a", "b"})
	operations := gather(t, registry, "holdfast_memcached_operations_total")
	for result, want := range map[string]float64{"hit": 6, "miss": 9, "refused": 2} {
		if got := operations["client=multi,op=get_multi,result="+result]; got != want {
			t.Errorf("get_multi, %s: %v keys, want %v", result, got, want)
		}
	}
	if _, ok := operations["client=multi,op=get_multi,result=ok"]; ok {
		t.Error("get_multi has a result ok beside its hits and misses")
	}
}

// TestNilClientIsNotRegistered tells of the client that was registered before its error was looked
// at: the process crashed on a nil pointer, in a line that said nothing of why.
func TestNilClientIsNotRegistered(t *testing.T) {
	c, err := memcache.NewWithOptions(nil, memcache.Options{})
	if err == nil {
		t.Fatal("NewWithOptions without servers = nil error")
	}
	if err := prometheus.NewRegistry().Register(c); err == nil || !strings.Contains(err.Error(), "nil *Client: check the error of NewWithOptions") {
		t.Errorf("Register of a nil client = %v, want what to do", err)
	}
	metrics := make(chan prometheus.Metric, 1)
	c.Collect(metrics)
	if err := (<-metrics).Write(new(dto.Metric)); err == nil || !strings.Contains(err.Error(), "nil *Client") {
		t.Errorf("Collect of a nil client: %v, want what to do", err)
	}
}

// A server may cost so many series, its breaker's included: fleets have hundreds of servers, and as
// many processes.
func TestSeriesOfAServer(t *testing.T) {
	fakes := []*testutil.Fake{testutil.StartFake(t), testutil.StartFake(t)}
	count := func(servers ...string) int {
		c := newClient(t, memcache.Options{Servers: servers, ConsecutiveFailures: 1})
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c)
		for i := range 50 {
			_ = c.Set(&memcache.Item{Key: strconv.Itoa(i), Value: []byte("v")})
		}
		for _, server := range servers {
			c.ForceDown(server)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range families {
			n += len(f.GetMetric())
		}
		return n
	}
	one, two := count(fakes[0].Addr()), count(fakes[0].Addr(), fakes[1].Addr())
	if n := two - one; n > 24 || n < 15 {
		t.Errorf("a server costs %d series, want at most 24", n)
	}
}

// The runbook tells a dead server from a hung one by the label of the cause; both were "error", or
// would have been: what the client finds out by itself is no error of the network.
func TestCausesOfOutages(t *testing.T) {
	for want, fail := range map[string]func(*testutil.Fake) error{
		"connection refused": (*testutil.Fake).Kill,
		"timeout":            (*testutil.Fake).Hang,
	} {
		fake := testutil.StartFake(t)
		c := newClient(t, memcache.Options{Name: want, Servers: []string{fake.Addr()}, Timeout: memcache.DefaultTimeout})
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c)
		if err := c.Set(&memcache.Item{Key: "k"}); err != nil {
			t.Fatal(err)
		}
		if err := fail(fake); err != nil {
			t.Fatal(err)
		}
		eventually(t, "found down", func() bool { _, _ = c.Get("k"); return !c.Available() })
		causes := gather(t, registry, "holdfast_breaker_last_cause_info")
		for labels := range causes {
			if !strings.Contains(labels, "cause="+want+",") {
				t.Errorf("the cause is %s, want %s", labels, want)
			}
		}
		if len(causes) != 1 {
			t.Errorf("%d causes, want one: %v", len(causes), causes)
		}
	}
}
