package main

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	ten := durations{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, c := range []struct {
		of    durations
		share float64
		want  time.Duration
	}{
		{nil, .5, 0},
		{durations{7}, .99, 7},
		{ten, 0, 1},
		{ten, .5, 6},
		{ten, .99, 10},
		{ten, 1, 10},
	} {
		if got := c.of.quantile(c.share); got != c.want {
			t.Errorf("quantile(%v) of %v = %d, want %d", c.share, c.of, got, c.want)
		}
	}
}

func TestMedianLeavesItsArgumentAlone(t *testing.T) {
	values := []int{5, 1, 9}
	if got := median(values); got != 5 || values[0] != 5 {
		t.Errorf("median = %d, values now %v, want 5 and no change", got, values)
	}
	if got := median([]float64(nil)); got != 0 {
		t.Errorf("median of none = %v, want 0", got)
	}
}

func TestMiddleAddsErrorsUp(t *testing.T) {
	all := []Result{{PerSecond: 3, P99: 1, Errors: 1}, {PerSecond: 1, P99: 3}, {PerSecond: 2, P99: 2, Errors: 4}}
	if got, want := middle(all), (Result{PerSecond: 2, P99: 2, Errors: 5}); got != want {
		t.Errorf("middle = %+v, want %+v", got, want)
	}
}

func TestRows(t *testing.T) {
	gaps := func(open bool, all ...time.Duration) []verdict {
		return collect(all, func(d time.Duration) verdict { return verdict{gap: d, open: open} })
	}
	for _, c := range []struct {
		name      string
		row       row
		of        []verdict
		want, met string
	}{
		{"count", lostRow("T1", "0"), []verdict{{lost: losses{1, 2, 3}}, {lost: losses{after: 1}}}, "7", "NO"},
		{"count of nothing", lostRow("T1", "0"), []verdict{{}, {}}, "0", "yes"},
		{"count without a target", lostRow("", ""), []verdict{{lost: losses{1, 2, 3}}}, "6", ""},
		{"time", gapRow("T2", longestGap), gaps(false, longestGap, time.Millisecond, 2*time.Millisecond), "2 ms / 200 ms", "yes"},
		{"worst time over the limit", gapRow("T2", longestGap), gaps(false, 201*time.Millisecond, 1, 1), "1 ns / 201 ms", "NO"},
		{"gap that did not end", gapRow("T2", longestGap), gaps(true, time.Millisecond), "1 ms and on", "NO"},
		{"never", timeRow("T3", "", afterEvent, afterPromotion), []verdict{{afterPromotion: never}}, "never", "NO"},
		{"nobody took part", lostRow("T1", "0"), nil, "-", ""},
		{"switches unknown", switchesRow("T15"), []verdict{{switches: -1}}, "?", "NO"},
		{"errors", errorRow(), []verdict{{errors: map[string]int{"EOF": 2}}, {errors: map[string]int{"EOF": 1, "READONLY": 5}}}, "5 READONLY, 3 EOF", ""},
		{"dial rate", dialRateRow(), []verdict{{dialsWhileDown: 1, downtime: time.Second}, {dialsWhileDown: 5, downtime: 2 * time.Second}}, "2", ""},
		{"dials", dialsRow(), []verdict{{dialsWhileDown: 1, failing: durations{1, 2}}}, "0.500", "NO"},
	} {
		if got := c.row.cell(c.of); got != c.want {
			t.Errorf("%s: cell = %q, want %q", c.name, got, c.want)
		}
		if got := c.row.judge(c.of); got != c.met {
			t.Errorf("%s: met = %q, want %q", c.name, got, c.met)
		}
	}
}
