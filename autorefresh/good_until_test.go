package autorefresh_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// tokens is a source of tokens, each the time when it ends, in seconds since the bubble began.
type tokens struct {
	life  time.Duration
	began time.Time
	down  atomic.Bool
	calls atomic.Int64
}

func (s *tokens) refresh(context.Context, int, int) (int, error) {
	s.calls.Add(1)
	if s.down.Load() {
		return 0, errDown
	}
	end := time.Now().Add(s.life)
	return autorefresh.GoodUntil(int(end.Sub(s.began)), end)
}

// isGood reports whether a token may still be used.
func (s *tokens) isGood(token int) bool { return time.Now().Before(s.began.Add(time.Duration(token))) }

// A token is refreshed before its end however long the period is, and no reader sees one that has
// ended.
func TestGoodUntilIsRefreshedInTime(t *testing.T) {
	for _, life := range []time.Duration{time.Second, 10 * time.Second, 5 * time.Minute, time.Hour, 100 * time.Hour} {
		for _, o := range []options{
			{Period: 24 * time.Hour}, {Period: 24 * time.Hour, MaxPeriod: 240 * time.Hour}, {Period: time.Hour, First: autorefresh.FirstAfterPeriod},
		} {
			synctest.Test(t, func(t *testing.T) {
				s := &tokens{life: life, began: time.Now()}
				c, err := autorefresh.New(s.refresh, o)
				if err != nil {
					t.Fatal(err)
				}
				defer mustClose(t, c)
				_, _ = c.Load(t.Context(), 1)
				for range 400 {
					settle(life / 20)
					if token, ok := c.Get(1); !ok || !s.isGood(token) {
						t.Fatalf("life %v: Get = %d, %v, %v after the begin", life, token, ok, time.Since(s.began))
					}
				}
				// 20 lives: each is used for three quarters at least.
				if n, most := s.calls.Load(), 20*4/3+2+int64(20*life/o.Period*2); n > most {
					t.Errorf("life %v: %d calls, want at most %d", life, n, most)
				}
			})
		}
	}
}

// A refresh that fails is tried again before the end, several times, and not all the time.
func TestGoodUntilLeavesRoomForARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{life: 10 * time.Minute, began: time.Now()}
		c, err := autorefresh.New(s.refresh, options{Period: 24 * time.Hour, Timeout: 10 * time.Second, NoBreaker: true})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		_, _ = c.Load(t.Context(), 1)
		s.down.Store(true)
		settle(10*time.Minute - time.Millisecond)
		if _, ok := c.Get(1); !ok {
			t.Error("Get misses before the end")
		}
		if n := s.calls.Load(); n < 4 || n > 40 {
			t.Errorf("%d calls before the end, want some tries", n)
		}
		settle(time.Millisecond)
		wantMiss(t, c, 1)
		if e, ok := c.Lookup(1); !ok || !e.Stale || !e.GoodUntil.Equal(s.began.Add(10*time.Minute)) {
			t.Errorf("Lookup = %+v, %v, want a value that has ended", e, ok)
		}
		for range c.All() {
			t.Error("All has a value that has ended")
		}
		s.down.Store(false) // a retry may come at any moment before
		if token, err := c.Load(t.Context(), 1); err != nil || !s.isGood(token) {
			t.Errorf("Load after the end = %d, %v, want a new one", token, err)
		}
	})
}

// Whatever is said of values that are too old: one that has ended is not served, and why is said.
func TestWhatHasEndedIsNotServed(t *testing.T) {
	for _, when := range []autorefresh.StalePolicy{autorefresh.StaleFails, autorefresh.StaleBlocks, autorefresh.StaleServed} {
		synctest.Test(t, func(t *testing.T) {
			s := &tokens{life: time.Minute, began: time.Now()}
			c, err := autorefresh.New(s.refresh, options{Period: time.Hour, MaxStale: 10 * time.Hour, WhenStale: when})
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, c)
			_, _ = c.Load(t.Context(), 1)
			s.down.Store(true)
			settle(time.Minute)
			wantMiss(t, c, 1)
			_, err = c.Load(t.Context(), 1)
			if !errors.Is(err, autorefresh.ErrStale) || !errors.Is(err, errDown) && !errors.Is(err, autorefresh.ErrUnavailable) {
				t.Errorf("Load = %v, want ErrStale and why", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if v, err := c.Wait(ctx, 1, func(int) bool { return true }); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Wait = %d, %v, want it to wait for a new value", v, err)
			}
		})
	}
}

