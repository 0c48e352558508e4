package workload_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

var errBroken = errors.New("broken")

// cache is one that can be told to block or to fail.
type cache struct {
	blocks time.Duration
	fails  atomic.Bool
	muted  atomic.Bool // deletions are lost, without an error

	mu    sync.Mutex
	items map[string][]byte // guarded by mu
}

func (c *cache) call() error {
	time.Sleep(c.blocks)
	if c.fails.Load() {
		return errBroken
	}
	return nil
}

func (c *cache) Get(key string) (*memcache.Item, error) {
	if err := c.call(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	value, ok := c.items[key]
	if !ok {
		return nil, memcache.ErrCacheMiss
	}
	return &memcache.Item{Key: key, Value: value}, nil
}

func (c *cache) Set(item *memcache.Item) error {
	if err := c.call(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items == nil {
		c.items = make(map[string][]byte)
	}
	c.items[item.Key] = item.Value
	return nil
}

func (c *cache) Delete(key string) error {
	if err := c.call(); err != nil || c.muted.Load() {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.items, key)
	return nil
}

const dbCost = 10 * time.Millisecond

// setup is an application with its load, all of it in a bubble.
type setup struct {
	cache    *cache
	app      *workload.App
	load     *workload.Load
	recorder *workload.Recorder
}

func newSetup(t *testing.T, s workload.Shape, workers int) *setup {
	t.Helper()
	keys, owners, err := workload.Keys("run", s.Keys, 1, "x")
	if err != nil {
		t.Fatal(err)
	}
	u := &setup{cache: &cache{}, recorder: workload.NewRecorder(2)}
	u.app = &workload.App{AppOptions: workload.AppOptions{
		Cache: u.cache, Keys: keys[0], Database: workload.NewDatabase(s.Keys, dbCost, 4), Recorder: u.recorder,
		ValueSize: 16, TTL: time.Hour, Patience: time.Second, Grace: time.Second,
	}}
	stored, err := u.app.Fill(t.Context(), owners, 1)
	if err != nil {
		t.Fatal(err)
	}
	u.app.Oracle = workload.NewOracle(owners, 1, stored)
	u.load = workload.NewLoad(u.app, workload.LoadOptions{Shape: s, Workers: workers, Patience: u.app.Patience, Recorder: u.recorder})
	u.load.SetPhase(0)
	return u
}

// empty loses all that is stored.
func (u *setup) empty() {
	u.cache.items = nil
	u.load.Tell(func() { u.app.Oracle.Emptied(0) })
}

// play runs the load for a while and returns the counts.
func (u *setup) play(ctx context.Context, d time.Duration) *workload.Tally {
	stop := make(chan struct{})
	time.AfterFunc(d, func() { close(stop) })
	u.load.Run(ctx, time.Now(), stop)
	var tally workload.Tally
	u.recorder.Phase(0, &tally)
	return &tally
}

func TestReadsGoThroughTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newSetup(t, workload.Shape{Seed: 1, Rate: 100, Keys: 100, Zipf: 1.1}, 4)
		u.empty()
		got := u.play(t.Context(), 10*time.Second)
		if got.Reads < 999 || got.Reads > 1001 || got.Answers() != got.Reads || got.Errors != 0 {
			t.Errorf("%d reads, %d answers, %d errors, want 1000 answered", got.Reads, got.Answers(), got.Errors)
		}
		if got.Misses == 0 || got.Misses > 100+10 || got.Loads != got.Misses || got.Hits+got.Misses != got.Reads {
			t.Errorf("%d misses, %d loads, %d hits; want each key loaded about once", got.Misses, got.Loads, got.Hits)
		}
		if got.Needed == 0 || got.Needed > 100 || got.Needed > got.Loads {
			t.Errorf("%d loads were needed, want one for each key that was read, and not more than the %d made", got.Needed, got.Loads)
		}
		if p50, most := got.Latency.Quantile(.5), got.Latency.Max(); p50 != 0 || most < dbCost || most > 2*dbCost {
			t.Errorf("p50 = %v and max = %v, want 0 and the cost of a load", p50, most)
		}
	})
}

// A closed loop would make 4 reads a second here, find all of them at 1 s, and miss the 76 that had
// to wait.
func TestLatencyCountsFromTheArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newSetup(t, workload.Shape{Seed: 1, Rate: 100, Keys: 100, Zipf: 1.1, Updates: .2}, 4)
		u.cache.blocks = 900 * time.Millisecond
		got := u.play(t.Context(), 10*time.Second)
		if got.Reads < 770 || got.Reads > 830 {
			t.Errorf("%d reads counted, want all 800 that arrived, and no update", got.Reads)
		}
		if given := float64(got.Unanswered) / float64(got.Reads); given < .9 {
			t.Errorf("%.2f of the reads had no answer in time, want more than 0.9: 4 workers manage 4.4 of 80 a second", given)
		}
		if p50 := got.Latency.Quantile(.5); p50 < time.Second {
			t.Errorf("p50 = %v, want the patience at least", p50)
		}
	})
}

func TestOldestTellsHowLongReadsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newSetup(t, workload.Shape{Seed: 1, Rate: 100, Keys: 100, Zipf: 1.1}, 1)
		if got := u.load.Oldest(); got != 0 {
			t.Errorf("Oldest() = %v before anything arrived, want 0", got)
		}
		u.cache.blocks = 500 * time.Millisecond
		oldest := make(chan time.Duration, 1)
		time.AfterFunc(400*time.Millisecond, func() { oldest <- u.load.Oldest() })
		u.play(t.Context(), time.Second)
		if got := <-oldest; got < 380*time.Millisecond || got > 400*time.Millisecond {
			t.Errorf("Oldest() = %v after 400ms of one blocked worker, want about that", got)
		}
	})
}

// They were counted as reads that had failed, though the application had answered them.
func TestErrorsOfTheClientAreNoneOfTheApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newSetup(t, workload.Shape{Seed: 1, Rate: 100, Keys: 100, Zipf: 1.1, Updates: .2}, 4)
		u.cache.fails.Store(true)
		got := u.play(t.Context(), 10*time.Second)
		if got.Errors != 0 || got.CacheErrors != got.Reads || got.Unanswered != 0 || got.Loads != got.Reads {
			t.Errorf("of %d reads %d are errors, %d unanswered, %d loaded; want none, and all loaded", got.Reads, got.Errors, got.Unanswered, got.Loads)
		}
		if got.FailedWrites < 150 || got.FailedWrites > 250 {
			t.Errorf("%d failed writes, want the 200 deletions and no store", got.FailedWrites)
		}
	})
}

func TestOutdatedValuesAreFound(t *testing.T) {
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			u := newSetup(t, workload.Shape{Seed: 1, Rate: 100, Keys: 100, Zipf: 1.1, Updates: .1}, 4)
			u.cache.muted.Store(lost)
			got := u.play(t.Context(), 20*time.Second)
			if found := got.Stale > 0; found != lost {
				t.Errorf("deletions lost: %t; %d of %d reads were stale", lost, got.Stale, got.Reads)
			}
		})
	}
}

func TestAnEndedContextStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newSetup(t, workload.Shape{Seed: 1, Rate: 1000, Keys: 100, Zipf: 1.1}, 1)
		u.cache.blocks = 300 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		u.play(ctx, time.Hour)
		if took := time.Since(start); took > 1300*time.Millisecond {
			t.Errorf("Run returned after %v, want when the call under way had ended", took)
		}
	})
}

func TestTheBudgetBoundsWhatIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newSetup(t, workload.Shape{Seed: 1, Rate: 100, Keys: 100, Zipf: 1.1}, 4)
		u.empty()
		u.app.Budget = new(atomic.Int64)
		u.app.Budget.Store(2000)
		stored, err := u.app.Fill(t.Context(), make([]int, 100), 1)
		if err != nil {
			t.Fatal(err)
		}
		if !stored[0] || stored[99] {
			t.Errorf("stored the most popular key: %t, the least popular: %t; want half of what is allowed, the popular first", stored[0], stored[99])
		}
		u.play(t.Context(), 10*time.Second)
		bytes := 0
		for key, value := range u.cache.items {
			bytes += len(key) + len(value)
		}
		if bytes > 2000 || bytes < 800 {
			t.Errorf("%d bytes stored, want some and at most 2000 with what they cost", bytes)
		}
	})
}

func TestPhasesAndWindowsAreCountedApart(t *testing.T) {
	r := workload.NewRecorder(2)
	r.Read(0, time.Second)
	r.Read(-1, time.Second)
	var window, first, second workload.Tally
	r.Window(&window)
	r.Read(1, time.Second)
	r.Phase(0, &first)
	r.Phase(1, &second)
	if window.Reads != 2 || first.Reads != 1 || second.Reads != 1 {
		t.Errorf("window %d, phases %d and %d reads; want 2, 1, 1", window.Reads, first.Reads, second.Reads)
	}
	if r.Window(&window); window.Reads != 1 {
		t.Errorf("the second window has %d reads, want 1", window.Reads)
	}
}
