package autorefresh_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// traffic is what the source sees of a cache of many items in ten periods.
type traffic struct {
	mu          sync.Mutex
	rows, calls int
	oldest      time.Duration // of the items that are well
	downs       int
}

// play has a cache of 2 000 items, in batches of 100, live for a while, of which those below poison
// fail; besides, every so often, each disturb is called. Then it measures ten periods.
func play(t *testing.T, poison int, every time.Duration, disturb ...func(c *cache, n int)) *traffic {
	t.Helper()
	const period, items = time.Minute, 2000
	l := &traffic{}
	o := options{Period: period, BatchSize: 100, First: autorefresh.FirstImmediate, OnEvent: func(e autorefresh.Event[int]) {
		if e.Kind == autorefresh.SourceDown {
			l.mu.Lock()
			l.downs++
			l.mu.Unlock()
		}
	}}
	source := func(_ context.Context, asked []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
		l.mu.Lock()
		l.calls++
		l.rows += len(asked)
		l.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		for i := range out {
			out[i] = autorefresh.Result[int]{Value: 1}
			if asked[i].Key < poison {
				out[i].Err = errDown
			}
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.NewBatch(source, o)
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		createMany(t, c, items)
		settle(10 * period)
		l.mu.Lock()
		l.rows, l.calls, l.downs = 0, 0, 0
		l.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		var disturbing sync.WaitGroup
		for _, d := range disturb {
			disturbing.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					time.Sleep(every)
					d(c, n)
				}
			})
		}
		for range 40 {
			settle(period / 4)
			for key := poison; key < items; key += 97 {
				e, _ := c.Lookup(key)
				l.oldest = max(l.oldest, time.Since(e.LoadedAt))
			}
		}
		cancel()
		disturbing.Wait()
	})
	return l
}

// Failing, ordered and new items left with a full batch of items that were not due:
// one item in twenty that failed cost ten times the rows.
func TestCallsThatComeEarlyTakeOnlyWhatIsNearlyDue(t *testing.T) {
	well := play(t, 0, time.Second)
	refresh := func(c *cache, n int) { _ = c.Refresh(context.Background(), 1000+n%200) }
	one := func(c *cache, n int) { _, _, _ = c.GetOrCreate(100_000+n, 0) }
	forget := func(c *cache, n int) { c.Delete(100_000 + n - 600) }
	load := func(c *cache, n int) { _, _ = c.Load(context.Background(), 200_000+n%100) }
	for _, x := range []struct {
		name    string
		poison  int
		every   time.Duration
		most    float64
		disturb []func(*cache, int)
	}{
		{"one in a hundred fails", 20, time.Second, 1.1, nil},
		{"one in twenty fails", 100, time.Second, 1.3, nil},
		{"one in five fails", 400, time.Second, 1.3, nil},
		{"ordered", 0, 500 * time.Millisecond, 1.5, []func(*cache, int){refresh}},
		{"ordered, and one in twenty fails", 500, 500 * time.Millisecond, 1.5, []func(*cache, int){refresh}},
		{"new", 0, 500 * time.Millisecond, 1.8, []func(*cache, int){one, forget}},
		{"loaded", 0, 500 * time.Millisecond, 1.5, []func(*cache, int){load}},
		{"all of it", 100, time.Second, 2, []func(*cache, int){refresh, one, forget, load}},
	} {
		t.Run(x.name, func(t *testing.T) {
			l := play(t, x.poison, x.every, x.disturb...)
			more := float64(l.rows) / float64(well.rows)
			if more > x.most {
				t.Errorf("%.2f times the rows, want %.1f times at most", more, x.most)
			}
			if l.oldest > 66*time.Second || l.downs > 0 {
				t.Errorf("an item that is well was %v old, and the source was down %d times; want 66 s at most, and never", l.oldest, l.downs)
			}
			t.Logf("%d calls, %.2f times the rows, oldest %v", l.calls, more, l.oldest)
		})
	}
}

