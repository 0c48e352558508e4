package fleet_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/fleet"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// scraped makes a fleet a collector, whose breakers are there too.
type scraped struct {
	*fleet.Fleet
	metrics *metrics.Memcached
}

func (scraped) Describe(chan<- *prometheus.Desc) {}

func (s scraped) Collect(ch chan<- prometheus.Metric) { s.Fleet.Collect(s.metrics, ch) }

// Servers beyond those that have a label of their own share one, whose counters fell when one of
// them left. To a rate that is a restart, and the whole count a burst.
func TestServersThatShareALabelKeepTheirCountWhenTheyLeave(t *testing.T) {
	f := fleet.New(server.Config{Name: "test"})
	defer f.Close()
	f.LimitLabels(10)
	var used []*server.Server
	for i := range 20 {
		s := f.Server("tcp", fmt.Sprintf("10.9.0.%d:11211", i))
		s.Metrics.Count(protocol.OpGet, server.ResultMiss)
		used = append(used, s)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(scraped{f, metrics.NewMemcached("test")})
	counted := func() (others, all float64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				switch name := family.GetName(); {
				case name == "holdfast_memcached_operations_total":
					all += m.GetCounter().GetValue()
				case name == "holdfast_memcached_endpoint_operations_total" && strings.Contains(m.String(), `"_other"`):
					others += m.GetCounter().GetValue()
				}
			}
		}
		return others, all
	}
	if others, all := counted(); others != 10 || all != 20 {
		t.Fatalf("%v operations of servers without a label, and %v in all, want 10 and 20", others, all)
	}
	f.Dismiss(used)
	if others, all := counted(); others != 10 || all != 20 || len(f.All()) != 0 {
		t.Errorf("%v operations of servers without a label, %v in all, and %d servers when all have left, want 10, 20 and none", others, all, len(f.All()))
	}
}
