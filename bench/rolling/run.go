package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readers = 32
	// steady is how long the loads before the restarts are measured.
	steady = 3 * time.Second
)

// outcome is what a rolling restart has cost.
type outcome struct {
	before, during float64 // loads a second
	peak           int64   // loads in the worst second
	loads          int64   // from the first restart to the last
	errors         int64   // of readers
}

// restartAll restarts all peers one after the other, under load.
func restartAll(ctx context.Context, c config, w way) (outcome, error) {
	cl := &cluster{config: c, source: &source{takes: c.sourceTime}, way: w}
	defer func() {
		cl.telling.Wait()
		for _, p := range cl.members {
			p.stop()
		}
	}()
	for range c.peers {
		p, err := startProcess(ctx, cl.source, w)
		if err != nil {
			return outcome{}, err
		}
		cl.members = append(cl.members, p)
	}
	cl.announce(0)
	cl.telling.Wait()
	warm(ctx, cl)
	return measure(ctx, cl)
}

// warm reads all keys once.
func warm(ctx context.Context, c *cluster) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), 1))
			for n := next.Add(1); n <= int64(c.config.keys) && ctx.Err() == nil; n = next.Add(1) {
				_, _ = c.one(r).group.View(ctx, key(uint64(n-1)))
			}
		})
	}
	all.Wait()
}

func measure(ctx context.Context, c *cluster) (outcome, error) {
	loading, stop := context.WithCancel(ctx)
	var errors atomic.Int64
	var all sync.WaitGroup
	for i := range readers {
		all.Go(func() { read(loading, c, uint64(i), &errors) })
	}
	defer all.Wait()
	defer stop()
	pause(ctx, steady)
	first := c.source.loads.Load()
	pause(ctx, steady)
	o := outcome{before: float64(c.source.loads.Load()-first) / steady.Seconds()}

	began, atStart := time.Now(), c.source.loads.Load()
	watching, end := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { o.peak = worstSecond(watching, c.source) })
	for range c.config.peers {
		if err := c.restart(ctx); err != nil {
			end()
			watch.Wait()
			return o, err
		}
	}
	o.loads = c.source.loads.Load() - atStart
	o.during = float64(o.loads) / time.Since(began).Seconds()
	end()
	watch.Wait()
	o.errors = errors.Load()
	return o, ctx.Err()
}

// read reads at its part of the rate until the context ends.
func read(ctx context.Context, c *cluster, seed uint64, errors *atomic.Int64) {
	r := rand.New(rand.NewPCG(seed, 7))
	keys := rand.NewZipf(r, c.config.skew, 1, uint64(c.config.keys-1))
	every := time.Second * readers / time.Duration(c.config.rate)
	unlimited := context.WithoutCancel(ctx)
	for due := time.Now(); ctx.Err() == nil; due = due.Add(every) {
		pause(ctx, time.Until(due))
		if _, err := c.one(r).group.View(unlimited, key(keys.Uint64())); err != nil {
			errors.Add(1)
		}
	}
}

// worstSecond is how many loads the worst second had, looked at ten times a second.
func worstSecond(ctx context.Context, s *source) int64 {
	var last []int64
	worst := int64(0)
	for ctx.Err() == nil {
		last = append(last, s.loads.Load())
		if n := len(last); n > 10 {
			worst = max(worst, last[n-1]-last[n-11])
		}
		pause(ctx, 100*time.Millisecond)
	}
	return worst
}
