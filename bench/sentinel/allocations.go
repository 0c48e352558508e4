package main

import (
	"context"
	"fmt"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

const (
	getAllocations = 3
	setAllocations = 1
)

// allocations tells how often a call allocates, for each client.
func (h *harness) allocations(ctx context.Context, title string, b *tables.Book) error {
	c, err := launchLone(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	t := tables.Table{Title: title, Columns: []string{"", "client", "GET", "GET, deadline", "SET", "SET, deadline", "target", "met"}}
	for _, name := range h.config.clients {
		a, err := allocationsOf(ctx, name, c.SentinelAddrs())
		if err != nil {
			return err
		}
		target, met := "", ""
		if name == holdfastName {
			target = fmt.Sprintf("≤ %d, ≤ %d", getAllocations, setAllocations)
			met = yes(max(a.Get, a.GetDeadline) <= getAllocations+rounding && max(a.Set, a.SetDeadline) <= setAllocations+rounding)
		}
		row := []string{"T13", name}
		for _, n := range []float64{a.Get, a.GetDeadline, a.Set, a.SetDeadline} {
			row = append(row, fmt.Sprintf("%.2f", n))
		}
		t.Rows = append(t.Rows, append(row, target, met))
	}
	return b.Add(t)
}

// rounding leaves room for what the client allocates in the background meanwhile.
const rounding = 0.2

func allocationsOf(ctx context.Context, name string, sentinels []string) (Allocations, error) {
	child, err := spawnClient(ctx, name, settings{Sentinels: sentinels})
	if err != nil {
		return Allocations{}, err
	}
	defer child.kill()
	if _, err := child.tell(order{Verb: verbFill}); err != nil {
		return Allocations{}, err
	}
	a, err := child.tell(order{Verb: verbAllocate})
	return a.Allocations, err
}
