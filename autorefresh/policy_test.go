package autorefresh_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

func TestHotForSparesWhatIsNotRead(t *testing.T) {
	const period, periods = 10 * time.Second, 20
	items := cut(3000, 3)
	calls := func(hotFor time.Duration) int {
		s := newSource()
		inBubble(t, options{Period: period, HotFor: hotFor}, s.refresh, func(t *testing.T, c *cache) {
			createMany(t, c, items)
			z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, uint64(items-1))
			for range periods * 10 {
				settle(period / 10)
				for range items / 30 {
					c.Get(int(z.Uint64()))
				}
			}
			if n := c.Stats(); n.Items != items || (n.Resting > 0) != (hotFor > 0) {
				t.Errorf("HotFor %v: Stats() = %+v", hotFor, n)
			}
		})
		return s.count()
	}
	full, hot := calls(0), calls(3*period)
	if hot*2 > full {
		t.Errorf("%d calls with HotFor, %d without; want half at most", hot, full)
	}
	t.Logf("HotFor of 3 periods: %.2f of the calls", float64(hot)/float64(full))
}

func TestReadWakesAnItemThatRests(t *testing.T) {
	s := newSource()
	inBubble(t, options{Period: time.Second, HotFor: 5 * time.Second}, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1, 2)
		for range 60 {
			c.Get(2)
			settle(time.Second)
		}
		n := len(s.startsOf(1))
		if n > 8 || len(s.startsOf(2)) < 60 {
			t.Errorf("%d refreshes of an item not read, %d of one that is; want about 6, and 60 or more", n, len(s.startsOf(2)))
		}
		if e, _ := c.Lookup(1); !e.Resting || e.Value != n {
			t.Errorf("Lookup(1) = %+v, want it resting with %d", e, n)
		}
		c.Get(1) // which may find the new value already
		settle(10 * time.Millisecond)
		wantValue(t, c, 1, n+1)
		settle(3 * time.Second)
		if got := len(s.startsOf(1)); got < n+3 {
			t.Errorf("%d refreshes after the read, want one a second", got-n)
		}
	})
}

func TestAdaptivePeriods(t *testing.T) {
	var changing atomic.Bool
	s := newSource()
	refresh := func(ctx context.Context, key, old int) (int, error) {
		v, err := s.refresh(ctx, key, old)
		if err == nil && !changing.Load() {
			return 0, autorefresh.ErrUnchanged
		}
		return v, err
	}
	gap := func() time.Duration {
		starts := s.startsOf(1)
		return starts[len(starts)-1].Sub(starts[len(starts)-2])
	}
	o := options{Period: 10 * time.Second, MinPeriod: 5 * time.Second, MaxPeriod: time.Minute}
	inBubble(t, o, refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(20 * time.Minute)
		if g := gap(); g < 54*time.Second-time.Second || g > time.Minute {
			t.Errorf("gap of %v for an item that never changes, want 54 s to 60 s", g)
		}
		changing.Store(true)
		settle(2 * time.Minute)
		if g := gap(); g < 4400*time.Millisecond || g > 5*time.Second {
			t.Errorf("gap of %v for an item that changes, want 4.5 s to 5 s", g)
		}
	})
}

// batches records the batches a BatchFunc is given.
type batches struct {
	mu    sync.Mutex
	sizes []int
}

func (b *batches) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sizes)
}

func (b *batches) refresh(_ context.Context, items []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sizes = append(b.sizes, len(items))
	for i, item := range items {
		out[i] = autorefresh.Result[int]{Value: item.Old + 1}
	}
	return nil
}

func TestBatchesAreFull(t *testing.T) {
	const period, periods = 10 * time.Second, 20
	size := cut(500, 5)
	for _, x := range []struct {
		name           string
		items, creates int // creates a second, and as many deletes
	}{{"full batches", 10_000, 0}, {"one not full", 10_100, 0}, {"few", 700, 0}, {"one batch", 300, 0}, {"creates", 20_000, 1000}} {
		x.items, x.creates = cut(x.items, 5), cut(x.creates, 5)
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &batches{}
				c, err := autorefresh.NewBatch(b.refresh, options{Period: period, BatchSize: size})
				if err != nil {
					t.Fatal(err)
				}
				defer mustClose(t, c)
				createMany(t, c, x.items)
				settle(3 * period)
				before := b.count()
				next := x.items
				for range periods * 10 {
					settle(period / 10)
					for range x.creates {
						c.Delete(next - x.items)
						create(t, c, next)
						next++
					}
				}
				settle(0)
				calls := float64(b.count()-before) / periods
				want := float64((x.items + size - 1) / size)
				const edge = 1.0 / periods // one call more may fall into the time that is looked at
				if calls > want*1.08+edge || calls < float64(x.items)/float64(size) {
					t.Errorf("%.2f calls a period, want %.0f, and 8 %% more at most", calls, want)
				}
				t.Logf("%d items, %d creates/s: %.2f calls a period, %.0f are needed", x.items, x.creates, calls, want)
				for key := next - x.items; key < next-x.creates*11; key++ {
					if e, _ := c.Lookup(key); time.Since(e.LoadedAt) > period+20*time.Millisecond {
						t.Fatalf("key %d is %v old", key, time.Since(e.LoadedAt))
					}
				}
			})
		})
	}
}

