package grpcpeer

import (
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// Stats are the counters of a Network at one moment.
type Stats struct {
	// Served are the answered requests of peers, by method, such as "Get", and by code. Requests
	// whose Getter failed have the code OK, as they were answered, unless the peer is one of the
	// original's.
	Served map[string]map[codes.Code]uint64
	// Connects are connections to peers that were made, ConnectFailures those that could not be:
	// refused, or not in time.
	Connects, ConnectFailures uint64
}

// Stats are the network's counters.
func (n *Network) Stats() Stats {
	s := Stats{
		Served:   make(map[string]map[codes.Code]uint64),
		Connects: n.counts.connects.Load(), ConnectFailures: n.counts.failures.Load(),
	}
	for method := range n.counts.requests {
		byCode := &n.counts.requests[method]
		for code := range byCode {
			if count := byCode[code].Load(); count > 0 {
				if s.Served[methodNames[method]] == nil {
					s.Served[methodNames[method]] = make(map[codes.Code]uint64)
				}
				s.Served[methodNames[method]][codes.Code(code)] = count
			}
		}
	}
	return s
}

// Describe implements prometheus.Collector.
func (n *Network) Describe(ch chan<- *prometheus.Desc) {
	if n == nil {
		observe.DescribeNil(ch, "grpcpeer.Network", "New")
		return
	}
	n.metrics.Describe(ch)
}

// Collect implements prometheus.Collector.
func (n *Network) Collect(ch chan<- prometheus.Metric) {
	if n == nil {
		observe.CollectNil(ch, "grpcpeer.Network", "New")
		return
	}
	m, out := n.metrics, observe.To(ch)
	for method := range n.counts.requests {
		var ended [endings]uint64
		for code := range n.counts.requests[method] {
			ended[endingOf(codes.Code(code))] += n.counts.requests[method][code].Load()
		}
		for e, count := range ended {
			out.Count(m.Served, count, methodNames[method], ending(e).String())
		}
	}
	out.Count(m.Connects, n.counts.connects.Load(), "ok")
	out.Count(m.Connects, n.counts.failures.Load(), "failed")
}
