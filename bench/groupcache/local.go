package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	golang "github.com/golang/groupcache"

	"github.com/holdfast-go/holdfast/groupcache"
)

const (
	hotKeys    = 1024
	valueBytes = 100
	batch      = 256 // operations between two looks at the context
)

// loop does op until the context ends, with a number that goes up, and returns how often.
func loop(ctx context.Context, workers int, op func(i int) error) (int, error) {
	var total atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			i := w << 40
			for ctx.Err() == nil && failed.Load() == nil {
				for range batch {
					if err := op(i); err != nil {
						first := err
						failed.Store(&first)
						return
					}
					i++
				}
				total.Add(batch)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return int(total.Load()), nil
}

func newLocal(name string, budget int64) (*golang.Group, *groupcache.Group, error) {
	value := make([]byte, valueBytes)
	theirs := golang.NewGroup(name, budget, golang.GetterFunc(func(_ context.Context, _ string, dest golang.Sink) error {
		return dest.SetBytes(value)
	}))
	instance, err := groupcache.New(groupcache.Options{})
	if err != nil {
		return nil, nil, err
	}
	ours, err := instance.NewGroup(name, budget, groupcache.GetterFunc(func(_ context.Context, _ string, dest groupcache.Sink) error {
		return dest.SetBytes(value, time.Time{})
	}))
	return theirs, ours, err
}

// hits measures values that are in the cache.
func (b bench) hits() error {
	theirs, ours, err := newLocal("hits", 64<<20)
	if err != nil {
		return err
	}
	keys := make([]string, hotKeys)
	ctx := context.Background()
	for i := range keys {
		keys[i] = "key " + strconv.Itoa(i)
		var v golang.ByteView
		if err := theirs.Get(ctx, keys[i], golang.ByteViewSink(&v)); err != nil {
			return err
		}
		if _, err := ours.View(ctx, keys[i]); err != nil {
			return err
		}
	}
	contestants := []contestant{
		{"golang, ByteViewSink", func(run context.Context, workers int) (int, error) {
			return loop(run, workers, func(i int) error {
				var v golang.ByteView
				return theirs.Get(ctx, keys[i&(hotKeys-1)], golang.ByteViewSink(&v))
			})
		}},
		{"holdfast, ByteViewSink", func(run context.Context, workers int) (int, error) {
			return loop(run, workers, func(i int) error {
				var v groupcache.ByteView
				return ours.Get(ctx, keys[i&(hotKeys-1)], groupcache.ByteViewSink(&v))
			})
		}},
		{"holdfast, View", func(run context.Context, workers int) (int, error) {
			return loop(run, workers, func(i int) error {
				_, err := ours.View(ctx, keys[i&(hotKeys-1)])
				return err
			})
		}},
	}
	rows := [][]string{{"processors", "", "ns", "÷ golang", "÷ mailgun", "target", "met", "allocations"}}
	targets := map[int][]float64{1: {0, 0.65, 0.35}, 2: {0, 0.40, 0.20}}
	for _, procs := range []int{1, 2} {
		r, err := b.measure(procs, procs, contestants)
		if err != nil {
			return err
		}
		rows = append(rows, localRows(strconv.Itoa(procs), contestants, r, targets[procs])...)
	}
	return b.table("hits: a value of 100 bytes among 1 024", rows)
}

// localRows has a row for each contestant, of which the first is golang's.
func localRows(label string, contestants []contestant, r []result, targets []float64) (rows [][]string) {
	for i, c := range contestants {
		row := []string{label, c.name, fmt.Sprintf("%.1f", float64(r[i].time.Nanoseconds())), "1.00", fmt.Sprintf("%.2f", 1/mailgunHit), "", ""}
		if i > 0 {
			ratio := float64(r[i].time) / float64(r[0].time)
			converted := ratio / mailgunHit
			row[3], row[4] = fmt.Sprintf("%.2f", ratio), fmt.Sprintf("%.2f", converted)
			if targets[i] > 0 {
				row[5], row[6] = fmt.Sprintf("≤ %.2f", targets[i]), verdicts[converted <= targets[i]*1.05]
			}
		}
		rows = append(rows, append(row, fmt.Sprintf("%.1f", r[i].allocs)))
	}
	return rows
}

// misses measures keys that are asked for once.
func (b bench) misses() error {
	theirs, ours, err := newLocal("misses", 8<<20)
	if err != nil {
		return err
	}
	ctx := context.Background()
	var serial atomic.Int64
	next := func() string { return "key " + strconv.FormatInt(serial.Add(1), 10) }
	contestants := []contestant{
		{"golang, ByteViewSink", func(run context.Context, workers int) (int, error) {
			return loop(run, workers, func(int) error {
				var v golang.ByteView
				return theirs.Get(ctx, next(), golang.ByteViewSink(&v))
			})
		}},
		{"holdfast, ByteViewSink", func(run context.Context, workers int) (int, error) {
			return loop(run, workers, func(int) error {
				var v groupcache.ByteView
				return ours.Get(ctx, next(), groupcache.ByteViewSink(&v))
			})
		}},
		{"holdfast, View, one context that can end", func(run context.Context, workers int) (int, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return loop(run, workers, func(int) error {
				_, err := ours.View(ctx, next())
				return err
			})
		}},
		{"golang, ByteViewSink, a deadline for each call", func(run context.Context, workers int) (int, error) {
			return loop(run, workers, func(int) error {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				var v golang.ByteView
				return theirs.Get(ctx, next(), golang.ByteViewSink(&v))
			})
		}},
		{"holdfast, View, a deadline for each call", func(run context.Context, workers int) (int, error) {
			return loop(run, workers, func(int) error {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				_, err := ours.View(ctx, next())
				return err
			})
		}},
	}
	rows := [][]string{{"processors", "", "ns", "÷ golang", "÷ mailgun", "target", "met", "allocations"}}
	for _, procs := range []int{1, 2} {
		r, err := b.measure(procs, procs, contestants)
		if err != nil {
			return err
		}
		rows = append(rows, localRows(strconv.Itoa(procs), contestants, r, []float64{0, 0.75, 0, 0, 0})...)
	}
	return b.table("misses: a load of 100 bytes, the cache full", rows)
}
