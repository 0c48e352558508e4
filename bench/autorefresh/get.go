package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/viccon/sturdyc"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/bench/internal/cpu"
)

const (
	getItems = 100_000
	getReads = 1 << 16
)

// playGet lets the caches take turns of a few milliseconds and compares the medians of the
// processor time: what else runs on the machine then does not matter much.
func playGet(ctx context.Context, c config, r *record) error {
	turns := scaled(c, 150, 50)
	for _, x := range []struct {
		name  string
		bound int
	}{{"bounded", 2 * getItems}, {"unbounded", 0}} {
		for _, items := range []int{1000, getItems} {
			if err := bareReads(ctx, turns, r, fmt.Sprintf("%s, %d keys", x.name, items), items, x.bound); err != nil {
				return err
			}
		}
	}
	for _, items := range []int{1000, getItems} {
		if err := refreshingReads(ctx, turns, r, items); err != nil {
			return err
		}
	}
	return nil
}

// sequence are keys as they are read, each a string of its own, as one that has come with a
// request.
func sequence(items int) []string {
	z, random := newZipf(items), rand.New(rand.NewPCG(5, 6))
	reads := make([]string, getReads)
	for i := range reads {
		reads[i] = keyOf(z.draw(random))
	}
	return reads
}

type getter func(key string) (int64, bool)

// bareReads compares with otter as it is used inside, which refreshes nothing.
func bareReads(ctx context.Context, turns int, r *record, name string, items, bound int) error {
	raw := otter.Must(&otter.Options[string, int64]{MaximumSize: bound})
	cache, err := quietCache(bound)
	if err != nil {
		return err
	}
	for i := range items {
		raw.Set(keyOf(i), int64(i))
		if _, _, err := cache.GetOrCreate(keyOf(i), int64(i)); err != nil {
			return err
		}
	}
	reads := sequence(items)
	costs := takeTurns(ctx, turns, reads, cache.Get, raw.GetIfPresent)
	r.add(name+": a read ÷ bare otter's", atMost(1.15), ours, costs[0]/costs[1])
	if items == getItems && bound > 0 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		costOf(reads, cache.Get)
		runtime.ReadMemStats(&after)
		r.add("allocations of a read", atMost(0.001), ours, float64(after.Mallocs-before.Mallocs)/getReads) // the runtime has some of its own
	}
	return cache.Close()
}

func quietCache(bound int) (*autorefresh.Cache[string, int64], error) {
	return autorefresh.New(func(_ context.Context, _ string, old int64) (int64, error) { return old, nil },
		autorefresh.Options[string, int64]{Period: time.Hour, MaxItems: bound})
}

// refreshingReads compares with reads that have something refreshed when it is due, which never
// happens here.
func refreshingReads(ctx context.Context, turns int, r *record, items int) error {
	load := func(context.Context, string) (int64, error) { return 0, nil }
	other := otter.Must(&otter.Options[string, int64]{
		MaximumSize: 2 * getItems, RefreshCalculator: otter.RefreshWriting[string, int64](time.Hour),
	})
	sturdy := sturdyc.New[int64](2*getItems, 64, 2*time.Hour, 10, sturdyc.WithNoContinuousEvictions(),
		sturdyc.WithEarlyRefreshes(50*time.Minute, time.Hour, 2*time.Hour, time.Second))
	cache, err := quietCache(2 * getItems)
	if err != nil {
		return err
	}
	for i := range items {
		key := keyOf(i)
		other.Set(key, int64(i))
		sturdy.Set(key, int64(i))
		if _, _, err := cache.GetOrCreate(key, int64(i)); err != nil {
			return err
		}
	}
	costs := takeTurns(
		ctx, turns, sequence(items), cache.Get,
		func(key string) (int64, bool) {
			v, err := other.Get(ctx, key, otter.LoaderFunc[string, int64](load))
			return v, err == nil
		},
		func(key string) (int64, bool) {
			v, err := sturdy.GetOrFetch(ctx, key, func(ctx context.Context) (int64, error) { return load(ctx, key) })
			return v, err == nil
		},
	)
	what := fmt.Sprintf("%d keys: a read that refreshes, ns of the processor", items)
	r.add(what, target{}, ours, costs[0])
	r.add(what, target{}, otters, costs[1])
	r.add(what, target{}, sturdys, costs[2])
	r.add(fmt.Sprintf("%d keys: sturdyc's ÷ ours", items), atLeast(4), ours, costs[2]/costs[0])
	return cache.Close()
}

// takeTurns returns what a read costs with each getter, in nanoseconds.
func takeTurns(ctx context.Context, turns int, reads []string, getters ...getter) []float64 {
	costs := make([][]float64, len(getters))
	for range turns {
		for i, get := range getters {
			costs[i] = append(costs[i], costOf(reads, get))
		}
		if ctx.Err() != nil {
			break
		}
	}
	var medians []float64
	for _, all := range costs {
		medians = append(medians, median(all))
	}
	return medians
}

// costOf returns what a read costs, in nanoseconds.
func costOf(keys []string, get getter) float64 {
	sum, began := int64(0), cpu.Own()
	for _, key := range keys {
		v, _ := get(key)
		sum += v
	}
	used := cpu.Own() - began
	runtime.KeepAlive(sum)
	return float64(used) / float64(len(keys))
}
