package autorefresh_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/holdfast-go/holdfast/autorefresh"
)

const benchKeys = 100_000

// zipfKeys are keys as they are read: few of them often.
func zipfKeys(n int) []string {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, benchKeys-1)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%06d", z.Uint64())
	}
	return keys
}

func same(_ context.Context, _ string, old int) (int, error) { return old, nil }

// BenchmarkGet compares a read with one of the storage alone: the two take turns of a few
// milliseconds, and the medians of their processor time are compared, so that what else runs on the
// machine does not matter much.
func BenchmarkGet(b *testing.B) {
	const mask = 1<<17 - 1
	reads := zipfKeys(mask + 1)
	for _, bound := range []int{0, 2 * benchKeys} {
		raw := otter.Must(&otter.Options[string, int]{MaximumSize: bound})
		c, err := autorefresh.New(same, autorefresh.Options[string, int]{Period: time.Hour, MaxItems: bound})
		if err != nil {
			b.Fatal(err)
		}
		for i := range benchKeys {
			key := fmt.Sprintf("key-%06d", i)
			raw.Set(key, i)
			_, _, _ = c.GetOrCreate(key, i)
		}
		b.Run(fmt.Sprintf("bound=%d", bound), func(b *testing.B) {
			b.ReportAllocs()
			var ours, theirs []float64
			for b.Loop() {
				theirs = append(theirs, turn(b, reads, raw.GetIfPresent))
				ours = append(ours, turn(b, reads, c.Get))
			}
			b.ReportMetric(median(theirs), "otter-ns/read")
			b.ReportMetric(median(ours), "ns/read")
			b.ReportMetric(median(ours)/median(theirs), "ratio")
			b.ReportMetric(0, "ns/op")
		})
		_ = c.Close()
	}
}

// turn returns the processor time of one read.
func turn(tb testing.TB, keys []string, get func(string) (int, bool)) float64 {
	sum, begin := 0, cpuTime(tb)
	for _, key := range keys {
		v, _ := get(key)
		sum += v
	}
	sink.Add(int64(sum))
	return float64(cpuTime(tb)-begin) / float64(len(keys))
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

//nolint:gochecknoglobals // keeps results alive.
var sink atomic.Int64

// BenchmarkSchedule measures what it costs to keep a million items refreshed once a minute by a
// function that does nothing.
func BenchmarkSchedule(b *testing.B) {
	for _, period := range []time.Duration{time.Minute, time.Hour} {
		b.Run(period.String(), func(b *testing.B) {
			c := million(b, period)
			defer func() { _ = c.Close() }()
			runtime.GC()
			begin, cpu := time.Now(), cpuTime(b)
			time.Sleep(3 * time.Second)
			used := cpuTime(b) - cpu
			b.ReportMetric(100*used.Seconds()/time.Since(begin).Seconds(), "%core")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkMemory measures an item over its key and its value, both strings of 16 bytes.
func BenchmarkMemory(b *testing.B) {
	for _, bound := range []int{0, 2_000_000} {
		b.Run(fmt.Sprintf("bound=%d", bound), func(b *testing.B) {
			const n = 1_000_000
			keys := make([]string, n)
			for i := range keys {
				keys[i] = fmt.Sprintf("key-%012d", i)
			}
			before := heap()
			keep := func(_ context.Context, _, old string) (string, error) { return old, nil }
			c, err := autorefresh.New(keep, autorefresh.Options[string, string]{Period: time.Hour, MaxItems: bound, MaxStale: 2 * time.Hour})
			if err != nil {
				b.Fatal(err)
			}
			for _, key := range keys {
				_, _, _ = c.GetOrCreate(key, key)
			}
			perItem := float64(heap()-before) / n
			b.ReportMetric(perItem-32, "B/item") // the headers of the key and of the value are their own
			b.ReportMetric(0, "ns/op")
			runtime.KeepAlive(keys)
			_ = c.Close()
		})
	}
}

func million(tb testing.TB, period time.Duration) *autorefresh.Cache[int, int] {
	tb.Helper()
	c, err := autorefresh.New(func(_ context.Context, _, old int) (int, error) { return old, nil },
		autorefresh.Options[int, int]{Period: period})
	if err != nil {
		tb.Fatal(err)
	}
	for key := range 1_000_000 {
		_, _, _ = c.GetOrCreate(key, key)
	}
	return c
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