// A cache that begins with keys that always fail takes its source for down; the others must not
// wait until each of them was tried. It was seven minutes for the five hundred here, at best.
func TestBadKeysFirstDoNotKeepTheSourceDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		downs := 0
		o := options{Period: time.Minute, BatchSize: 100, First: autorefresh.FirstImmediate, OnEvent: func(e autorefresh.Event[int]) {
			if e.Kind == autorefresh.SourceDown {
				downs++
			}
		}}
		source := func(_ context.Context, asked []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
			time.Sleep(20 * time.Millisecond)
			for i := range out {
				out[i] = autorefresh.Result[int]{Value: 1}
				if asked[i].Key < 500 {
					out[i].Err = errDown
				}
			}
			return nil
		}
		c, err := autorefresh.NewBatch(source, o)
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		createMany(t, c, 500)
		settle(200 * time.Millisecond)
		for key := 500; key < 2000; key++ {
			create(t, c, key)
		}
		if downs == 0 {
			t.Fatal("the source was not taken for down: this proves nothing")
		}
		settle(90 * time.Second)
		for key := 500; key < 2000; key++ {
			if e, _ := c.Lookup(key); time.Since(e.LoadedAt) > 70*time.Second {
				t.Fatalf("item %d is %v old", key, time.Since(e.LoadedAt))
			}
		}
	})
}

// Keys that fail for reasons of their own refuse nobody else.
func TestBadKeysOpenNoBreaker(t *testing.T) {
	bad := errors.New("400 bad request: id must not be negative")
	refresh := func(_ context.Context, key, _ int) (int, error) {
		if key < 0 {
			return 0, bad
		}
		return key, nil
	}
	for _, x := range []struct {
		name              string
		items, bad, times int // items that are there; bad keys in a row, each so often
		period            time.Duration
	}{
		{"bursts of six", 100, 6, 1, time.Minute},
		{"nothing else but loads", 0, 5, 1, time.Hour},
		{"bursts of thirty", 100, 30, 1, time.Minute},
		{"one key many times", 100, 1, 30, time.Minute},
		{"one in a cache of few", 3, 1, 8, time.Minute},
	} {
		t.Run(x.name, func(t *testing.T) {
			inBubble(t, options{Period: x.period}, refresh, func(t *testing.T, c *cache) {
				for key := range x.items {
					if _, err := c.Load(t.Context(), key); err != nil {
						t.Fatal(err)
					}
				}
				for n := range cut(600, 3) {
					for range x.times {
						for i := range x.bad {
							if _, err := c.Load(t.Context(), -1-100*n-i); !errors.Is(err, bad) {
								t.Fatalf("second %d: Load of a bad key: %v", n, err)
							}
						}
					}
					if _, err := c.Load(t.Context(), 1_000_000+n); err != nil {
						t.Fatalf("second %d: Load of a good key: %v", n, err)
					}
					settle(time.Second)
				}
			})
		})
	}
}

// Items whose own fault it is stay with the cache, and say nothing of the source for as long as one
// item is well.
func TestItemsThatAlwaysFailOpenNoBreaker(t *testing.T) {
	s := newSource()
	s.setFail(func(key int) error {
		if key < 0 {
			return errDown
		}
		return nil
	})
	inBubble(t, options{Period: time.Minute, MaxBackoff: time.Minute, First: autorefresh.FirstAfterPeriod}, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		for key := range 20 {
			create(t, c, -1-key)
			settle(30 * time.Second)
		}
		refused := 0
		for key := range 600 {
			if _, err := c.Load(t.Context(), 100+key%7); errors.Is(err, autorefresh.ErrUnavailable) {
				refused++
			}
			c.Delete(100 + key%7)
			settle(time.Second)
		}
		if refused > 0 {
			t.Errorf("%d of 600 loads were refused", refused)
		}
	})
}

// A source that is down is left alone soon, whatever it is asked for.
func TestSourceThatIsDownIsFoundByNewKeys(t *testing.T) {
	for _, known := range []int{0, 10} {
		s := newSource()
		inBubble(t, options{Period: time.Hour}, s.refresh, func(t *testing.T, c *cache) {
			for key := range known {
				_, _ = c.Load(t.Context(), key)
			}
			s.setFail(func(int) error { return errDown })
			before := s.count()
			for n := range 3000 {
				_, _ = c.Load(t.Context(), 1000+n)
				time.Sleep(10 * time.Millisecond)
			}
			if calls := s.count() - before; calls > 150 {
				t.Errorf("%d calls of a source that is down for 30 s, with %d items that are well, want 150 at most", calls, known)
			}
		})
	}
}
