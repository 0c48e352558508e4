package autorefresh_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// Mocks of callers must satisfy the interfaces as the original has them.
type (
	mockCache   struct{}
	mockLimiter struct{}
)

func (mockCache) Start(context.Context)            {}
func (mockCache) Get(string) autorefresh.CacheItem { return nil }
func (mockLimiter) Wait(context.Context) error     { return nil }
func (mockCache) GetOrCreate(i autorefresh.CacheItem) (autorefresh.CacheItem, error) {
	return i, nil
}

var (
	_ autorefresh.AutoRefreshCache = mockCache{}
	_ autorefresh.RateLimiter      = mockLimiter{}
	_ autorefresh.RateLimiter      = (*rate.Limiter)(nil)
	_ autorefresh.AutoRefreshCache = (*autorefresh.ItemCache)(nil)
)

type counted struct {
	id string
	n  int
}

func (c *counted) ID() string { return c.id }

// withItems runs a test with a started cache of items under virtual time.
func withItems(t *testing.T, sync autorefresh.CacheSyncItem, test func(t *testing.T, c *autorefresh.ItemCache, cancel func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := autorefresh.NewAutoRefreshCache(sync, nil, time.Second).(*autorefresh.ItemCache)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c.Start(ctx)
		test(t, c, cancel)
	})
}

func TestItemResults(t *testing.T) {
	sync := func(_ context.Context, obj autorefresh.CacheItem) (autorefresh.CacheItem, error) {
		old := obj.(*counted)
		switch old.id {
		case "nil":
			return nil, nil
		case "typed nil":
			return (*counted)(nil), nil
		case "nil, error":
			return nil, autorefresh.ErrNotFound // means nothing special here
		case "typed nil, error":
			return (*counted)(nil), errDown
		case "item, error":
			return &counted{old.id, old.n + 1}, autorefresh.ErrNotFound
		case "other":
			return &counted{"item", 1000}, nil
		case "panic":
			panic("callback")
		}
		return &counted{old.id, old.n + 1}, nil
	}
	withItems(t, sync, func(t *testing.T, c *autorefresh.ItemCache, _ func()) {
		ids := []string{"item", "nil", "typed nil", "nil, error", "typed nil, error", "item, error", "other", "panic"}
		for _, id := range ids {
			if got, err := c.GetOrCreate(&counted{id, 7}); err != nil || got.(*counted).n != 7 {
				t.Fatalf("GetOrCreate(%q) = %v, %v", id, got, err)
			}
		}
		settle(3 * time.Second)
		for _, id := range []string{"nil", "typed nil"} {
			if got := c.Get(id); got != nil {
				t.Errorf("Get(%q) = %v, want it deleted", id, got)
			}
		}
		for _, id := range []string{"nil, error", "typed nil, error", "other", "panic"} {
			if got := c.Get(id); got == nil || got.(*counted).n != 7 {
				t.Errorf("Get(%q) = %v, want it kept as it was", id, got)
			}
		}
		if got := c.Get("item, error"); got == nil || got.(*counted).n <= 7 {
			t.Errorf("Get(item, error) = %v, want it stored", got)
		}
		if got := c.Get("item").(*counted).n; got < 9 || got > 12 {
			t.Errorf("Get(item) = %d, want one more each second from 7 on", got)
		}
		if n := c.Stats(); n.Failing != 5 || n.Items != 6 {
			t.Errorf("Stats() = %+v, want 5 items failing of 6", n)
		}
	})
}

func TestItemCallbacksAreSerial(t *testing.T) {
	var running, most, calls atomic.Int32
	sync := func(context.Context, autorefresh.CacheItem) (autorefresh.CacheItem, error) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		calls.Add(1)
		time.Sleep(time.Minute) // overruns every timeout
		return nil, errDown
	}
	withItems(t, sync, func(t *testing.T, c *autorefresh.ItemCache, cancel func()) {
		for i := range 10 {
			_, _ = c.GetOrCreate(&counted{id: fmt.Sprint(i)})
		}
		settle(20 * time.Minute)
		if most.Load() != 1 || calls.Load() < 4 {
			t.Errorf("%d callbacks at once, %d in all; want 1 at once", most.Load(), calls.Load())
		}
		cancel()
		settle(time.Minute)
	})
}

func TestItemCancelStopsAtOnce(t *testing.T) {
	var calls atomic.Int32
	sync := func(_ context.Context, obj autorefresh.CacheItem) (autorefresh.CacheItem, error) {
		calls.Add(1)
		return obj, nil
	}
	withItems(t, sync, func(t *testing.T, c *autorefresh.ItemCache, cancel func()) {
		for i := range 1000 {
			_, _ = c.GetOrCreate(&counted{id: fmt.Sprint(i)})
		}
		settle(3 * time.Second)
		c.Start(context.Background())
		cancel()
		at := calls.Load()
		if at < 2000 {
			t.Fatalf("%d callbacks in 3 s, want 2 000 or more", at)
		}
		settle(time.Minute)
		if n := calls.Load(); n != at {
			t.Errorf("%d callbacks after the context was cancelled, want none", n-at)
		}
		if c.Get("7") == nil {
			t.Error("Get(7) = nil after the context was cancelled, want the item")
		}
	})
}

