package main

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

const batchSize = 500

func playBatches(ctx context.Context, c config, r *record) error {
	for _, x := range []struct {
		name    string
		creates int // a second
	}{{"100 000 items", 0}, {"100 000 items, and 1 000 more a second", 1000}} {
		if err := oneBatching(ctx, c, r, x.name, x.creates); err != nil {
			return err
		}
	}
	return nil
}

func oneBatching(ctx context.Context, c config, r *record, name string, creates int) error {
	items, period, periods := 100_000, scaled(c, 5*time.Second, 2*time.Second), 4
	var calls atomic.Int64
	cache, err := autorefresh.NewBatch(func(_ context.Context, all []autorefresh.Item[int, int64], out []autorefresh.Result[int64]) error {
		calls.Add(1)
		for i := range all {
			out[i].Value, out[i].Err = all[i].Old, nil
		}
		return nil
	}, autorefresh.Options[int, int64]{Period: period, BatchSize: batchSize})
	if err != nil {
		return err
	}
	for key := range items {
		if _, _, err := cache.GetOrCreate(key, 0); err != nil {
			return err
		}
	}
	create := func(d time.Duration) {
		bounded, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		if creates == 0 {
			rest(bounded, d)
			return
		}
		paced(bounded, creates, func() {
			_, _, _ = cache.GetOrCreate(items, 0)
			items++
		})
	}
	create(2 * period)
	before, from := calls.Load(), items
	create(time.Duration(periods) * period)
	due := math.Ceil(float64(from+items)/2/batchSize) * float64(periods)
	excess := 100 * (float64(calls.Load()-before)/due - 1)
	r.add(name+": calls beyond one for each 500 items a period, %", atMost(8), ours, excess)
	return cache.Close()
}