func TestBatchThatFailsAsAWhole(t *testing.T) {
	var calls atomic.Int32
	fails := func(context.Context, []autorefresh.Item[int, int], []autorefresh.Result[int]) error {
		calls.Add(1)
		return errDown
	}
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.NewBatch(fails, options{Period: time.Second, BatchSize: 50})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		createMany(t, c, 100)
		settle(time.Minute)
		if n := c.Stats(); n.Items != 100 || calls.Load() > 40 {
			t.Errorf("%d items, %d calls, want all items and few calls", n.Items, calls.Load())
		}
	})
}

func TestRejectKeepsWhatIsThere(t *testing.T) {
	s := newSource()
	inBubble(t, options{Period: time.Second, MaxItems: 10, Overflow: autorefresh.Reject}, s.refresh, func(t *testing.T, c *cache) {
		createMany(t, c, 10)
		if _, _, err := c.GetOrCreate(10, 0); !errors.Is(err, autorefresh.ErrFull) {
			t.Errorf("GetOrCreate of item 11: %v, want ErrFull", err)
		}
		if v, err := c.Load(t.Context(), 11); err != nil || v != 1 {
			t.Errorf("Load(11) = %d, %v, want it loaded", v, err)
		}
		wantMiss(t, c, 11)
		settle(5 * time.Second)
		for key := range 10 {
			if _, ok := c.Get(key); !ok {
				t.Errorf("Get(%d) misses", key)
			}
		}
		c.Delete(3)
		create(t, c, 10)
	})
}

func TestEvictTakesTerminalItemsFirst(t *testing.T) {
	refresh := func(_ context.Context, key, old int) (int, error) {
		if key < 50 {
			return autorefresh.Terminal(1)
		}
		return old + 1, nil
	}
	inBubble(t, options{Period: time.Second, MaxItems: 100}, refresh, func(t *testing.T, c *cache) {
		createMany(t, c, 100)
		settle(3 * time.Second)
		for key := 100; key < 150; key++ {
			create(t, c, key)
		}
		for key := 50; key < 150; key++ {
			if _, ok := c.Get(key); !ok {
				t.Errorf("Get(%d) misses: evicted although terminal items were there", key)
			}
		}
		if n := c.Stats(); n.Items != 100 || n.Terminal != 0 || n.Evicted != 50 {
			t.Errorf("Stats() = %+v, want 50 evicted", n)
		}
		for key := 150; key < 1150; key++ {
			_, _, _ = c.GetOrCreate(key, 0)
			if n := c.Stats(); n.Items > 100 {
				t.Fatalf("Stats() = %+v, want 100 items at most", n)
			}
		}
		settle(2 * time.Second)
		if n := c.Stats(); n.Items != 100 || n.Evicted != 1050 {
			t.Errorf("Stats() = %+v, want 100 items", n)
		}
	})
}

func TestLimiterBoundsCallsOfTheSource(t *testing.T) {
	s := newSource()
	o := options{Period: time.Second, Limiter: autorefresh.NewRateLimiter("test", 20, 1)}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		createMany(t, c, 1000)
		settle(100 * time.Second)
		if n := s.count(); n < 1980 || n > 2002 {
			t.Errorf("%d calls in 100 s, want 20 a second", n)
		}
	})
}

func TestNoWindowHasMuchMoreCallsThanOthers(t *testing.T) {
	s := newSource()
	inBubble(t, options{Period: time.Second, Workers: 32}, s.refresh, func(t *testing.T, c *cache) {
		items := cut(10_000, 2)
		createMany(t, c, items)
		settle(3 * time.Second)
		peak, last := 0, s.count()
		for range cut(100, 2) {
			settle(100 * time.Millisecond)
			peak, last = max(peak, s.count()-last), s.count()
		}
		ratio := float64(peak) / float64(items/10)
		if ratio > 1.3 {
			t.Errorf("%d calls in the worst 100 ms, %.2f times the even rate, want 1.3 times at most", peak, ratio)
		}
		t.Logf("worst 100 ms: %.2f times the even rate", ratio)
	})
}
