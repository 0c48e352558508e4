package observe_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// absent is a collector that is always nil.
type absent struct{}

func (*absent) Describe(ch chan<- *prometheus.Desc) {
	observe.DescribeNil(ch, "some.Client", "New")
}

func (*absent) Collect(ch chan<- prometheus.Metric) {
	observe.CollectNil(ch, "some.Client", "New")
}

func TestANilCollectorIsRefusedWithAReason(t *testing.T) {
	err := prometheus.NewRegistry().Register((*absent)(nil))
	if err == nil || !strings.Contains(err.Error(), "some: nil *Client: check the error of New before you register it") {
		t.Errorf("Register: %v", err)
	}
	ch := make(chan prometheus.Metric, 1)
	(*absent)(nil).Collect(ch)
	if err := (<-ch).Write(nil); err == nil || !strings.Contains(err.Error(), "some: nil *Client") {
		t.Errorf("Collect: %v", err)
	}
}
