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
	if err == nil || !strings.Contains(err.Error(), "look at the error of etcdpeers.Watch first") {
		t.Errorf("Register: %v", err)
	}
	ch := make(chan prometheus.Metric, 1)
	none.Collect(ch)
	if err := (<-ch).Write(nil); err == nil || !strings.Contains(err.Error(), "nil *etcdpeers.Watcher") {
		t.Errorf("Collect: %v", err)
	}
}
