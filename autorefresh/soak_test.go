package autorefresh_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

func needsSoak(t *testing.T) {
	t.Helper()
	if os.Getenv("HOLDFAST_SOAK") != "1" {
		t.Skip("SKIPPED, IT TAKES MINUTES: set HOLDFAST_SOAK=1 to run it")
	}
}

// TestSoak lets everything happen at once for ten minutes: creations, deletions, loads, forced
// refreshes, waits, and a source that is slow, fails, or panics for seconds at a time. The history
// is that of HOLDFAST_SEED.
func TestSoak(t *testing.T) {
	needsSoak(t)
	seed, err := strconv.ParseUint(os.Getenv("HOLDFAST_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("HOLDFAST_SEED=%d", seed)
	const keys, workers, loads, callers, period = 20_000, 16, 8, 8, time.Second
	var mood atomic.Int32 // 0 good, 1 fails, 2 slow, 3 panics
	var inFlight [keys]atomic.Int32
	var overlaps, calls atomic.Int64
	refresh := func(ctx context.Context, key, old int) (int, error) {
		calls.Add(1)
		if inFlight[key].Add(1) > 1 {
			overlaps.Add(1)
		}
		defer inFlight[key].Add(-1)
		switch mood.Load() {
		case 1:
			return 0, errDown
		case 2:
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		case 3:
			panic("mood")
		}
		if key%100 == 99 {
			return 0, autorefresh.ErrNotFound
		}
		return old + 1, nil
	}
	before := runtime.NumGoroutine()
	c, err := autorefresh.New(refresh, options{
		Period: period, Workers: workers, MaxLoads: loads, MaxItems: keys / 2, Overflow: autorefresh.Reject, NegativeTTL: period,
		HotFor: 20 * period, MaxStale: time.Minute, WhenStale: autorefresh.StaleBlocks, Timeout: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { soakCaller(ctx, t, c, rand.New(rand.NewPCG(seed, uint64(i))), keys) })
	}
	moods := rand.New(rand.NewPCG(seed, 99))
	var heaps []uint64
	for ctx.Err() == nil {
		mood.Store(max(int32(moods.IntN(8))-4, 0))
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(1+moods.IntN(10)) * time.Second):
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		heaps = append(heaps, m.HeapAlloc)
		if n := runtime.NumGoroutine() - before - callers; n > workers+2+loads+2 {
			t.Errorf("%d goroutines", n)
		}
	}
	wg.Wait()
	t.Logf("%d calls, %+v", calls.Load(), c.Stats())
	mustClose(t, c)
	if overlaps.Load() > 0 {
		t.Errorf("%d calls for a key while another was under way", overlaps.Load())
	}
	if early, late := slices.Max(heaps[:len(heaps)/2]), slices.Max(heaps[len(heaps)/2:]); late > 2*early {
		t.Errorf("the heap grew from %d to %d bytes", early, late)
	}
}

// soakCaller does what users do. No error but those of a failing source may come.
func soakCaller(ctx context.Context, t *testing.T, c *cache, random *rand.Rand, keys int) {
	allowed := []error{
		nil, errDown, context.Canceled, context.DeadlineExceeded, autorefresh.ErrNotFound, autorefresh.ErrUnavailable,
		autorefresh.ErrFull, autorefresh.ErrStale, autorefresh.ErrPanicked,
	}
	for ctx.Err() == nil {
		key := random.IntN(keys)
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		var err error
		switch random.IntN(8) {
		case 0:
			_, _, err = c.GetOrCreate(key, 0)
		case 1:
			c.Delete(key)
		case 2:
			_, err = c.Load(short, key)
		case 3:
			_, err = c.LoadMulti(short, []int{key, (key + 1) % keys, (key + 2) % keys})
		case 4:
			err = c.Refresh(short, key)
		case 5:
			_, err = c.Wait(short, key, atLeast(2))
		default:
			c.Get(key)
			c.Lookup(key)
		}
		cancel()
		if !slices.ContainsFunc(allowed, func(want error) bool { return errors.Is(err, want) }) {
			t.Errorf("key %d: %v", key, err)
		}
		time.Sleep(time.Duration(random.IntN(1000)) * time.Microsecond)
	}
}

// TestGaps measures the time between two refreshes of an item in real time.
func TestGaps(t *testing.T) {
	needsSoak(t)
	for _, x := range []struct {
		name         string
		items        int
		period, cost time.Duration
		workers      int
		p99, most    float64
	}{
		{"a million items", 1_000_000, 10 * time.Second, 0, 8, 1.05, 1.1},
		{"10 000 items at 1 ms", 10_000, time.Second, time.Millisecond, 32, 1.05, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			last := make([]atomic.Int64, x.items)
			var buckets [3000]atomic.Int64 // thousandths of a period
			begin := time.Now()
			refresh := func(_ context.Context, key, old int) (int, error) {
				now := int64(time.Since(begin))
				if since := now - last[key].Swap(now); since != now {
					buckets[min(since*1000/int64(x.period), 2999)].Add(1)
				}
				if x.cost > 0 {
					time.Sleep(x.cost)
				}
				return old, autorefresh.ErrUnchanged
			}
			c, err := autorefresh.New(refresh, options{Period: x.period, Workers: x.workers})
			if err != nil {
				t.Fatal(err)
			}
			createMany(t, c, x.items)
			time.Sleep(4 * x.period)
			mustClose(t, c)
			var sum, all int64
			for i := range buckets {
				all += buckets[i].Load()
			}
			p99, most := 0.0, 0.0
			for i := range buckets {
				n := buckets[i].Load()
				if n == 0 {
					continue
				}
				if sum += n; sum-n < all*99/100 {
					p99 = float64(i+1) / 1000
				}
				most = float64(i+1) / 1000
			}
			t.Logf("lateness %v on average", c.Stats().Lateness)
			t.Logf("%d gaps: p99 %.3f, max %.3f periods", all, p99, most)
			if p99 > x.p99 || x.most > 0 && most > x.most {
				t.Errorf("gaps of p99 %.3f, max %.3f periods, want %.2f and %.2f", p99, most, x.p99, x.most)
			}
		})
	}
}
