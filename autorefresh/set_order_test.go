package autorefresh_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// tardy is a store whose first writes take long before they are done.
type tardy struct {
	*shared
	waits []time.Duration // of the writes, one after the other
	n     atomic.Int32
}

func (s *tardy) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	if n := int(s.n.Add(1)) - 1; n < len(s.waits) {
		time.Sleep(s.waits[n])
	}
	return s.shared.SetMulti(ctx, values, ttl)
}

func TestRefreshDoesNotTakeSetForAnAnswerOfTheSource(t *testing.T) {
	s := newSource()
	s.cost = time.Minute
	o := options{Period: time.Hour, First: autorefresh.FirstImmediate, Timeout: 2 * time.Minute}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(10 * time.Second) // more than a tick: the first call has begun
		var refresh sync.WaitGroup
		refresh.Go(func() {
			if err := c.Refresh(t.Context(), 1); err != nil {
				t.Errorf("Refresh = %v", err)
			}
			wantValue(t, c, 1, 2)
		})
		settle(100 * time.Millisecond)
		set(t, c, 1, 100)
		refresh.Wait()
	})
}

func TestSetIsNoSignThatAnItemHardlyChanges(t *testing.T) {
	s := newSource()
	s.cost = 10 * time.Second
	o := options{Period: time.Minute, MaxPeriod: time.Hour, First: autorefresh.FirstImmediate}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(5 * time.Second)
		set(t, c, 1, 100)
		settle(80 * time.Second)
		wantValue(t, c, 1, 2)
	})
}

// Of two values that are set one after the other the second level keeps the second, also if the
// first takes longer to get there.
func TestTheSecondLevelKeepsWhatWasSetLast(t *testing.T) {
	for name, waits := range map[string][]time.Duration{
		"first is slow to begin": {400 * time.Millisecond},
		"first is slow to end":   {0, 400 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &tardy{shared: newShared(), waits: waits}
				s := newSource()
				all := replicas(t, 2, options{Period: time.Hour, Store: store, StoreTimeout: time.Second}, s.refresh)
				defer mustClose(t, all[0])
				defer mustClose(t, all[1])
				var first sync.WaitGroup
				first.Go(func() { set(t, all[0], 1, 100) })
				settle(100 * time.Millisecond)
				set(t, all[0], 1, 200)
				first.Wait()
				wantValue(t, all[0], 1, 200)
				if v, err := all[1].Load(t.Context(), 1); v != 200 || err != nil {
					t.Errorf("Load of another process = %d, %v, want what was set last", v, err)
				}
			})
		})
	}
}

// A deletion that begins while a value is on its way to the second level comes after it.
func TestTheSecondLevelDeletesWhatIsBeingSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &tardy{shared: newShared(), waits: []time.Duration{0, 400 * time.Millisecond}}
		s := newSource()
		all := replicas(t, 2, options{Period: time.Hour, Store: store, StoreTimeout: time.Second}, s.refresh)
		defer mustClose(t, all[0])
		defer mustClose(t, all[1])
		var first sync.WaitGroup
		first.Go(func() { set(t, all[0], 1, 100) })
		settle(100 * time.Millisecond)
		if _, err := all[0].DeleteContext(t.Context(), 1); err != nil {
			t.Errorf("DeleteContext = %v", err)
		}
		first.Wait()
		if v, err := all[1].Load(t.Context(), 1); v != 1 || err != nil {
			t.Errorf("Load of another process = %d, %v, want the source's first value", v, err)
		}
	})
}

// A deletion that could not be told stays owed when a value has been told that was set before it.
func TestADeletionIsOwedAlthoughSetHasBeenTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &tardy{shared: newShared(), waits: []time.Duration{0, 400 * time.Millisecond}}
		s := newSource()
		all := replicas(t, 2, options{Period: time.Hour, Store: store, StoreTimeout: time.Second}, s.refresh)
		defer mustClose(t, all[0])
		defer mustClose(t, all[1])
		var first sync.WaitGroup
		first.Go(func() { set(t, all[0], 1, 100) })
		settle(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := all[0].DeleteContext(ctx, 1); err == nil {
			t.Error("DeleteContext = nil although the second level was busy with what was set")
		}
		first.Wait()
		if v, err := all[0].Load(t.Context(), 1); v != 1 || err != nil {
			t.Errorf("Load = %d, %v, want the source's first value", v, err)
		}
	})
}
