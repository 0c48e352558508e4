package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// faultTimeout is the PeerTimeout of the clusters with faults: a fifth of the default, to save
// time.
const faultTimeout = 200 * time.Millisecond

func impatient(o *groupcache.Options) { o.PeerTimeout = faultTimeout }

// faults measures what one peer that hangs or is dead does to a Remove.
func faults(ctx context.Context, s settings, _ *measured) ([]table, error) {
	const peers = 10
	t := table{
		title: fmt.Sprintf("Remove with a peer at fault, %d instances over loopback, PeerTimeout %v", peers, faultTimeout),
		note:  "One after the other. A Remove that returns an error has told all others; the one at fault is told before it is asked again.",
		head:  []string{"state", "Remove", "error"},
	}
	c, err := newCluster(ctx, peers, impatient)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.close() }() // its errors are those of listeners closed twice
	if err := c.join(ctx, 1); err != nil {
		return nil, err
	}
	remove := func(state, key string) {
		start := time.Now()
		err := c.nodes[0].group.Remove(ctx, key)
		took, said := time.Since(start), "none"
		if err != nil {
			said = "names the peer"
		}
		t.add(state, inTime(took), said)
	}
	for i := range s.calls {
		if err := c.nodes[0].group.Remove(ctx, fmt.Sprint("warm:", i)); err != nil {
			return nil, err
		}
	}
	last := c.nodes[peers-1]
	remove("all are well", "a")
	last.hung.Store(true)
	remove("one hangs: the first Remove", "b")
	remove("one hangs: the next", "c")
	last.hung.Store(false)
	start := time.Now()
	if err := eventually(ctx, "the peer has caught up", func() bool { return missedBy(c.nodes[0].instance, last.url) == 0 && up(c.nodes[0].instance) }); err != nil {
		return nil, err
	}
	t.add("it answers again: until it is used and has been told", inTime(time.Since(start)), "")
	remove("after that", "d")
	if err := last.server.Close(); err != nil {
		return nil, err
	}
	remove("one refuses connections: the first Remove", "e")
	remove("one refuses connections: the next", "f")
	return []table{t}, nil
}

// up reports whether all peers are asked.
func up(i *groupcache.Instance) bool {
	for _, p := range i.Debug().Peers {
		if !p.Self && p.State != "closed" {
			return false
		}
	}
	return true
}

// missedBy is how many removals are kept for a peer.
func missedBy(i *groupcache.Instance, url string) int {
	for _, p := range i.Debug().Peers {
		if p.URL == url {
			return p.MissedRemoves
		}
	}
	return 0
}

// missedRemovals measures what removals cost that are kept for a peer, and how fast it is told of
// them.
func missedRemovals(ctx context.Context, s settings, m *measured) (tables []table, err error) {
	c, err := newCluster(ctx, 2, impatient)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.join(ctx, 1); err != nil {
		return nil, err
	}
	writer, away := c.nodes[0], c.nodes[1]
	away.hung.Store(true)
	if writer.group.Remove(ctx, "the first") == nil {
		return nil, errors.New("a Remove told a peer that hangs")
	}
	before := takeFootprint()
	for i := range s.missed {
		_ = writer.group.Remove(ctx, fmt.Sprintf("user:%011d", i)) // the error names the peer
	}
	m.missedBytes = takeFootprint().since(before, s.missed).heap
	if kept := missedBy(writer.instance, away.url); kept != s.missed+1 {
		return nil, fmt.Errorf("%d removals are kept of %d", kept, s.missed+1)
	}
	away.hung.Store(false)
	requests := func() int { return int(away.tally.of(http.MethodDelete) + away.tally.of(http.MethodPost)) }
	earlier := requests()
	if err := eventually(ctx, "the peer is told", func() bool { return requests() > earlier }); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := eventually(ctx, "the peer has been told all", func() bool { return missedBy(writer.instance, away.url) == 0 }); err != nil {
		return nil, err
	}
	m.catchUp = time.Since(start) / time.Duration(s.missed)
	t := table{
		title: "Removals that a peer has missed",
		note:  "Keys of 16 bytes, loopback. Each process keeps up to 65 536 for each peer, and tells them when the peer is back, up to 1 024 with one request.",
		head:  []string{"removals", "bytes for one", "told, each"},
	}
	t.add(count(s.missed), inBytes(m.missedBytes), inTime(m.catchUp))
	return []table{t}, nil
}

// probes counts the questions to dead peers whether they are back.
func probes(ctx context.Context, s settings, m *measured) (tables []table, err error) {
	const peers, dead = 30, 10
	p, err := newPair(peers, dead, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.join(ctx); err != nil {
		return nil, err
	}
	wait := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := wait(s.warm); err != nil {
		return nil, err
	}
	before := p.network.toDead.of(http.MethodOptions)
	if err := wait(s.count); err != nil {
		return nil, err
	}
	asked := p.network.toDead.of(http.MethodOptions) - before
	m.probeRate = float64(asked) / dead / s.count.Seconds()
	t := table{
		title: "Probes of dead peers",
		note:  fmt.Sprintf("By one process, without a network, from %v after the peers died.", s.warm),
		head:  []string{"dead peers", "probes of each a second"},
	}
	t.add(count(dead), fmt.Sprintf("%.2f", m.probeRate))
	return []table{t}, nil
}
