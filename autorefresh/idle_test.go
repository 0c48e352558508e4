package autorefresh_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

type removal = autorefresh.Removal[int, int]

// removals are those that a cache has told of.
type removals struct {
	mu  sync.Mutex
	all []removal
}

func (r *removals) add(one removal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
}

func (r *removals) take() []removal {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

// Items that nobody reads leave, whatever they are doing, and those that are read stay.
func TestItemsThatNobodyReadsLeave(t *testing.T) {
	const idle = 10 * time.Minute
	for _, x := range []struct {
		name string
		o    options
		most time.Duration
	}{
		{"short periods", options{Period: time.Minute, IdleFor: idle}, idle + 2*time.Minute},
		{"long periods", options{Period: 10 * time.Hour, IdleFor: idle}, 2*idle + time.Minute},
		{"resting", options{Period: time.Minute, HotFor: 2 * time.Minute, IdleFor: idle}, idle + 2*time.Minute},
		{"resting for long", options{Period: time.Minute, HotFor: 20 * time.Minute, IdleFor: idle}, idle + 2*time.Minute},
		{"adaptive", options{Period: time.Minute, MaxPeriod: time.Hour, IdleFor: idle}, 2*idle + time.Minute},
		{"batches", options{Period: time.Minute, IdleFor: idle, MaxStale: time.Hour}, idle + 2*time.Minute},
	} {
		t.Run(x.name, func(t *testing.T) {
			var gone removals
			x.o.OnRemoval = gone.add
			s := newSource()
			refresh := func(ctx context.Context, key, old int) (int, error) {
				v, err := s.refresh(ctx, key, old)
				if key%10 == 9 && err == nil {
					return autorefresh.Terminal(v)
				}
				return v, err
			}
			inBubble(t, x.o, refresh, func(t *testing.T, c *cache) {
				for key := range 100 {
					_, _ = c.Load(t.Context(), key)
				}
				read := func() {
					for key := range 20 {
						if _, ok := c.Get(key); !ok {
							t.Fatalf("Get(%d) misses: it was read all the time", key)
						}
					}
				}
				for range 9 {
					settle(time.Minute)
					read()
				}
				if left := gone.take(); len(left) > 0 {
					t.Errorf("%d items have left after %v", len(left), 9*time.Minute)
				}
				for range (x.most - 9*time.Minute) / time.Minute {
					settle(time.Minute)
					read()
				}
				left := gone.take()
				for _, one := range left {
					if one.Key < 20 || one.Cause != autorefresh.CauseIdle || one.Value == 0 {
						t.Fatalf("removal %+v, want one of an idle item with its value", one)
					}
				}
				if n := c.Stats(); len(left) != 80 || n.Items != 20 || n.Idle != 80 || n.Resting != 0 || n.Terminal != 2 {
					t.Errorf("%d items have left, Stats = %+v; want 80, and 20 are there", len(left), n)
				}
				for range 200 {
					settle(time.Minute)
					read()
				}
				if v, err := c.Load(t.Context(), 50); err != nil || v == 0 {
					t.Errorf("Load of an item that has left = %d, %v", v, err)
				}
			})
		})
	}
}

// To wait for an item is to read it.
func TestAnItemThatIsWaitedForIsNotIdle(t *testing.T) {
	s := newSource()
	inBubble(t, options{Period: time.Hour, IdleFor: time.Minute}, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		if v, err := c.Wait(t.Context(), 1, atLeast(5)); v != 5 || err != nil {
			t.Errorf("Wait = %d, %v, want 5", v, err)
		}
		settle(3 * time.Minute)
		wantMiss(t, c, 1)
	})
}

