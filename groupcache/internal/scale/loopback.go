package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// connections measures what idle connections cost.
func connections(ctx context.Context, s settings, m *measured) ([]table, error) {
	t := table{
		title: "Idle connections over loopback",
		note: fmt.Sprintf("Real instances in one process, HTTP/1.1, after the greetings and before any other request. Up to %d of them have peers, the "+
			"others only answer. Bytes: heap and stacks of both ends of a connection and of the peer it belongs to; the kernel's are not in them.", s.callers),
		head: []string{"peers", "instances with peers", "greetings", "connections", "all greeted after", "CPU of a greeting", "bytes for a connection", "goroutines for it"},
	}
	for _, n := range sizes(s.peers, s.loopback) {
		callers := min(n, s.callers)
		c, err := newCluster(ctx, n, nil)
		if err != nil {
			return nil, err
		}
		before := takeFootprint()
		start, used := time.Now(), cpu()
		err = c.join(ctx, callers)
		took := time.Since(start)
		used = (cpu() - used) / time.Duration(callers*(n-1))
		opened, greetings := c.opened(), c.got(http.MethodOptions)
		each := takeFootprint().since(before, opened)
		if err = errors.Join(err, c.close()); err != nil {
			return nil, fmt.Errorf("connections among %d: %w", n, err)
		}
		if greetings != callers*(n-1) {
			return nil, fmt.Errorf("connections among %d: %d greetings of %d instances", n, greetings, callers)
		}
		t.add(count(n), count(callers), count(greetings), count(opened), inTime(took), inTime(used), inBytes(each.bytes), fmt.Sprintf("%.1f", each.goroutines))
		m.connBytes, m.connRoutines = each.bytes-m.peerBytes, each.goroutines
	}
	return []table{t}, nil
}

// workload is something that is done with a cluster again and again.
type workload struct {
	name  string
	adapt func(*groupcache.Options)
	call  func(ctx context.Context, c *cluster, i int) error
}

func workloads() []workload {
	set := func(ctx context.Context, c *cluster, i int) error {
		return c.nodes[0].group.Set(ctx, scattered("set", i), make([]byte, 100), time.Time{}, false)
	}
	return []workload{
		{name: "Get", call: func(ctx context.Context, c *cluster, i int) error {
			_, err := c.nodes[0].group.View(ctx, c.elsewhere(i))
			return err
		}},
		{name: "GetMulti of 100 keys", call: func(ctx context.Context, c *cluster, i int) error {
			keys := make([]string, 100)
			for j := range keys {
				keys[j] = scattered("multi", i, j)
			}
			_, err := c.nodes[0].group.GetMulti(ctx, keys)
			return err
		}},
		{name: "Remove", call: func(ctx context.Context, c *cluster, i int) error {
			return c.nodes[0].group.Remove(ctx, scattered("remove", i))
		}},
		{name: "Set", call: set},
		{name: "Set, SetOwnerOnly", adapt: func(o *groupcache.Options) { o.SetOwnerOnly = true }, call: set},
	}
}

// elsewhere is a key that the first instance does not own, a new one for each i.
func (c *cluster) elsewhere(i int) string {
	for j := 0; ; j++ {
		if key := scattered("get", i, j); c.ring.Get(key) != c.urls[0] {
			return key
		}
	}
}

// requests measures what a call costs that asks or tells peers.
func requests(ctx context.Context, s settings, m *measured) ([]table, error) {
	t := table{
		title: "Calls over loopback, one after the other",
		note: "One real instance calls; the Getter answers at once, and no key was asked for before; the handover after a change of the peers is off. CPU: of all processes together, which share the " +
			"processors of this machine here; a time is therefore longer than on machines of their own, as soon as the peers work at once.",
		head: []string{"call", "peers", "requests", "p50", "p99", "CPU", "CPU for a request"},
	}
	var toldCPU []time.Duration
	for _, w := range workloads() {
		for _, n := range sizes(s.peers, s.loopback) {
			told, got, err := w.measure(ctx, s, n)
			if err != nil {
				return nil, fmt.Errorf("%s among %d: %w", w.name, n, err)
			}
			each := time.Duration(float64(got.cpu) / max(told, 1))
			t.add(w.name, count(n), fmt.Sprintf("%.1f", told), inTime(got.p50), inTime(got.p99), inTime(got.cpu), inTime(each))
			if w.name == "Remove" {
				toldCPU = append(toldCPU, each)
			}
		}
	}
	m.toldCPU = median(toldCPU)
	return []table{t}, nil
}

// measure makes the calls in a cluster of n. Told is how many requests a call made.
func (w workload) measure(ctx context.Context, s settings, n int) (told float64, got timing, err error) {
	c, err := newCluster(ctx, n, w.adapt)
	if err != nil {
		return 0, got, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.join(ctx, 1); err != nil {
		return 0, got, err
	}
	for i := range s.calls { // connections and pools are made
		if err := w.call(ctx, c, -1-i); err != nil {
			return 0, got, err
		}
	}
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}
	before := c.got(methods...)
	got, err = measureCalls(s, func(i int) error { return w.call(ctx, c, i) })
	return float64(c.got(methods...)-before) / float64(s.rounds*s.calls), got, err
}
