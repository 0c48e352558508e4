package histogram_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/histogram"
)

func TestQuantilesAreThoseOfTheSortedValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 300).Draw(t, "values")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		var h histogram.Histogram
		for _, v := range values {
			h.Add(time.Duration(v))
		}
		slices.Sort(values)
		truth := time.Duration(values[max(int(math.Ceil(q*float64(len(values))))-1, 0)])
		got := h.Quantile(q)
		if low, high := truth-time.Microsecond, truth+truth/64+time.Microsecond; got < low || got > high {
			t.Errorf("Quantile(%v) of %d values = %v, want %v to %v", q, len(values), got, low, high)
		}
		if last := time.Duration(values[len(values)-1]); h.Max() != last || h.Quantile(1) > last {
			t.Errorf("Max() = %v and Quantile(1) = %v, want %v and no more", h.Max(), h.Quantile(1), last)
		}
		if h.Count() != len(values) {
			t.Errorf("Count() = %d, want %d", h.Count(), len(values))
		}
	})
}

func TestEdges(t *testing.T) {
	var h histogram.Histogram
	if got := h.Quantile(.5); got != 0 {
		t.Errorf("Quantile of nothing = %v, want 0", got)
	}
	h.Add(-time.Second)
	if got := h.Quantile(.5); got != 0 || h.Count() != 1 {
		t.Errorf("after a negative duration: Quantile = %v, Count = %d, want 0 and 1", got, h.Count())
	}
	h.Add(1000 * time.Hour)
	if got := h.Quantile(1); got < time.Hour || h.Max() != 1000*time.Hour {
		t.Errorf("after a huge duration: Quantile(1) = %v, Max = %v, want hours and 1000h", got, h.Max())
	}
}

func TestOverCountsWhatIsLonger(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var h histogram.Histogram
		limit := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "limit"))
		durations := rapid.SliceOf(rapid.Int64Range(0, int64(2*time.Minute))).Draw(t, "durations")
		least, most := 0, 0
		for _, n := range durations {
			d := time.Duration(n)
			h.Add(d)
			if d > limit {
				most++
			}
			if d > limit+limit/64+2*time.Microsecond { // in another bucket for certain
				least++
			}
		}
		if got := h.Over(limit); got < least || got > most {
			t.Fatalf("Over(%v) = %d of %v, want %d to %d", limit, got, durations, least, most)
		}
	})
}