func TestRemovalsTellTheCause(t *testing.T) {
	var gone removals
	var there sync.Map
	source := func(_ context.Context, key, _ int) (int, error) {
		switch v, ok := there.Load(key); {
		case !ok:
			return 0, autorefresh.ErrNotFound
		case key >= 100:
			return autorefresh.Terminal(key)
		default:
			return v.(int), nil
		}
	}
	o := options{Period: time.Minute, TerminalTTL: time.Hour, NegativeTTL: time.Minute, MaxItems: 10, BatchSize: 1, OnRemoval: func(one removal) {
		gone.add(one)
		if one.Key == 1 {
			panic("boom")
		}
	}}
	inBubble(t, o, source, func(t *testing.T, c *cache) {
		for _, key := range []int{1, 2, 100, 101} {
			there.Store(key, key)
			_, _ = c.Load(t.Context(), key)
		}
		_, _ = c.Load(t.Context(), 99) // a negative entry
		c.Delete(1)
		c.Delete(99)
		there.Delete(2)
		if err := c.Set(t.Context(), 101, 7); err != nil { // takes the place of a final one
			t.Error(err)
		}
		settle(2 * time.Minute)
		want := []removal{{Key: 1, Value: 1, Cause: autorefresh.CauseDeleted}, {Key: 2, Value: 2, Cause: autorefresh.CauseGone}}
		wantRemovals(t, &gone, want...)
		settle(58*time.Minute + 10*time.Second)
		// Set made 101 one that is refreshed, and so final again.
		wantRemovals(t, &gone, removal{Key: 100, Value: 100, Cause: autorefresh.CauseExpired})
		for key := range 30 {
			there.Store(key, key)
			_, _ = c.Load(t.Context(), key)
		}
		if left := gone.take(); len(left) == 0 || left[0].Key != 101 || left[0].Cause != autorefresh.CauseEvicted {
			t.Errorf("removals %+v, want the final item first, as evicted", left)
		} else if n := int(c.Stats().Evicted); n != len(left) {
			t.Errorf("%d removals, and %d items were evicted", len(left), n)
		}
	})
}

func wantRemovals(t *testing.T, r *removals, want ...removal) {
	t.Helper()
	left := r.take()
	if len(left) != len(want) {
		t.Fatalf("removals %+v, want %+v", left, want)
	}
	for i, one := range left {
		if one.At.IsZero() {
			t.Errorf("removal %+v without a time", one)
		}
		if one.At = (time.Time{}); one != want[i] {
			t.Errorf("removal %+v, want %+v", one, want[i])
		}
	}
}

// A callback that is slow costs removals, not memory.
func TestRemovalsAreBounded(t *testing.T) {
	var release chan struct{}
	s := newSource()
	inBubble(t, options{Period: time.Hour, OnRemoval: func(removal) { <-release }}, s.refresh, func(t *testing.T, c *cache) {
		release = make(chan struct{})
		createMany(t, c, 3000)
		for key := range 3000 {
			c.Delete(key)
		}
		if lost := c.Stats().EventsLost; lost < 1900 || lost > 2000 {
			t.Errorf("%d removals were dropped, want all but 1 025", lost)
		}
		close(release)
	})
}

// A value may be good for so short a time that its entry does not wait in the wheel. Resting, it
// leaves all the same.
func TestShortLivedValuesThatRestLeave(t *testing.T) {
	source := func(context.Context, int, int) (int, error) {
		return autorefresh.GoodUntil(1, time.Now().Add(time.Minute))
	}
	o := options{Period: time.Hour, HotFor: 2 * time.Minute, IdleFor: 10 * time.Minute}
	inBubble(t, o, source, func(t *testing.T, c *cache) {
		_, _ = c.Load(t.Context(), 1)
		settle(5 * time.Minute)
		if s := c.Stats(); s.Resting != 1 {
			t.Errorf("%d items rest after 5 minutes, want 1", s.Resting)
		}
		settle(9 * time.Minute)
		if s := c.Stats(); s.Items != 0 || s.Idle != 1 {
			t.Errorf("%d items are there, %d have left, 14 minutes after the last read", s.Items, s.Idle)
		}
	})
}
