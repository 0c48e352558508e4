package autorefresh_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

func atLeast(n int) func(int) bool { return func(v int) bool { return v >= n } }

func TestWait(t *testing.T) {
	s := newSource()
	refresh := func(ctx context.Context, key, old int) (int, error) {
		v, err := s.refresh(ctx, key, old)
		switch {
		case key == 2 && v == 3:
			return autorefresh.Terminal(v)
		case key == 3 && v == 3:
			return 0, autorefresh.ErrNotFound
		}
		return v, err
	}
	inBubble(t, options{Period: time.Second, HotFor: 2 * time.Second}, refresh, func(t *testing.T, c *cache) {
		create(t, c, 1, 2, 3, 4, 5)
		begin := time.Now()
		if v, err := c.Wait(t.Context(), 1, atLeast(0)); v != 0 || err != nil || time.Since(begin) > 0 {
			t.Errorf("Wait for what is there = %d, %v", v, err)
		}
		if v, err := c.Wait(t.Context(), 1, atLeast(30)); v != 30 || err != nil {
			t.Errorf("Wait = %d, %v, want 30", v, err)
		}
		if v, err := c.Wait(t.Context(), 2, atLeast(30)); v != 3 || !errors.Is(err, autorefresh.ErrTerminal) {
			t.Errorf("Wait for a terminal item = %d, %v, want 3 and ErrTerminal", v, err)
		}
		if _, err := c.Wait(t.Context(), 9, atLeast(1)); !errors.Is(err, autorefresh.ErrNotFound) {
			t.Errorf("Wait for what is not there: %v, want ErrNotFound", err)
		}
		if _, err := c.Wait(t.Context(), 3, atLeast(30)); !errors.Is(err, autorefresh.ErrNotFound) {
			t.Errorf("Wait for an item that goes: %v, want ErrNotFound", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := c.Wait(ctx, 4, atLeast(1000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait with a deadline: %v, want DeadlineExceeded", err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Wait(t.Context(), 4, atLeast(1000)); !errors.Is(err, autorefresh.ErrNotFound) {
				t.Errorf("Wait for an item that is deleted: %v, want ErrNotFound", err)
			}
		})
		wg.Go(func() {
			if _, err := c.Wait(t.Context(), 5, atLeast(1000)); !errors.Is(err, autorefresh.ErrClosed) {
				t.Errorf("Wait in a cache that is closed: %v, want ErrClosed", err)
			}
		})
		settle(time.Second)
		c.Delete(4)
		settle(time.Second)
		mustClose(t, c)
		wg.Wait()
	})
}

func TestRefresh(t *testing.T) {
	s := newSource()
	s.cost = 100 * time.Millisecond
	o := options{Period: time.Hour, First: autorefresh.FirstAfterPeriod}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1, 2, 3)
		if err := c.Refresh(t.Context(), 1, 2); err != nil {
			t.Errorf("Refresh = %v", err)
		}
		wantValue(t, c, 1, 1)
		wantValue(t, c, 2, 1)
		wantValue(t, c, 3, 0)
		if err := c.Refresh(t.Context()); err != nil || s.count() != 2 {
			t.Errorf("Refresh of nothing = %v, %d calls", err, s.count()-2)
		}

		// A call that begins after the order counts, not one that was under way.
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Refresh(t.Context(), 1) })
		settle(50 * time.Millisecond)
		if err := c.Refresh(t.Context(), 1); err != nil {
			t.Errorf("Refresh = %v", err)
		}
		wantValue(t, c, 1, 3)
		wg.Wait()

		s.setFail(func(key int) error {
			if key == 2 {
				return errDown
			}
			return nil
		})
		err := c.Refresh(t.Context(), 1, 2, 9)
		if !errors.Is(err, errDown) || !errors.Is(err, autorefresh.ErrNotFound) {
			t.Errorf("Refresh = %v, want the failure of 2 and that 9 is not there", err)
		}
		wantValue(t, c, 1, 4)
		wantValue(t, c, 2, 1)

		s.setFail(func(int) error { return errDown })
		for range 10 {
			err = c.Refresh(t.Context(), 1, 2, 3)
		}
		if !errors.Is(err, autorefresh.ErrUnavailable) {
			t.Errorf("Refresh in an outage = %v, want ErrUnavailable", err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	s := newSource()
	s.cost = time.Hour
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.New(s.refresh, options{Period: time.Second, Timeout: 2 * time.Hour, MaxLoads: 1})
		if err != nil {
			t.Fatal(err)
		}
		createMany(t, c, 100)
		var wg sync.WaitGroup
		want := func(err error) {
			if !errors.Is(err, autorefresh.ErrClosed) {
				t.Errorf("error %v after Close, want ErrClosed", err)
			}
		}
		for key := 200; key < 210; key++ {
			wg.Go(func() {
				_, err := c.Load(t.Context(), key)
				want(err)
			})
		}
		wg.Go(func() { want(c.Refresh(t.Context(), 1)) })
		settle(10 * time.Second)
		calls := s.count()
		for range 4 {
			wg.Go(func() { mustClose(t, c) })
		}
		wg.Wait()
		settle(time.Hour)
		if s.count() != calls {
			t.Errorf("%d calls after Close, want none", s.count()-calls)
		}
		_, _, err = c.GetOrCreate(1000, 0)
		want(err)
		_, _, err = c.GetOrCreate(1, 0)
		want(err)
		_, err = c.Load(t.Context(), 1)
		want(err)
		_, err = c.LoadMulti(t.Context(), []int{1, 1000})
		want(err)
		want(c.Refresh(t.Context(), 1))
		_, err = c.Wait(t.Context(), 1, atLeast(1))
		want(err)
		wantValue(t, c, 1, 0)
		if !c.Delete(1) {
			t.Error("Delete(1) = false after Close")
		}
	})
}

