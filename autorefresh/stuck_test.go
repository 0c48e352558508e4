package autorefresh_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

// A source that takes longer than the breaker's TrialTimeout of 5 s, and less than Timeout, was
// never used again after an outage: each trial was taken for failed while it was under way.
func TestSlowSourceIsUsedAgainAfterAnOutage(t *testing.T) {
	for _, c := range []struct {
		takes, trial time.Duration
	}{{4900 * time.Millisecond, 0}, {6 * time.Second, 0}, {29 * time.Second, 0}, {29 * time.Second, time.Second}} {
		s := newSource()
		s.cost = c.takes
		s.setFail(func(int) error { return errDown })
		o := options{Period: 2 * time.Minute, Workers: 20, Breaker: breaker.Options{TrialTimeout: c.trial}}
		inBubble(t, o, s.refresh, func(t *testing.T, cache *cache) {
			createMany(t, cache, 50)
			settle(10 * time.Minute)
			if cache.Stats().Source == breaker.Closed {
				t.Fatal("the source is taken for up, want an outage")
			}
			s.setFail(nil)
			settle(10 * time.Minute)
			if n := cache.Stats(); n.Source != breaker.Closed || n.Failing > 0 {
				t.Errorf("calls take %v, TrialTimeout %v: %+v 10 minutes after the outage, want all well", c.takes, c.trial, n)
			}
			if _, err := cache.Load(t.Context(), 1000); err != nil {
				t.Errorf("calls take %v: Load() = %v", c.takes, err)
			}
		})
	}
}

// hanging is a source that ignores its context for some keys, until it is freed.
type hanging struct {
	hangs func(key int) bool
	freed chan struct{}
	calls atomic.Int32
}

func (h *hanging) refresh(_ context.Context, key, _ int) (int, error) {
	h.calls.Add(1)
	if h.hangs(key) {
		<-h.freed
	}
	return key, nil
}

func newHanging(hangs func(key int) bool) *hanging { return &hanging{hangs: hangs} }

// inBubbleWith is inBubble with a source that hangs.
func inBubbleWith(t *testing.T, o options, h *hanging, test func(t *testing.T, c *cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h.freed = make(chan struct{})
		c, err := autorefresh.New(h.refresh, o)
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		test(t, c)
	})
}

