package autorefresh_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// trials is how often a race is run: a few thousand times, or a million with HOLDFAST_SOAK=1.
func trials(t *testing.T) int {
	t.Helper()
	if os.Getenv("HOLDFAST_SOAK") == "1" {
		return 1_000_000
	}
	t.Log("short form: set HOLDFAST_SOAK=1 for a million trials")
	return 5000
}

func TestDeletedItemsStayDeleted(t *testing.T) {
	const keys = 4
	n := trials(t)
	var inFlight [keys]atomic.Int32
	var overlaps, calls atomic.Int32
	refresh := func(_ context.Context, key, old int) (int, error) {
		if inFlight[key].Add(1) > 1 {
			overlaps.Add(1)
		}
		calls.Add(1)
		runtime.Gosched()
		inFlight[key].Add(-1)
		return old, nil // what is there now, so that a late result shows
	}
	c, err := autorefresh.New(refresh, options{Period: 10 * time.Millisecond, NoBreaker: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var refreshers, deleters sync.WaitGroup
	for key := range keys {
		refreshers.Go(func() {
			for ctx.Err() == nil {
				if err := c.Refresh(ctx, key); errors.Is(err, autorefresh.ErrNotFound) {
					runtime.Gosched()
				}
			}
		})
		deleters.Go(func() {
			for generation := 1; generation <= n/keys; generation++ {
				if v, created, err := c.GetOrCreate(key, generation); !created || v != generation || err != nil {
					t.Errorf("GetOrCreate(%d, %d) = %d, %v, %v: an item came back", key, generation, v, created, err)
					return
				}
				runtime.Gosched()
				if v, ok := c.Get(key); v != generation || !ok {
					t.Errorf("Get(%d) = %d, %v in generation %d", key, v, ok, generation)
				}
				if !c.Delete(key) {
					t.Errorf("Delete(%d) = false", key)
				}
				if v, ok := c.Get(key); ok {
					t.Errorf("Get(%d) = %d after Delete", key, v)
				}
			}
		})
	}
	deleters.Wait()
	cancel()
	refreshers.Wait()
	mustClose(t, c)
	if overlaps.Load() > 0 || calls.Load() == 0 {
		t.Errorf("%d of %d calls overlapped another for their key, want calls and no overlaps", overlaps.Load(), calls.Load())
	}
	t.Logf("%d trials against %d refreshes", n, calls.Load())
}

func TestDeleteBeatsALoad(t *testing.T) {
	const keys = 4
	n := trials(t)
	var version [keys]atomic.Int64 // what the source has
	load := func(_ context.Context, key, _ int) (int, error) {
		v := version[key].Load()
		runtime.Gosched()
		return int(v), nil
	}
	c, err := autorefresh.New(load, options{Period: time.Hour, NoBreaker: true, First: autorefresh.FirstAfterPeriod})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var loaders, deleters sync.WaitGroup
	for key := range keys {
		loaders.Go(func() {
			for ctx.Err() == nil {
				_, _ = c.Load(ctx, key)
				runtime.Gosched()
			}
		})
		deleters.Go(func() {
			for range n / keys {
				now := version[key].Add(1)
				c.Delete(key)
				if v, ok := c.Get(key); ok && int64(v) < now {
					t.Errorf("Get(%d) = %d after version %d was written and the key deleted", key, v, now)
				}
				if v, err := c.Load(ctx, key); err != nil || int64(v) < now {
					t.Errorf("Load(%d) = %d, %v after version %d was written and the key deleted", key, v, err, now)
				}
			}
		})
	}
	deleters.Wait()
	cancel()
	loaders.Wait()
	mustClose(t, c)
}

func TestGetOrCreateHasOneWinner(t *testing.T) {
	const callers = 8
	n := trials(t)
	c, err := autorefresh.New(func(_ context.Context, _, old int) (int, error) { return old, nil }, options{Period: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, c)
	var winners [callers]int
	values := make([]int, callers)
	for key := range n / callers {
		var created atomic.Int32
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				v, ok, err := c.GetOrCreate(key, i)
				if err != nil {
					t.Error(err)
				}
				values[i] = v
				if ok {
					created.Add(1)
					winners[i]++
				}
			})
		}
		wg.Wait()
		for _, v := range values {
			if v != values[0] {
				t.Fatalf("GetOrCreate(%d) gave %v", key, values)
			}
		}
		if created.Load() != 1 {
			t.Fatalf("GetOrCreate(%d) was won by %d callers", key, created.Load())
		}
		c.Delete(key)
	}
}

func TestGoroutinesAreBounded(t *testing.T) {
	const workers, loads, keys = 8, 16, 2000
	slow := func(_ context.Context, key, _ int) (int, error) {
		time.Sleep(time.Millisecond)
		if key%3 == 0 {
			return 0, errDown
		}
		return key, nil
	}
	before := runtime.NumGoroutine()
	c, err := autorefresh.New(slow, options{Period: 20 * time.Millisecond, Workers: workers, MaxLoads: loads, MaxItems: keys / 2})
	if err != nil {
		t.Fatal(err)
	}
	const callers = 50
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range callers {
		wg.Go(func() {
			for key := i; ; key = (key + 7) % keys {
				select {
				case <-stop:
					return
				default:
				}
				_, _ = c.Load(t.Context(), key) // no deadline: the end of one costs a goroutine of the test
				_, _, _ = c.GetOrCreate(key, key)
				c.Delete(key)
			}
		})
	}
	most := 0
	var last [16]int
	for i, end := 0, time.Now().Add(300*time.Millisecond); time.Now().Before(end); i++ {
		// One that has done its work may not have left yet when the next begins: what counts is
		// what stays for some milliseconds.
		last[i%len(last)] = runtime.NumGoroutine()
		most = max(most, slices.Min(last[:])-before-callers)
		time.Sleep(time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if most > workers+2+loads {
		t.Errorf("%d goroutines under load, want %d at most", most, workers+2+loads)
	}
	mustClose(t, c)
	t.Logf("%d goroutines at most; %d are allowed", most, workers+2+loads)
}