func TestEvents(t *testing.T) {
	refresh := func(_ context.Context, key, old int) (int, error) {
		switch key {
		case 1:
			return autorefresh.Terminal(old)
		case 2:
			return 0, autorefresh.ErrNotFound
		case 3:
			return 0, errDown
		}
		return old + 1, nil
	}
	var c *cache
	seen := make(map[string]int)
	o := options{Period: time.Second, NoBreaker: true, OnEvent: func(e autorefresh.Event[int]) {
		c.Stats()
		seen[fmt.Sprint(e.Key, " ", e.Kind)]++
		if (e.Err != nil) != (e.Kind == autorefresh.Failed) || e.At.IsZero() {
			t.Errorf("event %+v", e)
		}
	}}
	synctest.Test(t, func(t *testing.T) {
		var err error
		if c, err = autorefresh.New(refresh, o); err != nil {
			t.Fatal(err)
		}
		create(t, c, 1, 2, 3, 4)
		settle(1500 * time.Millisecond)
		mustClose(t, c)
	})
	for _, want := range []string{"1 final", "2 gone", "3 failed", "4 updated"} {
		if seen[want] == 0 {
			t.Errorf("events %v, want %q", seen, want)
		}
	}
	if len(seen) != 4 {
		t.Errorf("events %v, want 4 different ones", seen)
	}
}

func TestSlowOnEventLosesEventsAndHoldsUpNobody(t *testing.T) {
	s := newSource()
	o := options{Period: time.Second, OnEvent: func(autorefresh.Event[int]) { time.Sleep(10 * time.Second) }}
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.New(s.refresh, o)
		if err != nil {
			t.Fatal(err)
		}
		createMany(t, c, 100)
		settle(time.Minute)
		n := c.Stats()
		if n.EventsLost == 0 || n.Updated < 5900 {
			t.Errorf("Stats() = %+v, want lost events and all refreshes", n)
		}
		_ = c.Close()
		time.Sleep(time.Minute)
	})
}

func TestRefreshEndsWhenAnOutageBegins(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	s.setFail(func(int) error { return errDown })
	o := options{Period: time.Hour, Workers: 1, First: autorefresh.FirstAfterPeriod, Breaker: breaker.Options{ConsecutiveFailures: 1}}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1, 2)
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Refresh(t.Context(), 1) })
		synctest.Wait()
		if err := c.Refresh(t.Context(), 2); !errors.Is(err, autorefresh.ErrUnavailable) || time.Since(begin) > time.Second {
			t.Errorf("Refresh(2) = %v after %v, want ErrUnavailable once the call for 1 has failed", err, time.Since(begin))
		}
		wg.Wait()
	})
}
