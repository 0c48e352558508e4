package autorefresh_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// batchSource is a source of batches that counts its calls and their keys.
type batchSource struct {
	cost        time.Duration
	calls, keys atomic.Int32
}

func (s *batchSource) refresh(ctx context.Context, items []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
	s.calls.Add(1)
	s.keys.Add(int32(len(items)))
	select {
	case <-time.After(s.cost):
	case <-ctx.Done():
		return ctx.Err()
	}
	for i := range items {
		out[i].Value = items[i].Key + 1
	}
	return nil
}

// newBatches makes a cache of batches of 500 that refreshes nothing for an hour.
func newBatches(t *testing.T, refresh autorefresh.BatchFunc[int, int], limiter autorefresh.RateLimiter) *cache {
	t.Helper()
	c, err := autorefresh.NewBatch(refresh, options{Period: time.Hour, BatchSize: 500, Limiter: limiter, First: autorefresh.FirstAfterPeriod})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// missTogether loads so many keys, one by one, with so much time between them, and returns how long
// that takes longer than the time between them.
func missTogether(t *testing.T, c *cache, loads int, apart time.Duration) time.Duration {
	t.Helper()
	begin := time.Now()
	var callers sync.WaitGroup
	for key := range loads {
		callers.Go(func() {
			if v, err := c.Load(t.Context(), key); err != nil || v != key+1 {
				t.Errorf("Load(%d) = %d, %v, want %d", key, v, err, key+1)
			}
		})
		if apart > 0 {
			time.Sleep(apart)
		}
	}
	callers.Wait()
	return time.Since(begin) - time.Duration(loads)*apart
}

// 5 000 loads that missed at once were 5 000 calls, 16 at a time.
func TestLoadsThatMissTogetherAreGathered(t *testing.T) {
	for _, x := range []struct {
		apart   time.Duration
		limiter autorefresh.RateLimiter
		most    int32
		longest time.Duration
	}{
		{0, nil, 12, 110 * time.Millisecond},
		{0, rate.NewLimiter(100, 1), 12, 250 * time.Millisecond},
		{10 * time.Microsecond, nil, 50, 110 * time.Millisecond},
		// Seven come for each turn of the limiter, and go with it.
		{time.Second / 700, rate.NewLimiter(100, 1), 720, 150 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &batchSource{cost: 50 * time.Millisecond}
			c := newBatches(t, s.refresh, x.limiter)
			defer mustClose(t, c)
			took := missTogether(t, c, 5000, x.apart)
			if n := s.calls.Load(); n > x.most || took > x.longest {
				t.Errorf("%v apart: %d calls, the last load came %v late; want %d and %v at most", x.apart, n, took, x.most, x.longest)
			}
			if n := s.keys.Load(); n != 5000 {
				t.Errorf("%v apart: %d keys asked for, want each once", x.apart, n)
			}
		})
	}
}

// A load alone waits for nobody; one beside others for 2 ms, or for a quarter of what calls take.
func TestGatheringDelaysLoadsByNextToNothing(t *testing.T) {
	for _, x := range []struct{ cost, most time.Duration }{
		{50 * time.Millisecond, 2 * time.Millisecond},
		{400 * time.Microsecond, 100 * time.Microsecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &batchSource{cost: x.cost}
			hang := func(ctx context.Context, items []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
				if items[0].Key == 1 {
					<-ctx.Done()
					return ctx.Err()
				}
				return s.refresh(ctx, items, out)
			}
			c := newBatches(t, hang, nil)
			defer mustClose(t, c)
			for key := range 10 {
				begin := time.Now()
				if _, err := c.Load(t.Context(), 100+key); err != nil || time.Since(begin) > x.cost {
					t.Errorf("Load alone = %v after %v, want it in %v", err, time.Since(begin), x.cost)
				}
			}
			go func() { _, _ = c.Load(t.Context(), 1) }()
			synctest.Wait()
			for key := range 10 {
				begin := time.Now()
				if _, err := c.Load(t.Context(), 200+key); err != nil || time.Since(begin) > x.cost+x.most {
					t.Errorf("Load beside a call that hangs = %v after %v, want it in %v", err, time.Since(begin), x.cost+x.most)
				}
			}
		})
	}
}

// Those of a gathered call that give up before it begins are not asked for, and those who come
// later get an answer of their own.
func TestGatheredLoadsThatAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &batchSource{cost: 50 * time.Millisecond}
		c := newBatches(t, s.refresh, nil)
		defer mustClose(t, c)
		go func() { _, _ = c.Load(t.Context(), 0) }()
		synctest.Wait()
		var callers sync.WaitGroup
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for key := 1; key <= 100; key++ {
			ctx, want := t.Context(), error(nil)
			if key%2 == 0 {
				ctx, want = short, context.DeadlineExceeded
			}
			callers.Go(func() {
				if _, err := c.Load(ctx, key); !errors.Is(err, want) {
					t.Errorf("Load(%d) = %v, want %v", key, err, want)
				}
			})
		}
		callers.Wait()
		if calls, keys := s.calls.Load(), s.keys.Load(); calls != 2 || keys != 51 {
			t.Errorf("%d calls for %d keys, want 2 for 51", calls, keys)
		}
		if v, err := c.Load(t.Context(), 2); err != nil || v != 3 {
			t.Errorf("Load of a key that was given up = %d, %v", v, err)
		}
		if n := c.Stats(); n.Loads != 102 || n.LoadsFailed != 50 {
			t.Errorf("Stats() = %+v, want 102 loads, 50 of them given up", n)
		}
	})
}