func TestItemStartTwiceIsOneLoop(t *testing.T) {
	var calls atomic.Int32
	sync := func(_ context.Context, obj autorefresh.CacheItem) (autorefresh.CacheItem, error) {
		calls.Add(1)
		return obj, nil
	}
	withItems(t, sync, func(t *testing.T, c *autorefresh.ItemCache, _ func()) {
		c.Start(t.Context())
		_, _ = c.GetOrCreate(&counted{id: "a"})
		settle(100 * time.Second)
		if n := calls.Load(); n < 100 || n > 112 {
			t.Errorf("%d callbacks in 100 periods, want 100 to 112", n)
		}
	})
}

func TestItemsMadeBeforeStartAreSpread(t *testing.T) {
	var calls atomic.Int32
	sync := func(_ context.Context, obj autorefresh.CacheItem) (autorefresh.CacheItem, error) {
		calls.Add(1)
		return obj, nil
	}
	synctest.Test(t, func(t *testing.T) {
		c := autorefresh.NewAutoRefreshCache(sync, (*rate.Limiter)(nil), time.Second).(*autorefresh.ItemCache)
		for i := range 1000 {
			_, _ = c.GetOrCreate(&counted{id: fmt.Sprint(i)})
		}
		settle(time.Hour)
		if n := calls.Load(); n != 0 {
			t.Errorf("%d callbacks before Start", n)
		}
		c.Start(t.Context())
		settle(100 * time.Millisecond)
		if n := calls.Load(); n < 50 || n > 150 {
			t.Errorf("%d callbacks in the first tenth of a period, want about 100", n)
		}
		mustClose(t, c)
		if _, err := c.GetOrCreate(&counted{id: "new"}); !errors.Is(err, autorefresh.ErrClosed) {
			t.Errorf("GetOrCreate after Close: %v, want ErrClosed", err)
		}
	})
}

func TestItemDelete(t *testing.T) {
	sync := func(_ context.Context, obj autorefresh.CacheItem) (autorefresh.CacheItem, error) { return obj, nil }
	c := autorefresh.NewAutoRefreshCache(sync, nil, time.Second).(*autorefresh.ItemCache)
	_, _ = c.GetOrCreate(&counted{id: "a"})
	if !c.Delete("a") || c.Get("a") != nil || c.Delete("a") {
		t.Error("Delete(a) left the item, or found it twice")
	}
	if _, err := c.GetOrCreate((*counted)(nil)); err == nil {
		t.Error("GetOrCreate(nil): want an error")
	}
	mustClose(t, c)
	mustClose(t, c)
}

func TestItemConstructorsPanicOnBadInput(t *testing.T) {
	sync := func(_ context.Context, obj autorefresh.CacheItem) (autorefresh.CacheItem, error) { return obj, nil }
	for want, call := range map[string]func(){
		"Options.Period is 0s":                  func() { autorefresh.NewAutoRefreshCache(sync, nil, 0) },
		"Options.Period is -1s: set a positive": func() { autorefresh.NewAutoRefreshCache(sync, nil, -time.Second) },
		"refresh function is nil":               func() { autorefresh.NewAutoRefreshCache(nil, nil, time.Second) },
		"is NaN":                                func() { autorefresh.NewRateLimiter("jobs", math.NaN(), 1) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "autorefresh: ") || !strings.Contains(text, want) {
					t.Errorf("panic %q, want one with %q", text, want)
				}
			}()
			call()
		}()
	}
}

func TestItemLimiter(t *testing.T) {
	var calls atomic.Int32
	sync := func(_ context.Context, obj autorefresh.CacheItem) (autorefresh.CacheItem, error) {
		calls.Add(1)
		return obj, nil
	}
	synctest.Test(t, func(t *testing.T) {
		c := autorefresh.NewAutoRefreshCache(sync, autorefresh.NewRateLimiter("jobs", 10, 1), time.Second)
		for i := range 1000 {
			_, _ = c.GetOrCreate(&counted{id: fmt.Sprint(i)})
		}
		ctx, cancel := context.WithCancel(t.Context())
		c.Start(ctx)
		settle(time.Minute)
		if n := calls.Load(); n < 590 || n > 602 {
			t.Errorf("%d callbacks in a minute, want 10 a second", n)
		}
		cancel()
	})
}
