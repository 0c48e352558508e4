package groupcache_test

import (
	"context"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// pipes are a network within a bubble of package synctest, in which nothing takes time, however
// busy the machine is: the listeners by their addresses.
type pipes map[string]pipeListener

// dial implements http.Transport.DialContext. It takes a moment, within which others go on.
func (p pipes) dial(ctx context.Context, _, address string) (net.Conn, error) {
	time.Sleep(time.Millisecond)
	here, there := net.Pipe()
	select {
	case p[address].conns <- there:
		return here, nil
	case <-p[address].closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// nodesOfPipes starts nodes within a bubble, which do not know each other.
func (by way) nodesOfPipes(t *testing.T, n int, adapt func(*groupcache.Options)) *cluster {
	t.Helper()
	network := make(pipes)
	var listeners []pipeListener
	for i := range n {
		l := newPipeListener(net.TCPAddr{IP: net.IPv4(10, 0, 0, byte(i+1)), Port: 8000})
		network[l.Addr().String()] = l
		listeners = append(listeners, l)
	}
	t.Cleanup(func() { time.Sleep(time.Minute) }) // net/http lingers
	c := &cluster{source: newSource()}
	for _, l := range listeners {
		transport := &http.Transport{DialContext: network.dial}
		t.Cleanup(transport.CloseIdleConnections)
		node := startNodeAt(t, l, c.source, by.adapted(func(o *groupcache.Options) {
			o.Transport = func(context.Context) http.RoundTripper { return transport }
			if adapt != nil {
				adapt(o)
			}
		}))
		node.tapped = by == byFrame
		c.nodes = append(c.nodes, node)
	}
	return c
}

// clusterOfPipes is cluster within a bubble.
func (by way) clusterOfPipes(t *testing.T, n int) *cluster {
	t.Helper()
	c := by.nodesOfPipes(t, n, nil)
	c.acquaint(t)
	by.expect(t, c.nodes...)
	return c
}

// inBubbles tests each way in a bubble, where only waiting takes time: former owners have little of
// it, in which a busy machine may not answer.
func inBubbles(t *testing.T, test func(*testing.T, way)) {
	t.Helper()
	eachWay(t, func(t *testing.T, by way) { synctest.Test(t, func(t *testing.T) { test(t, by) }) })
}
