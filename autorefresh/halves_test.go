package autorefresh_test

import (
	"testing"
	"time"
)

// What has just been loaded is fresh: to refresh it at once would take the source's time from those
// who wait for other keys.
func TestWhatHasJustBeenLoadedIsLeftAloneForHalfAPeriod(t *testing.T) {
	const period, items = 20 * time.Second, 500
	s := newSource()
	inBubble(t, options{Period: period}, s.refresh, func(t *testing.T, c *cache) {
		keys := make([]int, items)
		for i := range keys {
			keys[i] = i
		}
		if _, err := c.LoadMulti(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
		settle(3 * period)
		least, most, late := period, time.Duration(0), 0
		for key := range items {
			starts := s.startsOf(key)
			gap := starts[1].Sub(starts[0])
			least, most = min(least, gap), max(most, gap)
			if gap > period*3/4 {
				late++
			}
		}
		if least < period/2 || most > period+20*time.Millisecond {
			t.Errorf("first refreshes %v to %v after the load, want them in the second half of the period", least, most)
		}
		if late < items/3 || late > items*2/3 {
			t.Errorf("%d of %d in the last quarter, want them spread", late, items)
		}
	})
}
