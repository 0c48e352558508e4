package main

import (
	"strings"
	"testing"
)

func TestRecordTellsMedianWorstAndMissed(t *testing.T) {
	r := &record{}
	for _, v := range []float64{1.2, 1, 1.3} {
		r.add("gap", atMost(1.1), ours, v)
		r.add("gap", atMost(1.1), otters, 10*v)
		r.add("share", atLeast(0.9), ours, 1-v/100)
		r.add("cost", target{}, ours, 1e6*v)
	}
	if missed := r.missed(); len(missed) != 1 || missed[0] != "gap: 1.200, target ≤ 1.100" {
		t.Errorf("missed() = %q", missed)
	}
	var out strings.Builder
	if err := r.table("").Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"≤ 1.100  1.200 (1.300) MISSED  12", "≥ 0.900  0.988 (0.987)", "1200000 (1300000)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), sturdys) {
		t.Errorf("the table has a column of somebody who did not take part:\n%s", out.String())
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0123: "0.012", 1: "1", 1.5: "1.500", 12.34: "12.3", 1234.5: "1234"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}
