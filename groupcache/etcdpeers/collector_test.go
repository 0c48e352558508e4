package etcdpeers_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
)

// A constructor's error that nobody looked at ended in a crash without a word.
func TestANilCollectorSaysWhatIsWrong(t *testing.T) {
	var none *etcdpeers.Watcher
	err := prometheus.NewRegistry().Register(none)
	if err == nil || !strings.Contains(err.Error(), "etcdpeers: nil *Watcher: check the error of Watch before") {
		t.Errorf("Register: %v", err)
	}
	ch := make(chan prometheus.Metric, 1)
	none.Collect(ch)
	if err := (<-ch).Write(nil); err == nil || !strings.Contains(err.Error(), "etcdpeers: nil *Watcher") {
		t.Errorf("Collect: %v", err)
	}
}
