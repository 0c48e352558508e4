package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	golang "github.com/golang/groupcache"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
	"github.com/holdfast-go/holdfast/groupcache"
)

// sampled is which part of the Gets is timed: one of so many.
const sampled = 8

// times collects how long Gets took.
type times struct {
	mu  sync.Mutex
	all []time.Duration // guarded by mu
}

// timed is op, timed now and then.
func (t *times) timed(op func(i int) error) func(i int) error {
	return func(i int) error {
		if i%sampled != 0 {
			return op(i)
		}
		start := time.Now()
		err := op(i)
		took := time.Since(start)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.all = append(t.all, took)
		return err
	}
}

// at is a quantile.
func (t *times) at(q float64) time.Duration {
	slices.Sort(t.all)
	if len(t.all) == 0 {
		return 0
	}
	return t.all[int(q*float64(len(t.all)-1))].Round(time.Microsecond)
}

// wayOf is one way to get a value from another process.
type wayOf struct {
	name string
	get  func(ctx context.Context, key string) error
}

// ways are those that are compared: golang's, ours over HTTP, ours by frames without and with a
// deadline for each Get.
func ways(theirs *golang.Group, ourURL string) ([]wayOf, func(), error) {
	overHTTP, plain, err := client(ourURL, nil, groupcache.FramesOff)
	if err != nil {
		return nil, nil, err
	}
	byFrames, framed, err := client(ourURL, nil, groupcache.FramesAuto)
	if err != nil {
		return nil, nil, err
	}
	stop := func() { _, _ = plain.Close(), framed.Close() }
	view := func(g *groupcache.Group) func(context.Context, string) error {
		return func(ctx context.Context, key string) error {
			_, err := g.View(ctx, key)
			return err
		}
	}
	return []wayOf{
		{"golang", func(ctx context.Context, key string) error {
			var v []byte
			return theirs.Get(ctx, key, golang.AllocatingByteSliceSink(&v))
		}},
		{"HTTP", view(overHTTP)},
		{"frames", view(byFrames)},
		{"frames, deadline", func(ctx context.Context, key string) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return view(byFrames)(ctx, key)
		}},
	}, stop, nil
}

// framesTargets are ratios to mailgun's throughput, by callers, size and whether each Get has a
// deadline.
var framesTargets = map[string]float64{ //nolint:gochecknoglobals // a constant, were there such maps
	"64/100/frames": 6, "64/10000/frames": 4, "64/100/frames, deadline": 5, "64/10000/frames, deadline": 4,
	"8/100/frames": 1.8, "8/10000/frames": 1.8, "1/100/frames": 1.3, "1/10000/frames": 1.3,
}

// frames measures gets of values that the owner has in its cache, with few and with many callers.
// The caller keeps nothing.
func (b bench) frames() error {
	theirURL, stopTheirs, err := start("golang")
	if err != nil {
		return err
	}
	defer stopTheirs()
	ourURL, stopOurs, err := start("holdfast")
	if err != nil {
		return err
	}
	defer stopOurs()
	all, stop, err := ways(b.original(theirURL), ourURL)
	if err != nil {
		return err
	}
	defer stop()
	t := tables.Table{Title: "frames: gets from another process", Unit: "gets a second", Columns: []string{
		"callers", "value", "", "per second", "÷ golang", "÷ mailgun", "target", "met", "p50", "p99", "p99 ÷ golang", "allocations",
	}}
	for _, callers := range []int{1, 8, 64} {
		for _, bytes := range []int{100, 10_000} {
			took := make([]times, len(all))
			var contestants []contestant
			for i, w := range all {
				op := took[i].timed(func(n int) error { return w.get(context.Background(), strconv.Itoa(bytes)+"/"+strconv.Itoa(n%5000)) })
				contestants = append(contestants, contestant{w.name, func(run context.Context, workers int) (int, error) { return loop(run, workers, op) }})
			}
			results, err := b.measure(2, callers, contestants)
			if err != nil {
				return err
			}
			g := tables.Group{Name: fmt.Sprintf("%d callers, %d bytes", callers, bytes)}
			for i, r := range results {
				g.Bars = append(g.Bars, tables.Bar{Name: all[i].name, Value: r.rate})
				ratio := r.rate / results[0].rate
				row := []string{
					strconv.Itoa(callers), strconv.Itoa(bytes), all[i].name, fmt.Sprintf("%.0f", r.rate),
					fmt.Sprintf("%.2f", ratio), fmt.Sprintf("%.2f", ratio/mailgunPeer), "", "",
					took[i].at(0.5).String(), took[i].at(0.99).String(), fmt.Sprintf("%.2f", float64(took[i].at(0.99))/float64(took[0].at(0.99))), fmt.Sprintf("%.0f", r.allocs),
				}
				if target := framesTargets[fmt.Sprintf("%d/%d/%s", callers, bytes, all[i].name)]; target > 0 {
					row[6], row[7] = fmt.Sprintf("≥ %.1f", target), verdicts[ratio/mailgunPeer >= target]
				}
				t.Rows = append(t.Rows, row)
			}
			t.Chart = append(t.Chart, g)
		}
	}
	return b.book.Add(t)
}
