package autorefresh_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

type (
	texts       = autorefresh.Cache[string, string]
	textOptions = autorefresh.Options[string, string]
)

// org is a refresh function by which a user shows its organisation, which is another key.
func org(c **texts) autorefresh.RefreshFunc[string, string] {
	return func(ctx context.Context, key, _ string) (string, error) {
		name, isUser := strings.CutPrefix(key, "user:")
		if !isUser {
			return key, nil
		}
		time.Sleep(10 * time.Millisecond)
		found, err := (*c).Load(ctx, "org:"+name)
		return "user of " + found, err
	}
}

func newTexts(t *testing.T, refresh autorefresh.RefreshFunc[string, string], o textOptions) *texts {
	t.Helper()
	c, err := autorefresh.New(refresh, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// loadTexts loads keys at once, each with a caller who waits as long as it takes, and returns what
// has come within a time.
func loadTexts(c *texts, within time.Duration, keys ...string) map[string]error {
	var mu sync.Mutex
	got := make(map[string]error)
	for _, key := range keys {
		go func() {
			_, err := c.Load(context.Background(), key)
			mu.Lock()
			defer mu.Unlock()
			got[key] = err
		}()
	}
	time.Sleep(within)
	synctest.Wait()
	mu.Lock()
	defer mu.Unlock()
	return got
}

func users(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint("user:", i))
	}
	return keys
}

func wantAll(t *testing.T, got map[string]error, n int) {
	t.Helper()
	bad := errors.Join(func() (errs []error) {
		for _, err := range got {
			errs = append(errs, err)
		}
		return errs
	}()...)
	if len(got) != n || bad != nil {
		t.Errorf("%d of %d loads have ended, with %v", len(got), n, bad)
	}
}

// A refresh function that loads another key deadlocked once MaxLoads of them ran at once: all
// places were taken by calls that waited for one.
func TestLoadsWithinLoads(t *testing.T) {
	for _, maxLoads := range []int{1, 2, 16} {
		synctest.Test(t, func(t *testing.T) {
			var c *texts
			c = newTexts(t, org(&c), textOptions{Period: time.Minute, MaxLoads: maxLoads, First: autorefresh.FirstAfterPeriod})
			defer mustClose(t, c)
			wantAll(t, loadTexts(c, 10*time.Second, users(200)...), 200)
			if n := c.Stats(); n.Items != 400 || n.Calls != 0 {
				t.Errorf("MaxLoads %d: Stats() = %+v", maxLoads, n)
			}
		})
	}
}

func TestDeepLoadsWithinLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *cache
		var leaves, most atomic.Int32
		refresh := func(ctx context.Context, key, _ int) (int, error) {
			if key%100 == 0 {
				most.Store(max(most.Load(), leaves.Add(1)))
				defer leaves.Add(-1)
				time.Sleep(time.Millisecond)
				return key, nil
			}
			return c.Load(ctx, key-1)
		}
		c, err := autorefresh.New(refresh, options{Period: time.Minute, MaxLoads: 3, First: autorefresh.FirstAfterPeriod})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if v, err := c.Load(t.Context(), 100*i+30); v != 100*i || err != nil {
					t.Errorf("Load() = %d, %v, want %d", v, err, 100*i)
				}
			})
		}
		wg.Wait()
		if n := most.Load(); n > 3 {
			t.Errorf("%d calls that wait for nobody at once, want MaxLoads, 3", n)
		}
	})
}

func TestBatchesWithinBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *texts
		c, err := autorefresh.NewBatch(func(ctx context.Context, items []autorefresh.Item[string, string], out []autorefresh.Result[string]) error {
			time.Sleep(10 * time.Millisecond)
			var orgs []string
			for i := range items {
				out[i] = autorefresh.Result[string]{Value: items[i].Key}
				if name, isUser := strings.CutPrefix(items[i].Key, "user:"); isUser {
					orgs = append(orgs, "org:"+name)
				}
			}
			found, err := c.LoadMulti(ctx, orgs)
			if len(found) != len(orgs) {
				t.Errorf("%d of %d values, %v", len(found), len(orgs), err)
			}
			return err
		}, textOptions{Period: time.Minute, MaxLoads: 2, BatchSize: 3, First: autorefresh.FirstAfterPeriod})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		got, err := c.LoadMulti(t.Context(), users(30))
		if len(got) != 30 || err != nil {
			t.Errorf("%d of 30 values, %v", len(got), err)
		}
	})
}

