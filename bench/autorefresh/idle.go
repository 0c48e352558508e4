package main

import (
	"context"
	"runtime"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/bench/internal/cpu"
)

func playIdle(ctx context.Context, c config, r *record) error {
	for _, x := range []struct {
		name   string
		period time.Duration
		most   float64
	}{{"1 h", time.Hour, 0.2}, {"60 s", time.Minute, 3}} {
		share, err := idleShare(ctx, c, x.period)
		if err != nil {
			return err
		}
		r.add("a million items, period "+x.name+", nobody reads: % of a core", atMost(x.most), ours, share)
		expiry := expiryShare(ctx, c, x.period)
		r.add("a million items, period "+x.name+", nobody reads: % of a core", atMost(x.most), otters, expiry)
		if x.period == time.Minute {
			r.add("the last ÷ otter with as many writes and expiry", target{}, ours, share/expiry)
		}
	}
	return memory(r)
}

// idleShare is what a cache costs whose source costs nothing.
func idleShare(ctx context.Context, c config, period time.Duration) (float64, error) {
	cache, err := autorefresh.New(func(_ context.Context, _ int, old int64) (int64, error) { return old, nil },
		autorefresh.Options[int, int64]{Period: period})
	if err != nil {
		return 0, err
	}
	for key := range 1_000_000 {
		if _, _, err := cache.GetOrCreate(key, int64(key)); err != nil {
			return 0, err
		}
	}
	share := shareOfCore(ctx, c, func(d time.Duration) { rest(ctx, d) })
	return share, cache.Close()
}

// expiryShare is what otter costs, with an expiry after the period, that is written to as often as
// the other refreshes.
func expiryShare(ctx context.Context, c config, period time.Duration) float64 {
	const items = 1_000_000
	cache := otter.Must(&otter.Options[int, int]{ExpiryCalculator: otter.ExpiryWriting[int, int](period * 21 / 20)})
	for key := range items {
		cache.Set(key, key)
	}
	key := 0
	return shareOfCore(ctx, c, func(d time.Duration) {
		bounded, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		paced(bounded, int(items/period.Seconds()/evenPeriod), func() {
			cache.Set(key, key+1)
			key = (key + 1) % items
		})
	})
}

// shareOfCore measures how much of a core is used meanwhile, in per cent.
func shareOfCore(_ context.Context, c config, work func(d time.Duration)) float64 {
	runtime.GC()
	work(time.Second)
	began, used := time.Now(), cpu.Own()
	work(scaled(c, 15*time.Second, 4*time.Second))
	return 100 * (cpu.Own() - used).Seconds() / time.Since(began).Seconds()
}

// memory measures an item over its key and its value, both strings.
func memory(r *record) error {
	const items, headers = 1_000_000, 32
	keys := setting{items: items}.keys()
	for _, x := range []struct {
		name  string
		bound int
	}{{"unbounded", 0}, {"bounded", 2 * items}} {
		what := "an item over key and value, " + x.name + ", bytes"
		before := heap()
		keep := func(_ context.Context, _, old string) (string, error) { return old, nil }
		cache, err := autorefresh.New(keep, autorefresh.Options[string, string]{Period: time.Hour, MaxItems: x.bound, MaxStale: 2 * time.Hour})
		if err != nil {
			return err
		}
		for _, key := range keys {
			if _, _, err := cache.GetOrCreate(key, key); err != nil {
				return err
			}
		}
		r.add(what, atMost(180), ours, float64(heap()-before)/items-headers)
		if err := cache.Close(); err != nil {
			return err
		}
		cache = nil
		before = heap()
		raw := otter.Must(&otter.Options[string, string]{MaximumSize: x.bound})
		for _, key := range keys {
			raw.Set(key, key)
		}
		r.add(what, atMost(180), otters, float64(heap()-before)/items-headers)
		runtime.KeepAlive(raw)
	}
	runtime.KeepAlive(keys)
	return nil
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
