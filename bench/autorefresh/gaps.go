package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// meter measures the time between two calls for the same key.
type meter struct {
	began   time.Time
	warmUp  time.Duration
	period  time.Duration
	last    []atomic.Int64
	buckets [meterBuckets]atomic.Int64 // of thousandths of a period
	most    atomic.Int64
	calls   atomic.Int64
}

const meterBuckets = 20_000

func newMeter(keys int, period, warmUp time.Duration) *meter {
	return &meter{began: time.Now(), period: period, warmUp: warmUp, last: make([]atomic.Int64, keys)}
}

// mark notes a call.
func (m *meter) mark(key int) {
	m.calls.Add(1)
	now := int64(time.Since(m.began)) + 1
	before := m.last[key].Swap(now)
	if before <= int64(m.warmUp) { // of an earlier time, or the first
		return
	}
	gap := now - before
	m.buckets[min(gap*1000/int64(m.period), meterBuckets-1)].Add(1)
	for {
		most := m.most.Load()
		if gap <= most || m.most.CompareAndSwap(most, gap) {
			return
		}
	}
}

// gaps returns a quantile of the gaps and the longest, in periods. Gaps that have not ended yet
// count once they are the longest.
func (m *meter) gaps(share float64) (quantile, most float64) {
	now := int64(time.Since(m.began)) + 1
	longest := m.most.Load()
	for i := range m.last {
		if last := m.last[i].Load(); last > int64(m.warmUp) {
			longest = max(longest, now-last)
		}
	}
	all := int64(0)
	for i := range m.buckets {
		all += m.buckets[i].Load()
	}
	sum := int64(0)
	for i := range m.buckets {
		if sum += m.buckets[i].Load(); float64(sum) >= share*float64(all) {
			quantile = float64(i+1) / 1000
			break
		}
	}
	return quantile, float64(longest) / float64(m.period)
}

func playGaps(ctx context.Context, c config, r *record) error {
	if err := manyItems(ctx, c, r); err != nil {
		return err
	}
	return costlyItems(ctx, c, r)
}

// manyItems has a source that costs nothing.
func manyItems(ctx context.Context, c config, r *record) error {
	items, period := scaled(c, 1_000_000, 100_000), scaled(c, 10*time.Second, 2*time.Second)
	var m atomic.Pointer[meter]
	refresh := func(_ context.Context, key int, old int64) (int64, error) {
		if m := m.Load(); m != nil {
			m.mark(key)
		}
		return old, autorefresh.ErrUnchanged
	}
	cache, err := autorefresh.New(refresh, autorefresh.Options[int, int64]{Period: period})
	if err != nil {
		return err
	}
	for key := range items {
		if _, _, err := cache.GetOrCreate(key, 0); err != nil {
			return err
		}
	}
	rest(ctx, period)
	m.Store(newMeter(items, period, 0))
	rest(ctx, 3*period)
	p99, most := m.Load().gaps(0.99)
	r.add("a million items, 10 s: p99 gap, periods", atMost(1.05), ours, p99)
	r.add("a million items, 10 s: longest gap, periods", atMost(1.1), ours, most)
	return cache.Close()
}

// costlyItems has a source that takes a millisecond, and readers: others refresh only items that
// are read.
func costlyItems(ctx context.Context, c config, r *record) error {
	const items, period, workers, readsPerSecond = 10_000, time.Second, 32, 20_000
	for _, create := range makers() {
		m := newMeter(items, period, 2*period)
		one, err := create(setting{items, period, workers, func(ctx context.Context, key int) (int64, error) {
			at := int64(time.Since(m.began))
			m.mark(key)
			rest(ctx, time.Millisecond)
			return at, nil
		}})
		if err != nil {
			return err
		}
		old := oldReads(ctx, one, m, scaled(c, 10*period, 5*period), readsPerSecond)
		p99, _ := m.gaps(0.99)
		r.add("10 000 items at 1 ms, 1 s: p99 gap, periods", atMost(1.05), one.name(), p99)
		r.add("the same: reads of values older than 1.1 periods, %", target{}, one.name(), 100*old)
		if err := one.close(); err != nil {
			return err
		}
	}
	return nil
}

// oldReads reads by Zipf's law, and returns the share of reads of values that are too old.
func oldReads(ctx context.Context, one contestant, m *meter, d time.Duration, rate int) float64 {
	ctx, cancel := context.WithTimeout(ctx, m.warmUp+d)
	defer cancel()
	z := newZipf(len(m.last))
	random := rand.New(rand.NewPCG(1, 2))
	var reads, old int
	var reader sync.WaitGroup
	reader.Go(func() {
		paced(ctx, rate, func() {
			v, ok := one.read(ctx, z.draw(random))
			now := time.Since(m.began)
			if now < m.warmUp || ctx.Err() != nil {
				return
			}
			reads++
			if !ok || now-time.Duration(v) > m.period*11/10 {
				old++
			}
		})
	})
	reader.Wait()
	return float64(old) / float64(max(reads, 1))
}
