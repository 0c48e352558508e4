package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

// calm is the load during many failovers.
const calmRate = 200

// leftovers makes one failover after another, closes all clients and tells what they leave behind.
func (h *harness) leftovers(ctx context.Context, title string, b *tables.Book) error {
	c, err := launchFast(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	o := observe(c.SentinelAddrs(), c.serverAddrs())
	defer o.close()
	var children []*handle
	defer func() { killAll(children) }()
	for _, name := range h.config.clients {
		child, err := spawnClient(ctx, name, settings{Sentinels: c.SentinelAddrs()})
		if err != nil {
			return err
		}
		children = append(children, child)
		load := Load{Prefix: name, Goroutines: h.config.goroutines, Rate: calmRate, Deadline: time.Second}
		if _, err := child.tell(order{Verb: verbWrite, Load: load}); err != nil {
			return err
		}
	}
	began := time.Now()
	made := 0
	for made < h.config.failovers && err == nil {
		if err = oneOfMany(ctx, c, o); err == nil {
			made++
		}
	}
	title += fmt.Sprintf(": %d failovers in %v", made, time.Since(began).Round(time.Second))
	t := tables.Table{Title: title, Columns: []string{"", "client", "goroutines left", "sockets left", "Close took", "target", "met"}}
	for _, child := range children {
		row, failed := closeOf(child)
		if failed != nil {
			return errors.Join(err, failed)
		}
		t.Rows = append(t.Rows, row)
	}
	return errors.Join(err, b.Add(t))
}

// oneOfMany makes a failover and has the old primary follow the new one at once.
func oneOfMany(ctx context.Context, c cluster, o *observer) error {
	old, err := c.primary(ctx)
	if err != nil {
		return err
	}
	since := time.Now().UnixNano()
	if err := c.failover(ctx, 0); err != nil {
		return err
	}
	promoted := ""
	switched := await(ctx, promotionLimit, func() bool {
		_, promoted = o.promotion(since, old.Addr())
		return promoted != "" && o.first("+switch-master", since) != 0
	})
	if !switched {
		return errNoPromotion
	}
	return c.follow(ctx, old, promoted)
}

// closeOf closes a child's client and tells what it has left behind.
func closeOf(child *handle) ([]string, error) {
	ended, err := child.tell(order{Verb: verbLedger})
	if err != nil {
		return nil, err
	}
	a, err := child.tell(order{Verb: verbClose})
	if err != nil {
		return nil, err
	}
	l, target, met := a.Leftovers, "", ""
	if child.name == holdfastName {
		target, met = "0, 0", yes(l.Goroutines <= 0 && l.Sockets <= 0 && !l.Hangs)
	}
	closing := short(l.Close)
	if l.Hangs {
		closing = "not within " + closing
	}
	goroutines := fmt.Sprintf("%d (%d of them stuck calls)", l.Goroutines, len(ended.Ledger.Stuck))
	return []string{"T14", child.name, goroutines, strconv.Itoa(l.Sockets), closing, target, met}, nil
}