// Another process takes a value with its end, and none that has no room left for a refresh.
func TestGoodUntilHoldsThroughTheSecondLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{life: 10 * time.Minute, began: time.Now()}
		o := options{Period: 24 * time.Hour, Timeout: 10 * time.Second, Store: leasing{newShared()}, StoreTTL: 100 * time.Hour}
		all := replicas(t, 4, o, s.refresh)
		for _, c := range all {
			defer mustClose(t, c)
		}
		a, b, late, later := all[0], all[1], all[2], all[3]
		_, _ = a.Load(t.Context(), 1)
		_, _ = b.Load(t.Context(), 1)
		if n := s.calls.Load(); n != 1 {
			t.Errorf("%d calls, want the token adopted", n)
		}
		for range 200 {
			settle(time.Minute)
			for i, c := range []*cache{a, b} {
				if token, ok := c.Get(1); !ok || !s.isGood(token) {
					t.Fatalf("process %d: Get = %d, %v after %v", i, token, ok, time.Since(s.began))
				}
			}
		}
		if n := s.calls.Load(); n > 30 {
			t.Errorf("%d calls for 20 lives of a token that two processes share, want about 22", n)
		}
		mustClose(t, a)
		mustClose(t, b)
		s.down.Store(true)
		settle(11 * time.Minute)
		if v, err := late.Load(t.Context(), 1); err == nil {
			t.Errorf("Load = %d, want an error: the last token of the others has ended", v)
		}
		s.down.Store(false)
		settle(time.Hour)
		calls := s.calls.Load()
		_, _ = late.Load(t.Context(), 2)
		mustClose(t, late)
		settle(9*time.Minute + 30*time.Second)
		if token, err := later.Load(t.Context(), 2); err != nil || !s.isGood(token) || s.calls.Load() < calls+2 {
			t.Errorf("Load near the end = %d, %v", token, err)
		}
	})
}

func TestGoodUntilOfUnchangedAndFinalValues(t *testing.T) {
	began := time.Now()
	source := func(_ context.Context, key, old int) (int, error) {
		_, until := autorefresh.GoodUntil(0, time.Now().Add(10*time.Second))
		switch {
		case key == 1 && old == 0:
			return 1, until
		case key == 1:
			return 0, errors.Join(autorefresh.ErrUnchanged, until)
		case key == 2:
			return 2, errors.Join(autorefresh.ErrTerminal, until)
		case key == 3:
			return autorefresh.GoodUntil(3, time.Now().Add(-time.Second))
		case key == 4:
			return autorefresh.GoodUntil(4, time.Time{})
		default:
			return autorefresh.GoodUntil(5, began.Add(200*365*24*time.Hour))
		}
	}
	inBubble(t, options{Period: time.Hour, MaxPeriod: 10 * time.Hour}, source, func(t *testing.T, c *cache) {
		for key := range 5 {
			_, _ = c.Load(t.Context(), key+1)
		}
		if _, err := c.Load(t.Context(), 3); !errors.Is(err, autorefresh.ErrStale) {
			t.Errorf("Load of a value that has ended = %v, want ErrStale", err)
		}
		settle(9 * time.Second)
		wantValue(t, c, 2, 2)
		for range 20 {
			settle(time.Second)
			wantValue(t, c, 1, 1)
		}
		wantMiss(t, c, 2)
		wantValue(t, c, 4, 4)
		wantValue(t, c, 5, 5)
		if err := c.Set(t.Context(), 1, 7); err != nil {
			t.Error(err)
		}
		if e, _ := c.Lookup(1); !e.GoodUntil.IsZero() || e.Value != 7 {
			t.Errorf("Lookup after Set = %+v, want a value without an end", e)
		}
		settle(11 * time.Second)
		wantValue(t, c, 1, 7)
		if n := c.Stats().Items; n != 3 {
			t.Errorf("%d items, want 3: the final one has left", n)
		}
	})
}

// A source that has nothing new to say of a value that has ended, as one that answers 304 without a
// new Cache-Control, gives nothing that may be served. It is not asked all the time.
func TestUnchangedAfterTheEndIsAFailure(t *testing.T) {
	var calls atomic.Int64
	source := func(_ context.Context, _, old int) (int, error) {
		if calls.Add(1); old == 0 {
			return autorefresh.GoodUntil(1, time.Now().Add(10*time.Second))
		}
		return 0, autorefresh.ErrUnchanged
	}
	inBubble(t, options{Period: time.Hour, MaxBackoff: time.Minute}, source, func(t *testing.T, c *cache) {
		_, _ = c.Load(t.Context(), 1)
		settle(10 * time.Second)
		before := calls.Load()
		settle(10 * time.Minute)
		if n := calls.Load() - before; n > 1500 {
			t.Errorf("%d calls in 10 minutes for a value that has ended, want a pause between them", n)
		}
		wantMiss(t, c, 1)
		if v, err := c.Load(t.Context(), 1); !errors.Is(err, autorefresh.ErrStale) {
			t.Errorf("Load = %d, %v, want ErrStale: the value ended %v ago", v, err, 10*time.Minute)
		}
	})
}