// A load of its own key, be it through others, waited for itself for ever.
func TestLoadThatWouldWaitForItself(t *testing.T) {
	for name, next := range map[string]func(string) []string{
		"itself":            func(key string) []string { return []string{key} },
		"in a ring":         func(key string) []string { return map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"a"}}[key] },
		"itself, among all": func(key string) []string { return []string{"x" + key, key} },
	} {
		synctest.Test(t, func(t *testing.T) {
			var c *texts
			c = newTexts(t, func(ctx context.Context, key, _ string) (string, error) {
				if strings.HasPrefix(key, "x") {
					return key, nil
				}
				time.Sleep(10 * time.Millisecond)
				_, err := c.LoadMulti(ctx, next(key))
				return key, err
			}, textOptions{Period: time.Minute, First: autorefresh.FirstAfterPeriod})
			defer mustClose(t, c)
			keys := []string{"a"}
			if name == "in a ring" {
				keys = []string{"a", "b", "c"} // at once: no call is part of another
			}
			got := loadTexts(c, time.Second, keys...)
			cycles := 0
			for _, err := range got {
				if errors.Is(err, autorefresh.ErrCycle) {
					cycles++
				}
			}
			if len(got) != len(keys) || cycles == 0 {
				t.Errorf("%s: loads ended with %v, want all of them, and ErrCycle", name, got)
			}
		})
	}
}

// The same in refreshes, which the background makes.
func TestRefreshThatWouldWaitForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *texts
		var errs []error
		var mu sync.Mutex
		c = newTexts(t, func(ctx context.Context, key, old string) (string, error) {
			if old == "" {
				return "first", nil
			}
			err := c.Refresh(ctx, key)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			return "next", nil
		}, textOptions{Period: time.Minute, First: autorefresh.FirstAfterPeriod})
		defer mustClose(t, c)
		_, _ = c.Load(t.Context(), "a")
		begin := time.Now()
		if err := c.Refresh(t.Context(), "a"); err != nil || time.Since(begin) > 0 {
			t.Errorf("Refresh() = %v after %v", err, time.Since(begin))
		}
		if len(errs) != 1 || !errors.Is(errs[0], autorefresh.ErrCycle) {
			t.Errorf("Refresh() in the refresh of the same item = %v, want ErrCycle", errs)
		}
	})
}

// Two caches of which each loads from the other, with one limiter and one place each.
func TestTwoCachesThatLoadFromEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all, orgs *texts
		o := textOptions{Period: time.Minute, MaxLoads: 1, Limiter: rate.NewLimiter(1000, 1), First: autorefresh.FirstAfterPeriod}
		all = newTexts(t, func(ctx context.Context, key, _ string) (string, error) {
			if name, isUser := strings.CutPrefix(key, "user:"); isUser {
				return orgs.Load(ctx, name)
			}
			return key, nil
		}, o)
		defer mustClose(t, all)
		orgs = newTexts(t, func(ctx context.Context, key, _ string) (string, error) {
			if key == "loop" {
				return all.Load(ctx, "user:loop")
			}
			return all.Load(ctx, "country of "+key)
		}, o)
		defer mustClose(t, orgs)
		wantAll(t, loadTexts(all, 10*time.Second, users(50)...), 50)
		if err := loadTexts(all, time.Second, "user:loop")["user:loop"]; !errors.Is(err, autorefresh.ErrCycle) {
			t.Errorf("Load of what needs itself by way of another cache: %v, want ErrCycle", err)
		}
	})
}

// While the source is on trial one call at a time is let through. The loads within it are part of
// it: refused, they would fail each trial.
func TestTrialMayLoadOtherKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		var c *texts
		load := org(&c)
		c = newTexts(t, func(ctx context.Context, key, old string) (string, error) {
			if down.Load() {
				return "", errDown
			}
			return load(ctx, key, old)
		}, textOptions{Period: time.Minute, First: autorefresh.FirstAfterPeriod})
		defer mustClose(t, c)
		down.Store(true)
		for _, key := range users(10) {
			_, _ = c.Load(t.Context(), key)
		}
		if s := c.Stats().Source; s == breaker.Closed {
			t.Fatalf("the source is %v, want an outage", s)
		}
		down.Store(false)
		time.Sleep(10 * time.Second)
		if v, err := c.Load(t.Context(), "user:1"); err != nil || c.Stats().Source != breaker.Closed {
			t.Errorf("Load() = %q, %v, and the source is %v", v, err, c.Stats().Source)
		}
	})
}

// Without the context of the call nobody can know that a load is within it. LoadTimeout ends the
// wait.
func TestLoadWithinALoadWithoutItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *texts
		c = newTexts(t, func(_ context.Context, key, _ string) (string, error) {
			if name, isUser := strings.CutPrefix(key, "user:"); isUser {
				return c.Load(context.Background(), "org:"+name) //nolint:contextcheck // it is what this is about.
			}
			return key, nil
		}, textOptions{Period: time.Hour, MaxLoads: 2, Timeout: time.Second, NoBreaker: true, First: autorefresh.FirstAfterPeriod})
		defer mustClose(t, c)
		if got := loadTexts(c, time.Minute, users(10)...); len(got) != 10 {
			t.Errorf("%d of 10 loads have ended", len(got))
		}
		wantAll(t, loadTexts(c, time.Minute, users(10)...), 10) // those that were late have come
	})
}
