package main

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// playHot reads two caches alike, of which one refreshes what has been read within three periods.
func playHot(ctx context.Context, c config, r *record) error {
	const items, readsPerSecond = 100_000, 10_000
	period := scaled(c, 2*time.Second, time.Second)
	var calls [2]atomic.Int64
	var caches [2]*autorefresh.Cache[int, int64]
	for i, hot := range []time.Duration{0, 3 * period} {
		cache, err := autorefresh.New(func(_ context.Context, _ int, old int64) (int64, error) {
			calls[i].Add(1)
			return old, nil
		}, autorefresh.Options[int, int64]{Period: period, HotFor: hot})
		if err != nil {
			return err
		}
		defer func() { _ = cache.Close() }()
		caches[i] = cache
		for key := range items {
			if _, _, err := cache.GetOrCreate(key, 0); err != nil {
				return err
			}
		}
	}
	z, random := newZipf(items), rand.New(rand.NewPCG(7, 8))
	read := func(d time.Duration) {
		bounded, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		paced(bounded, readsPerSecond, func() {
			key := z.draw(random)
			caches[0].Get(key)
			caches[1].Get(key)
		})
	}
	read(5 * period)
	full, hot := calls[0].Load(), calls[1].Load()
	read(5 * period)
	full, hot = calls[0].Load()-full, calls[1].Load()-hot
	r.add("100 000 items, 10 000 reads/s: calls ÷ those of full refresh", atMost(0.5), ours, float64(hot)/float64(full))
	return nil
}
