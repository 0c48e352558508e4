package autorefresh_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// model is what the schedule promises about one item.
type model struct {
	created time.Time
	calls   []time.Time
	fails   int // of the latest calls, in a row
	final   bool
}

// TestScheduleKeepsItsPromises runs random histories of creations, deletions, failures and forced
// refreshes against the rules: nothing is early or late, failures are tried again within their
// bounds, and final and deleted items are left alone.
func TestScheduleKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		period := time.Duration(rapid.Int64Range(int64(2*time.Millisecond), int64(time.Hour)).Draw(r, "period"))
		o := options{
			Period: period, Workers: rapid.IntRange(1, 4).Draw(r, "workers"), NoBreaker: true, MaxBackoff: 4 * period,
			First: autorefresh.FirstRefresh(rapid.IntRange(0, 2).Draw(r, "first")),
		}
		failing := rapid.SliceOfN(rapid.Bool(), 10, 10).Draw(r, "failing")
		steps := rapid.SliceOfN(rapid.IntRange(0, 39), 1, 40).Draw(r, "steps")
		// What rapid draws has to be drawn outside the bubble.
		synctest.Test(t, func(*testing.T) { runModel(r, o, failing, steps) })
	})
}

func runModel(r *rapid.T, o options, failing []bool, steps []int) {
	var mu sync.Mutex
	items := make(map[int]*model)
	refresh := func(_ context.Context, key, old int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		m := items[key]
		if m == nil || m.final {
			r.Errorf("key %d was refreshed although it is final or not there", key)
			return 0, nil
		}
		m.check(r, key, o)
		m.calls = append(m.calls, time.Now())
		switch {
		case failing[key] && len(m.calls)%4 != 0:
			m.fails++
			return 0, errDown
		case old == 5:
			m.final = true
			return autorefresh.Terminal(6)
		}
		m.fails = 0
		return old + 1, nil
	}
	c, err := autorefresh.New(refresh, o)
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, step := range steps {
		key := step % 10
		mu.Lock()
		_, there := items[key]
		switch {
		case step < 20 && !there:
			items[key] = &model{created: time.Now()}
			mu.Unlock()
			if _, created, err := c.GetOrCreate(key, 0); !created || err != nil {
				r.Errorf("GetOrCreate(%d) = %v, %v", key, created, err)
			}
		case step >= 30 && there:
			mu.Unlock()
			if !c.Delete(key) {
				r.Errorf("Delete(%d) = false", key)
			}
			mu.Lock()
			delete(items, key)
			mu.Unlock()
		default:
			mu.Unlock()
			time.Sleep(o.Period * time.Duration(1+key) / 3)
		}
		synctest.Wait()
		mu.Lock()
		for key, m := range items {
			m.overdue(r, key, o)
		}
		mu.Unlock()
	}
	if n := c.Stats(); n.Items != len(items) {
		r.Errorf("%d items, want %d", n.Items, len(items))
	}
}

// slack is how far the schedule may be off for the length of its ticks.
func slack(o options) time.Duration { return max(o.Period/1024, time.Millisecond) + 1 }

// limits tells the least and the most time from the last call, or the creation, to the next call.
func (m *model) limits(o options) (from time.Time, least, most time.Duration) {
	if len(m.calls) == 0 {
		switch o.First {
		case autorefresh.FirstSpread:
			return m.created, 0, o.Period
		case autorefresh.FirstImmediate:
			return m.created, 0, 0
		default:
			return m.created, o.Period * 9 / 10, o.Period
		}
	}
	from = m.calls[len(m.calls)-1]
	if m.fails == 0 {
		return from, o.Period * 9 / 10, o.Period
	}
	return from, 0, min(o.Period<<(m.fails-1), o.MaxBackoff)
}

func (m *model) check(r *rapid.T, key int, o options) {
	from, least, most := m.limits(o)
	if d := time.Since(from); d < least-slack(o) || d > most+slack(o) {
		r.Errorf("key %d: call %d came after %v, want %v to %v", key, len(m.calls), d, least, most)
	}
}

func (m *model) overdue(r *rapid.T, key int, o options) {
	if from, _, most := m.limits(o); !m.final && time.Since(from) > most+slack(o) {
		r.Errorf("key %d: call %d has not come after %v, want it within %v", key, len(m.calls), time.Since(from), most)
	}
}
