package observe

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// A collector that is nil, because its constructor failed and nobody looked at the error, says so
// in place of its metrics: a registry refuses it with that text, where a dereference would only
// crash.

// DescribeNil is what Describe of a nil collector does. Its type is written as in sentinel.Client,
// its constructor as in New.
func DescribeNil(ch chan<- *prometheus.Desc, kind, constructor string) {
	ch <- prometheus.NewInvalidDesc(errNil(kind, constructor))
}

// CollectNil is what Collect of a nil collector does.
func CollectNil(ch chan<- prometheus.Metric, kind, constructor string) {
	err := errNil(kind, constructor)
	ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
}

func errNil(kind, constructor string) error {
	name, kind, _ := strings.Cut(kind, ".")
	return fmt.Errorf("%s: nil *%s: check the error of %s before you register it", name, kind, constructor)
}
