package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

var errDead = errors.New("source is dead")

// mortal is a source that may be dead.
type mortal struct {
	dead  atomic.Bool
	calls atomic.Int64
	began time.Time
}

func (m *mortal) load(context.Context, int) (int64, error) {
	m.calls.Add(1)
	if m.dead.Load() {
		return 0, errDead
	}
	return int64(time.Since(m.began)), nil
}

func playDead(ctx context.Context, c config, r *record) error {
	items, period := 10_000, scaled(c, 5*time.Second, 2*time.Second)
	for _, create := range makers() {
		source := &mortal{began: time.Now()}
		one, err := create(setting{items, period, 32, source.load})
		if err != nil {
			return err
		}
		if err := oneDeath(ctx, c, r, one, source, items, period); err != nil {
			return err
		}
		if err := one.close(); err != nil {
			return err
		}
	}
	return nil
}

func oneDeath(ctx context.Context, c config, r *record, one contestant, source *mortal, items int, period time.Duration) error {
	reading, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	for i := range 2 {
		random := rand.New(rand.NewPCG(uint64(i), 3))
		readers.Go(func() {
			for reading.Err() == nil {
				one.read(reading, random.IntN(items))
			}
		})
	}
	rest(ctx, 2*period)
	source.dead.Store(true)
	rest(ctx, 2*period)
	before, deadFor := source.calls.Load(), scaled(c, 4*period, 3*period)
	rest(ctx, deadFor)
	r.add("dead source, 10 000 items, 2 goroutines that read: calls a second", atMost(2), one.name(), float64(source.calls.Load()-before)/deadFor.Seconds())
	lost := 0
	for key := range items {
		if !one.has(key) {
			lost++
		}
	}
	r.add("items lost", atMost(0), one.name(), float64(lost))
	if h, ok := one.(*holdfast); ok {
		return recovery(ctx, r, h, source, items, period)
	}
	return nil
}

// recovery measures what the source sees once it is back: in tenths of a period, the most of them
// against an even rate.
func recovery(ctx context.Context, r *record, h *holdfast, source *mortal, items int, period time.Duration) error {
	source.dead.Store(false)
	for limit := time.Now().Add(time.Minute); h.cache.Stats().Source != breaker.Closed; rest(ctx, time.Millisecond) {
		if ctx.Err() != nil || time.Now().After(limit) {
			return errors.New("the source is back, and the breaker is open after a minute")
		}
	}
	back := time.Now()
	var counts []int64
	for last := source.calls.Load(); time.Since(back) < 2*period && ctx.Err() == nil; {
		rest(ctx, period/10)
		now := source.calls.Load()
		counts, last = append(counts, now-last), now
	}
	even := float64(items) / evenPeriod / 10
	r.add("back: most calls in a tenth of a period ÷ steady rate", atMost(1.5), ours, float64(slices.Max(counts))/even)
	r.add("items older than the recovery, two periods after it", atMost(0), ours, float64(outdated(h.cache, h.keys, back)))
	return nil
}

// evenPeriod is the mean time between two refreshes, in periods.
const evenPeriod = 0.95

func outdated(cache *autorefresh.Cache[string, int64], keys []string, since time.Time) (n int) {
	for _, key := range keys {
		if e, ok := cache.Lookup(key); !ok || e.LoadedAt.Before(since.Add(-time.Second)) { // the trial that found it back is older
			n++
		}
	}
	return n
}
