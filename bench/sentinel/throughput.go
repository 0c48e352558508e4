package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

const (
	mixedMost = 64 // goroutines with SETs among the GETs: beyond, they would tell little more
)

// comparison is one kind of round at one number of goroutines, with the medians of each client.
type comparison struct {
	round   Round
	far     bool // the network decides, and there is no target
	medians map[string]Result
	server  map[string]time.Duration // the server's CPU time per operation
}

// throughput compares all clients on one server, in interleaved rounds.
func (h *harness) throughput(ctx context.Context, title string, b *tables.Book) error {
	c, err := launchLone(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	server := c.servers()[0]
	proxy, err := testutil.NewProxy(server.Addr()) //nolint:contextcheck // it is closed below
	if err != nil {
		return err
	}
	defer func() { _ = proxy.Close() }()
	s := settings{Sentinels: c.SentinelAddrs()}
	if h.config.roundTrip > 0 {
		s.Via = map[string]string{server.Addr(): proxy.Addr()}
	}
	var children []*handle
	defer func() { killAll(children) }()
	for _, name := range h.config.clients {
		child, err := spawnClient(ctx, name, s)
		if err != nil {
			return err
		}
		children = append(children, child)
	}
	if _, err := children[0].tell(order{Verb: verbFill}); err != nil {
		return err
	}
	proxy.SetDelay(h.config.roundTrip)
	t := tables.Table{Title: title, Unit: "GET a second, each with a deadline", Columns: []string{
		"", "G", "client", "per second", "÷ " + best, "target", "met", "p50", "p99", "p99 ÷ " + best, "met", "CPU/op", "server CPU/op", "errors",
	}}
	for _, round := range h.rounds() {
		compared, err := h.compare(ctx, server, children, round)
		if err != nil {
			return err
		}
		t.Rows = append(t.Rows, compared.rows(h.config.clients)...)
		if round.judged() {
			t.Chart = append(t.Chart, compared.bars(h.config.clients))
		}
	}
	return b.Add(t)
}

func (h *harness) rounds() []Round {
	var all []Round
	for _, g := range h.config.parallel {
		all = append(all, Round{Goroutines: g, Deadlines: true})
	}
	for _, g := range h.config.parallel {
		all = append(all, Round{Goroutines: g})
	}
	for _, g := range h.config.parallel {
		if g > 1 && g <= mixedMost {
			all = append(all, Round{Goroutines: g, Deadlines: true, SetPercent: 20})
		}
	}
	for i := range all {
		all[i].Duration = h.config.duration
	}
	return all
}

func (h *harness) compare(ctx context.Context, s *redis.Server, children []*handle, round Round) (comparison, error) {
	results := make(map[string][]Result)
	server := make(map[string][]time.Duration)
	for n := range h.config.rounds {
		for i := range children {
			child := children[(i+n)%len(children)] // nobody is always first
			before, err := cpuOf(ctx, s)
			if err != nil {
				return comparison{}, err
			}
			a, err := child.tell(order{Verb: verbRound, Round: round})
			if err != nil {
				return comparison{}, err
			}
			after, err := cpuOf(ctx, s)
			if err != nil {
				return comparison{}, err
			}
			used := float64(after - before)
			operations := a.Result.PerSecond * round.Duration.Seconds()
			results[child.name] = append(results[child.name], a.Result)
			server[child.name] = append(server[child.name], time.Duration(used/max(1, operations)))
		}
	}
	compared := comparison{round, h.config.roundTrip > 0, make(map[string]Result), make(map[string]time.Duration)}
	for name, all := range results {
		compared.medians[name] = middle(all)
		compared.server[name] = median(server[name])
	}
	return compared, nil
}

// middle takes the median of each figure; errors are added up.
func middle(all []Result) Result {
	m := Result{
		PerSecond: median(collect(all, func(r Result) float64 { return r.PerSecond })),
		P50:       median(collect(all, func(r Result) time.Duration { return r.P50 })),
		P99:       median(collect(all, func(r Result) time.Duration { return r.P99 })),
		CPU:       median(collect(all, func(r Result) time.Duration { return r.CPU })),
	}
	for _, r := range all {
		m.Errors += r.Errors
	}
	return m
}

// best is what ours is compared with: the best of the others in each row.
const best = "best other"

func (c comparison) rows(clients []string) (rows [][]string) {
	most, least := c.bestOther()
	for _, name := range clients {
		m := c.medians[name]
		ratio, tail := m.PerSecond/most, float64(m.P99)/float64(least)
		target, met, tailMet := "", "", ""
		if name == holdfastName && !c.far && c.round.judged() {
			wanted := c.wanted()
			target, met, tailMet = fmt.Sprintf("≥ %.1f", wanted), yes(ratio >= wanted), yes(tail <= 1)
		}
		rows = append(rows, []string{
			c.round.String(), fmt.Sprint(c.round.Goroutines), name, fmt.Sprintf("%.0f", m.PerSecond), fmt.Sprintf("%.2f", ratio), target, met,
			micros(m.P50), micros(m.P99), fmt.Sprintf("%.2f", tail), tailMet, micros(m.CPU), micros(c.server[name]), fmt.Sprint(m.Errors),
		})
	}
	return rows
}

func (c comparison) bars(clients []string) tables.Group {
	g := tables.Group{Name: fmt.Sprintf("%d goroutines", c.round.Goroutines)}
	for _, name := range clients {
		g.Bars = append(g.Bars, tables.Bar{Name: name, Value: c.medians[name].PerSecond})
	}
	return g
}

// bestOther is the most that another client does in a second, and the p99 of that client.
func (c comparison) bestOther() (perSecond float64, p99 time.Duration) {
	for name, m := range c.medians {
		if !strings.HasPrefix(name, holdfastName) && m.PerSecond > perSecond {
			perSecond, p99 = m.PerSecond, m.P99
		}
	}
	return perSecond, p99
}

// wanted is the target, as a multiple of the best other client: more callers give more to share.
func (c comparison) wanted() float64 {
	switch g := c.round.Goroutines; {
	case g < 8:
		return 1
	case g < 64:
		return 1.1
	case g < 256:
		return 1.2
	}
	return 1.3
}

// judged reports whether the round has a target: GET whose contexts have deadlines.
func (r Round) judged() bool { return r.Deadlines && r.SetPercent == 0 }

func yes(met bool) string { return map[bool]string{true: "yes", false: "NO"}[met] }

func micros(d time.Duration) string {
	return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
}
