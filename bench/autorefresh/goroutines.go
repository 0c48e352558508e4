package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// slowFor is how long the source takes: longer than a period.
const slowFor = time.Second

func playGoroutines(ctx context.Context, c config, r *record) error {
	if err := allLoads(ctx, c, r); err != nil {
		return err
	}
	return hotKeys(ctx, c, r)
}

// allLoads asks for everything at once of a source that is slow: items that are due, loads, and
// calls that hang.
func allLoads(ctx context.Context, c config, r *record) error {
	const workers, loads, stuck, callers, items = 8, 16, 2, 200, 1000
	var calls, after atomic.Int64
	var closed atomic.Bool
	refresh := func(ctx context.Context, key int, old int64) (int64, error) {
		calls.Add(1)
		if closed.Load() {
			after.Add(1)
		}
		rest(ctx, slowFor)
		if key < 2 {
			time.Sleep(slowFor) // whatever the context says
		}
		return old, nil
	}
	before := runtime.NumGoroutine()
	cache, err := autorefresh.New(refresh, autorefresh.Options[int, int64]{
		Period: slowFor / 2, Workers: workers, MaxLoads: loads, MaxStuck: stuck, Timeout: slowFor * 3 / 2, OnEvent: func(autorefresh.Event[int]) {},
	})
	if err != nil {
		return err
	}
	for key := range items {
		if _, _, err := cache.GetOrCreate(key, int64(key)); err != nil {
			return err
		}
	}
	loading, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var next atomic.Int64
	next.Store(items)
	for range callers {
		all.Go(func() {
			for loading.Err() == nil {
				_, _ = cache.Load(loading, int(next.Add(1)))
			}
		})
	}
	most := 0
	for began := time.Now(); time.Since(began) < scaled(c, 6*slowFor, 3*slowFor) && ctx.Err() == nil; rest(ctx, time.Millisecond) {
		most = max(most, runtime.NumGoroutine()-before-callers)
	}
	// The goroutine that tells OnEvent is one more.
	r.add("8 workers, 16 loads, 2 stuck, an event handler: most goroutines", atMost(workers+2+loads+stuck+1), ours, float64(most))
	cancel()
	err = cache.Close()
	closed.Store(true)
	all.Wait()
	if errors.Is(err, autorefresh.ErrStuck) {
		rest(ctx, slowFor)
		err = cache.Close()
	}
	rest(ctx, slowFor)
	r.add("callbacks that began after Close", atMost(0), ours, float64(after.Load()))
	r.add("goroutines left after Close", atMost(0), ours, float64(runtime.NumGoroutine()-before))
	return err
}

// hotKeys reads some keys as fast as can be, of a source that is slow.
func hotKeys(ctx context.Context, c config, r *record) error {
	const items, workers, readers = 100, 8, 2
	for _, create := range makers() {
		before := runtime.NumGoroutine()
		one, err := create(setting{items, slowFor / 10, workers, func(ctx context.Context, _ int) (int64, error) {
			rest(ctx, slowFor)
			return 0, nil
		}})
		if err != nil {
			return err
		}
		reading, cancel := context.WithTimeout(ctx, scaled(c, 5*slowFor, 3*slowFor))
		var all sync.WaitGroup
		for i := range readers {
			all.Go(func() {
				for key := i; reading.Err() == nil; key = (key + 1) % items {
					one.read(reading, key)
				}
			})
		}
		most := 0
		for ; reading.Err() == nil; rest(reading, time.Millisecond) {
			most = max(most, runtime.NumGoroutine()-before-readers)
		}
		all.Wait()
		cancel()
		r.add("100 hot keys, 1 s a call, 8 workers: most goroutines", atMost(workers+3), one.name(), float64(most))
		if err := one.close(); err != nil {
			return err
		}
		for limit := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(limit); {
			rest(ctx, 10*time.Millisecond)
		}
	}
	return nil
}
