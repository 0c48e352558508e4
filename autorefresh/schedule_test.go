package autorefresh_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

func TestEveryItemIsRefreshedOnceAPeriod(t *testing.T) {
	s := newSource()
	inBubble(t, options{Period: 10 * time.Second}, s.refresh, func(t *testing.T, c *cache) {
		createMany(t, c, 500)
		settle(5 * time.Minute)
		least, most := s.gaps()
		if least < 9*time.Second-20*time.Millisecond || most > 10*time.Second {
			t.Errorf("gaps from %v to %v, want 9 s to 10 s", least, most)
		}
		for key := range 500 {
			if first := s.startsOf(key)[0].Sub(s.startsOf(key)[1]); first > 0 {
				t.Errorf("key %d: out of order", key)
			}
			wantValue(t, c, key, len(s.startsOf(key)))
		}
		if n := c.Stats().Updated; int(n) != s.count() {
			t.Errorf("Stats().Updated = %d, want %d", n, s.count())
		}
	})
}

func TestFirstRefresh(t *testing.T) {
	for _, x := range []struct {
		first       autorefresh.FirstRefresh
		least, most time.Duration
	}{
		{autorefresh.FirstSpread, 0, 10 * time.Second},
		{autorefresh.FirstImmediate, 0, 20 * time.Millisecond},
		{autorefresh.FirstAfterPeriod, 9 * time.Second, 10 * time.Second},
	} {
		s := newSource()
		inBubble(t, options{Period: 10 * time.Second, First: x.first}, s.refresh, func(t *testing.T, c *cache) {
			begin := time.Now()
			createMany(t, c, 1000)
			settle(10 * time.Second)
			least, most := time.Hour, time.Duration(0)
			for key := range 1000 {
				after := s.startsOf(key)[0].Sub(begin)
				least, most = min(least, after), max(most, after)
			}
			if least < x.least-20*time.Millisecond || most > x.most {
				t.Errorf("First %d: first refreshes from %v to %v, want %v to %v", x.first, least, most, x.least, x.most)
			}
			if x.first == autorefresh.FirstSpread && (least > time.Second || most < 8*time.Second || most > 9*time.Second) {
				t.Errorf("first refreshes from %v to %v, want them spread over nine tenths of the period", least, most)
			}
		})
	}
}

func TestFailuresKeepTheValueAndBackOff(t *testing.T) {
	s := newSource()
	o := options{Period: time.Second, MaxBackoff: 20 * time.Second, NoBreaker: true}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(5 * time.Second)
		good := len(s.startsOf(1))
		s.setFail(func(int) error { return errDown })
		settle(10 * time.Minute)
		wantValue(t, c, 1, good)
		calls := len(s.startsOf(1)) - good
		if calls < 30 || calls > 130 {
			t.Errorf("%d calls of a failing item in 10 minutes, want about 60", calls)
		}
		if n := c.Stats().Failing; n != 1 {
			t.Errorf("Stats().Failing = %d, want 1", n)
		}
		s.setFail(nil)
		settle(21 * time.Second)
		if v, _ := c.Get(1); v <= good {
			t.Errorf("Get(1) = %d after the failures, want more than %d", v, good)
		}
		if n := c.Stats().Failing; n != 0 {
			t.Errorf("Stats().Failing = %d, want 0", n)
		}
	})
}

func TestOutcomes(t *testing.T) {
	answer := func(_ context.Context, key, old int) (int, error) {
		switch key {
		case 1:
			return old + 1, nil
		case 2:
			return 99, autorefresh.ErrUnchanged
		case 3:
			return autorefresh.Terminal(33)
		case 4:
			return 99, errors.Join(errDown, autorefresh.ErrNotFound)
		case 5:
			panic("five")
		}
		return 99, errDown
	}
	inBubble(t, options{Period: time.Second, NoBreaker: true, TerminalTTL: time.Minute}, answer, func(t *testing.T, c *cache) {
		create(t, c, 1, 2, 3, 4, 5, 6)
		settle(2 * time.Second)
		if v, _ := c.Get(1); v < 1 {
			t.Errorf("Get(1) = %d, want it updated", v)
		}
		wantValue(t, c, 2, 0)
		wantValue(t, c, 3, 33)
		wantMiss(t, c, 4)
		wantValue(t, c, 5, 0)
		wantValue(t, c, 6, 0)
		if e, ok := c.Lookup(3); !ok || !e.Terminal {
			t.Errorf("Lookup(3) = %+v, %v, want it terminal", e, ok)
		}
		n := c.Stats()
		if n.Final != 1 || n.Gone != 1 || n.Unchanged == 0 || n.Failed == 0 || n.Items != 5 || n.Terminal != 1 || n.Failing != 2 {
			t.Errorf("Stats() = %+v", n)
		}
		settle(2 * time.Minute)
		wantMiss(t, c, 3)
		if n := c.Stats(); n.Final != 1 || n.Terminal != 0 || n.Items != 4 {
			t.Errorf("Stats() = %+v after TerminalTTL", n)
		}
	})
}
