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

func playRaces(ctx context.Context, c config, r *record) error {
	trials := scaled(c, 1_000_000, 50_000)
	if err := deletions(ctx, trials, r); err != nil {
		return err
	}
	return creations(ctx, trials/10, r)
}

// deletions deletes and re-creates items while they are refreshed with the value that they had.
func deletions(ctx context.Context, trials int, r *record) error {
	const keys = 4
	refresh := func(_ context.Context, _ int, old int64) (int64, error) {
		runtime.Gosched()
		return old, nil
	}
	cache, err := autorefresh.New(refresh, autorefresh.Options[int, int64]{Period: 10 * time.Millisecond, NoBreaker: true})
	if err != nil {
		return err
	}
	refreshing, cancel := context.WithCancel(ctx)
	var risen atomic.Int64
	var refreshers, deleters sync.WaitGroup
	for key := range keys {
		refreshers.Go(func() {
			for refreshing.Err() == nil {
				if err := cache.Refresh(refreshing, key); errors.Is(err, autorefresh.ErrNotFound) {
					runtime.Gosched()
				}
			}
		})
		deleters.Go(func() {
			for generation := int64(1); generation <= int64(trials/keys) && ctx.Err() == nil; generation++ {
				v, created, err := cache.GetOrCreate(key, generation)
				runtime.Gosched()
				now, there := cache.Get(key)
				deleted := cache.Delete(key)
				_, still := cache.Get(key)
				if err != nil || !created || v != generation || !there || now != generation || !deleted || still {
					risen.Add(1)
				}
			}
		})
	}
	deleters.Wait()
	cancel()
	refreshers.Wait()
	r.add("deleted and re-created against refreshes: old values that came back", atMost(0), ours, float64(risen.Load()))
	r.add("trials", target{}, ours, float64(trials))
	return cache.Close()
}

// creations lets four goroutines create the same items.
func creations(ctx context.Context, trials int, r *record) error {
	const callers = 4
	cache, err := autorefresh.New(func(_ context.Context, _ int, old int64) (int64, error) { return old, nil },
		autorefresh.Options[int, int64]{Period: time.Hour})
	if err != nil {
		return err
	}
	winners := make([]atomic.Int32, trials)
	values := make([]atomic.Int64, trials)
	var all sync.WaitGroup
	for id := range callers {
		all.Go(func() {
			for key := 0; key < trials && ctx.Err() == nil; key++ {
				v, created, err := cache.GetOrCreate(key, int64(id))
				if created {
					winners[key].Add(1)
				}
				if err == nil {
					values[key].Add(v)
				}
			}
		})
	}
	all.Wait()
	wrong := 0
	for key := range trials {
		v, _ := cache.Get(key)
		if winners[key].Load() != 1 || values[key].Load() != callers*v {
			wrong++
		}
	}
	r.add("items created by four at once without exactly one winner", atMost(0), ours, float64(wrong))
	return cache.Close()
}
