package main

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// near reports whether a value is within a part of another.
func near(got, want, part float64) bool { return math.Abs(got-want) <= part*want }

func TestAllPartsPlay(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-quick", "-peers", "3,5"}, &out); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(out.String(), "\n## "), 18; got != want {
		t.Errorf("%d tables, want %d:\n%s", got, want, &out)
	}
	for _, bad := range []string{"NaN", "Inf", "%!"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("the output has %s:\n%s", bad, &out)
		}
	}
	for call, want := range map[string]float64{"Remove | 5": 4, "Set | 3": 2, "GetMulti of 100 keys | 3": 2} {
		_, rest, _ := strings.Cut(out.String(), "| "+call+" | ")
		cell, _, _ := strings.Cut(rest, " ")
		if got, err := strconv.ParseFloat(cell, 64); err != nil || got < want || got > want+2 { // more, if the machine is so slow that some are made again
			t.Errorf("%s: %q requests, want %v", call, cell, want)
		}
	}
}

func TestFlags(t *testing.T) {
	for line, want := range map[string][]int{
		"":                     {3, 10, 30, 100, 300, 1000, 3000},
		"-quick":               {3, 10, 30, 100},
		"-peers 4":             {4},
		"-quick -peers 300,20": {300, 20},
	} {
		s, err := parse(strings.Fields(line), &bytes.Buffer{})
		if err != nil || !slices.Equal(s.peers, want) {
			t.Errorf("parse(%q) = %v, %v, want %v", line, s.peers, err, want)
		}
	}
	for _, line := range []string{"-peers 2", "-peers x", "-peers 3,", "-peers 10001", "-unknown"} {
		if _, err := parse(strings.Fields(line), &bytes.Buffer{}); err == nil {
			t.Errorf("parse(%q) = nil, want an error", line)
		}
	}
	if _, err := parse([]string{"-h"}, &bytes.Buffer{}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("parse(-h) = %v, want flag.ErrHelp", err)
	}
}

func TestATableIsMarkdown(t *testing.T) {
	tbl := table{title: "T", note: "N", head: []string{"a", "b"}}
	tbl.add("1", "2")
	var out bytes.Buffer
	if err := tbl.write(&out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "\n## T\n\nN\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"; got != want {
		t.Errorf("table = %q, want %q", got, want)
	}
}

func TestFiguresAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 13: "13ns", 12345: "12.3µs", 1_448_000: "1.45ms", 641_234_567: "641ms", 9_996_000_000: "10s", 599 * time.Second: "9m59s",
		11 * time.Minute: "11 min", 36 * time.Hour: "36 h",
	} {
		if got := inTime(d); got != want {
			t.Errorf("inTime(%d) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0.0 B", 9.94: "9.9 B", 145: "145 B", 999.6: "1.0 kB", 40_200: "40 kB", 2.5e6: "2.5 MB", 3e9: "3.0 GB"} {
		if got := inBytes(n); got != want {
			t.Errorf("inBytes(%v) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1 000", 8_997_000: "8 997 000", -1000: "-1 000"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
	if got := inPercent(0.9048); got != "90.5 %" {
		t.Errorf("inPercent = %q, want 90.5 %%", got)
	}
}

func TestPercentiles(t *testing.T) {
	values := []int{5, 1, 4, 2, 3}
	for hundredths, want := range map[int]int{0: 1, 50: 3, 99: 5, 100: 5} {
		if got := percentile(values, hundredths); got != want {
			t.Errorf("percentile(%d) = %d, want %d", hundredths, got, want)
		}
	}
}