// loadAll begins to load keys from 0 to n-1 with callers who wait as long as it takes, and returns
// their errors.
func loadAll(t *testing.T, c *cache, n int) (errs func() []error) {
	t.Helper()
	var mu sync.Mutex
	var all []error
	for key := range n {
		go func() {
			_, err := c.Load(context.Background(), key)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, err)
		}()
	}
	synctest.Wait()
	return func() []error {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// Sixteen loads that hung blocked every load of the process for ever, and the metrics said 0.
func TestHungLoadsDoNotBlockOthers(t *testing.T) {
	for _, hung := range []int{1, 16, 20, 100} {
		h := newHanging(func(key int) bool { return key < 1000 })
		// The breaker would help, and is not what this is about.
		o := options{Period: time.Hour, Timeout: time.Second, NoBreaker: true, First: autorefresh.FirstAfterPeriod}
		inBubbleWith(t, o, h, func(t *testing.T, c *cache) {
			errs := loadAll(t, c, hung)
			settle(10 * time.Minute)
			if got := errs(); len(got) != hung {
				t.Errorf("%d of %d hung loads have returned", len(got), hung)
			} else if !errors.Is(got[0], autorefresh.ErrStuck) || !errors.Is(got[0], context.DeadlineExceeded) {
				t.Errorf("hung loads: %v, want ErrStuck and DeadlineExceeded", got[0])
			}
			if n := c.Stats(); n.Stuck != hung || n.Overruns != uint64(hung) || n.LoadsFailed != uint64(hung) || n.Calls != hung {
				t.Errorf("Stats() = %+v, want %d stuck calls", n, hung)
			}
			for key := 1000; key < 1020; key++ {
				begin := time.Now()
				if v, err := c.Load(t.Context(), key); v != key || err != nil || time.Since(begin) > 0 {
					t.Fatalf("Load(%d) behind %d hung loads = %d, %v after %v", key, hung, v, err, time.Since(begin))
				}
			}
			// The source is not asked twice for one key at a time, and who asks is told at once.
			calls := h.calls.Load()
			if _, err := c.Load(t.Context(), 0); !errors.Is(err, autorefresh.ErrStuck) || h.calls.Load() != calls {
				t.Errorf("Load of a key whose call is stuck: %v, %d calls", err, h.calls.Load()-calls)
			}
			close(h.freed)
			settle(0)
			wantValue(t, c, 0, 0) // late, and none the worse for it
			if n := c.Stats(); n.Stuck != 0 || n.Calls != 0 || n.LoadsFailed != uint64(hung) {
				t.Errorf("Stats() = %+v, want no stuck calls", n)
			}
			// All places are there again, and no more.
			h.calls.Store(0)
			h.freed = make(chan struct{})
			h.hangs = func(key int) bool { return key >= 2000 }
			for key := 2000; key < 2100; key++ {
				go func() { _, _ = c.Load(context.Background(), key) }()
			}
			settle(0)
			if n := h.calls.Load(); n != 16 {
				t.Errorf("%d calls at once, want MaxLoads, 16", n)
			}
			close(h.freed)
			settle(0)
		})
	}
}

func TestLoadsAreBoundedByTimeout(t *testing.T) {
	for _, c := range []struct {
		load, want time.Duration
	}{{0, 2 * time.Second}, {time.Second, time.Second}, {-1, 0}} {
		limits := make(chan time.Duration, 1)
		refresh := func(ctx context.Context, _, _ int) (int, error) {
			limit := time.Duration(0)
			if at, ok := ctx.Deadline(); ok {
				limit = time.Until(at)
			}
			limits <- limit
			if limit > 0 {
				<-ctx.Done()
			}
			return 1, ctx.Err()
		}
		inBubble(t, options{Period: time.Hour, Timeout: 2 * time.Second, LoadTimeout: c.load}, refresh, func(t *testing.T, cache *cache) {
			_, err := cache.Load(context.Background(), 1)
			if got := <-limits; got != c.want || errors.Is(err, context.DeadlineExceeded) != (c.want > 0) {
				t.Errorf("LoadTimeout %v: a load had %v and ended with %v, want %v", c.load, got, err, c.want)
			}
		})
	}
}

// Nobody told the breaker of calls that do not return.
func TestCallsThatDoNotReturnOpenTheBreaker(t *testing.T) {
	for name, first := range map[string]autorefresh.FirstRefresh{"loads": autorefresh.FirstAfterPeriod, "refreshes": autorefresh.FirstImmediate} {
		h := newHanging(func(int) bool { return true })
		inBubbleWith(t, options{Period: time.Minute, Timeout: time.Second, First: first}, h, func(t *testing.T, c *cache) {
			if name == "loads" {
				loadAll(t, c, 8)
			} else {
				createMany(t, c, 8)
			}
			settle(1200 * time.Millisecond)
			if n := c.Stats(); n.Source == breaker.Closed || n.Stuck == 0 || n.Stuck != n.Calls {
				t.Errorf("%s: Stats() = %+v after 8 calls that do not return", name, n)
			}
			close(h.freed)
			settle(time.Minute)
		})
	}
}

func TestDeletedKeyStaysDeletedThoughItsStuckLoadReturns(t *testing.T) {
	h := newHanging(func(int) bool { return true })
	inBubbleWith(t, options{Period: time.Hour, Timeout: time.Second}, h, func(t *testing.T, c *cache) {
		loadAll(t, c, 1)
		settle(2 * time.Second)
		c.Delete(0)
		close(h.freed)
		settle(0)
		wantMiss(t, c, 0)
	})
}

// Sixteen keys that a dead process had leased kept all other loads waiting, for half a minute.
func TestLoadsThatWaitForLeasesHoldNoPlace(t *testing.T) {
	const leased = 40
	store := leasing{newShared()}
	s := newSource()
	inBubble(t, options{Period: time.Minute, Store: store, MaxLoads: 2}, s.refresh, func(t *testing.T, c *cache) {
		var dead []string
		for key := range leased {
			dead = append(dead, strconv.Itoa(key))
		}
		_, _ = store.Lease(t.Context(), dead, 30*time.Second) // and dies
		errs := loadAll(t, c, leased)
		begin := time.Now()
		if _, err := c.Load(t.Context(), 999); err != nil || time.Since(begin) > 0 {
			t.Errorf("Load of a key that nobody has leased: %v after %v", err, time.Since(begin))
		}
		// Of several keys, those that are not leased do not wait for the others to be answered.
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, err := c.LoadMulti(impatient, []int{1000, 0, 1001})
		if !errors.Is(err, context.DeadlineExceeded) || len(got) != 2 {
			t.Errorf("LoadMulti() = %v, %v, want two values", got, err)
		}
		settle(31 * time.Second)
		if got := errs(); len(got) != leased || errors.Join(got...) != nil {
			t.Errorf("%d of %d loads have returned when the leases have ended: %v", len(got), leased, errors.Join(got...))
		}
		if n := c.Stats(); n.Calls != 0 || n.Items != leased+3 {
			t.Errorf("Stats() = %+v", n)
		}
	})
}

func TestBatchesAreSplitByLeases(t *testing.T) {
	store := leasing{newShared()}
	var mu sync.Mutex
	var sizes []int
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.NewBatch(func(_ context.Context, items []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
			mu.Lock()
			defer mu.Unlock()
			sizes = append(sizes, len(items))
			for i := range items {
				out[i] = autorefresh.Result[int]{Value: items[i].Key}
			}
			return nil
		}, options{Period: time.Minute, Timeout: 10 * time.Second, Store: store, First: autorefresh.FirstAfterPeriod})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		_, _ = store.Lease(t.Context(), []string{"1", "3"}, 5*time.Second)
		_ = store.SetMulti(t.Context(), map[string][]byte{"2": []byte(sealed(time.Now(), "2"))}, time.Minute)
		got, err := c.LoadMulti(t.Context(), []int{0, 1, 2, 3, 4})
		if err != nil || len(got) != 5 {
			t.Errorf("LoadMulti() = %v, %v", got, err)
		}
		if len(sizes) != 2 || sizes[0] != 2 || sizes[1] != 2 {
			t.Errorf("calls of %v keys, want those that are free, and then those that were leased", sizes)
		}
	})
}

func TestLoadGivenUpWhileItWaitsForALease(t *testing.T) {
	store := leasing{newShared()}
	s := newSource()
	inBubble(t, options{Period: time.Minute, Store: store}, s.refresh, func(t *testing.T, c *cache) {
		_, _ = store.Lease(t.Context(), []string{"1"}, 10*time.Second)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Load(impatient, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Load() = %v", err)
		}
		settle(time.Minute)
		if s.count() != 0 {
			t.Errorf("%d calls for a load that nobody waits for", s.count())
		}
		_, _ = store.Lease(t.Context(), []string{"2"}, 10*time.Second)
		errs := make(chan error)
		go func() { _, err := c.Load(context.Background(), 2); errs <- err }()
		settle(time.Second)
		mustClose(t, c)
		if err := <-errs; !errors.Is(err, autorefresh.ErrClosed) {
			t.Errorf("Load() = %v after Close", err)
		}
	})
}
