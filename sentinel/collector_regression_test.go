package sentinel_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/sentinel"
)

// Who does not look at New's error and registers what it returned was told of a nil pointer,
// somewhere deep.
func TestARegistryRefusesANilClientAndSaysWhy(t *testing.T) {
	c, err := sentinel.New(t.Context(), nil, sentinel.Options{})
	if err == nil || c != nil {
		t.Fatalf("New without sentinels: %v, %v", c, err)
	}
	const want = "sentinel: nil *Client: check the error of New"
	if err := prometheus.NewRegistry().Register(c); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Register: %v", err)
	}
	func() {
		defer func() {
			if why, ok := recover().(error); !ok || !strings.Contains(why.Error(), want) {
				t.Errorf("MustRegister panicked with %v", why)
			}
		}()
		prometheus.NewRegistry().MustRegister(c)
	}()
	metrics := make(chan prometheus.Metric, 1)
	c.Collect(metrics)
	if err := (<-metrics).Write(nil); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Collect: %v", err)
	}
}
