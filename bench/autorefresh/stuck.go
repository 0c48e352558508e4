package main

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// playStuck has a callback of 100 that returns only at the end.
func playStuck(ctx context.Context, c config, r *record) error {
	const items, period, workers = 100, time.Second, 2
	m := newMeter(items, period, period)
	free := make(chan struct{})
	refresh := func(_ context.Context, key int, old int64) (int64, error) {
		if key == 0 {
			<-free
			return old, nil
		}
		m.mark(key)
		return old + 1, nil
	}
	cache, err := autorefresh.New(refresh, autorefresh.Options[int, int64]{Period: period, Workers: workers, Timeout: 2 * time.Second})
	if err != nil {
		return err
	}
	for key := range items {
		if _, _, err := cache.GetOrCreate(key, 0); err != nil {
			return err
		}
	}
	rest(ctx, scaled(c, 20*period, 6*period))
	_, most := m.gaps(1)
	r.add("99 other items, 2 workers: longest gap, periods", atMost(1.1), ours, most)
	close(free)
	return cache.Close()
}
