package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
)

const (
	getAllocations = 3
	setAllocations = 1
)

// allocations tells how often a call allocates, for each client.
func (h *harness) allocations(ctx context.Context, out io.Writer) error {
	c, err := launchLone(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\tclient\tGET\tGET, deadline\tSET\tSET, deadline\ttarget\tmet")
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
		_, _ = fmt.Fprintf(table, "T13\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%s\n", name, a.Get, a.GetDeadline, a.Set, a.SetDeadline, target, met)
	}
	return table.Flush()
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
