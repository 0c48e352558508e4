package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/cpu"
)

const (
	keys          = 1000
	valueSize     = 64
	roundDeadline = time.Second // of each call's context, where it has one
	allocsCalls   = 2000
)

// Round describes one round of the throughput comparison.
type Round struct {
	Goroutines int
	Duration   time.Duration
	Deadlines  bool // each call makes a context of its own with a deadline
	SetPercent int  // of the calls, the rest being GET
}

func (r Round) String() string {
	kind := "GET"
	if r.SetPercent > 0 {
		kind = fmt.Sprintf("GET, %d %% SET", r.SetPercent)
	}
	if r.Deadlines {
		return kind + ", deadline"
	}
	return kind + ", background"
}

// Result is one round of one client.
type Result struct {
	PerSecond float64
	P50, P99  time.Duration
	CPU       time.Duration // of the client's process, per operation
	Errors    int64
}

// fill stores the values that rounds read.
func fill(ctx context.Context, c client) error {
	value := strings.Repeat("v", valueSize)
	for i := range keys {
		if err := c.Set(ctx, benchKey(i), value); err != nil {
			return err
		}
	}
	return nil
}

func benchKey(i int) string { return "bench:" + strconv.Itoa(100000+i) }

// measure runs one round.
func (r Round) measure(c client) Result {
	names := make([]string, keys)
	for i := range names {
		names[i] = benchKey(i)
	}
	value := strings.Repeat("v", valueSize)
	var failed atomic.Int64
	var stop atomic.Bool
	times := make([]durations, r.Goroutines)
	var workers sync.WaitGroup
	usedBefore, began := cpu.Own(), time.Now()
	for g := range r.Goroutines {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			mine := make(durations, 0, 1<<12)
			for !stop.Load() {
				start := time.Now()
				if err := r.one(c, names[random.IntN(keys)], value, random.IntN(100)); err != nil {
					failed.Add(1)
				}
				mine = append(mine, time.Since(start))
			}
			times[g] = mine
		})
	}
	time.Sleep(r.Duration)
	stop.Store(true)
	workers.Wait()
	elapsed, used := time.Since(began), cpu.Own()-usedBefore
	all := slices.Concat(times...)
	slices.Sort(all)
	return Result{
		PerSecond: float64(len(all)) / elapsed.Seconds(), P50: all.quantile(.5), P99: all.quantile(.99),
		CPU: used / time.Duration(max(1, len(all))), Errors: failed.Load(),
	}
}

// one does one call; dice of 0 to 99 choose its kind.
func (r Round) one(c client, key, value string, dice int) error {
	ctx := context.Background()
	if r.Deadlines {
		limited, cancel := context.WithTimeout(ctx, roundDeadline)
		defer cancel()
		ctx = limited
	}
	if dice < r.SetPercent {
		return c.Set(ctx, key, value)
	}
	got, err := c.Get(ctx, key)
	if err == nil && got != value {
		return errors.New("wrong value")
	}
	return err
}

// Allocations are the heap allocations of one call. Those of making the context are not counted.
type Allocations struct{ Get, GetDeadline, Set, SetDeadline float64 }

func countAllocations(c client) (Allocations, error) {
	var failure error
	count := func(ctx context.Context, call func(context.Context) error) float64 {
		return allocationsPerCall(func() {
			if err := call(ctx); err != nil {
				failure = err
			}
		})
	}
	key, value := benchKey(0), strings.Repeat("v", valueSize)
	get := func(ctx context.Context) error { _, err := c.Get(ctx, key); return err }
	set := func(ctx context.Context) error { return c.Set(ctx, key, value) }
	background := context.Background()
	limited, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	counted := Allocations{count(background, get), count(limited, get), count(background, set), count(limited, set)}
	return counted, failure
}

// allocationsPerCall is what testing.AllocsPerRun does, without its rounding down.
func allocationsPerCall(call func()) float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	call()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range allocsCalls {
		call()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / allocsCalls
}
