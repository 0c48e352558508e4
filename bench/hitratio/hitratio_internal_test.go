package main

import (
	"encoding/xml"
	"errors"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestTracesAreRead(t *testing.T) {
	got, err := lines(strings.NewReader("7\n*\n\n10 3 0 1\n"))
	if want := []uint64{7, 10, 11, 12}; err != nil || !slices.Equal(got, want) {
		t.Errorf("lines = %v, %v, want %v", got, err, want)
	}
	if _, err := lines(strings.NewReader("10 x")); err == nil {
		t.Error("lines of a bad count: no error")
	}
	got, err = words(strings.NewReader("\x00\x00\x01\x02\xff\xff\xff\xff"))
	if want := []uint64{258, 1<<32 - 1}; err != nil || !slices.Equal(got, want) {
		t.Errorf("words = %v, %v, want %v", got, err, want)
	}
	if _, err := words(strings.NewReader("\x00\x00\x01")); err == nil {
		t.Error("words of a cut trace: no error")
	}
	if _, err := workloads()[0].keys(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a trace that is not there: %v, want ErrNotExist", err)
	}
}

func TestMixesAreAsDescribed(t *testing.T) {
	keys := zipf(0.9, 0.2)
	scanned, first := 0, 0
	for _, key := range keys {
		if key >= mixKeys {
			scanned++
		}
		if key == 0 {
			first++
		}
	}
	if len(keys) != mixReads || scanned < mixReads*19/100 || scanned > mixReads*21/100 {
		t.Errorf("%d reads, %d scanned, want %d, a fifth", len(keys), scanned, mixReads)
	}
	if share := float64(first) / mixReads; share < 0.03 || share > 0.06 {
		t.Errorf("the most popular key has %.3f of the reads, want about 0.04", share)
	}
	if !slices.Equal(keys, zipf(0.9, 0.2)) {
		t.Error("two runs differ")
	}
}

func TestMixesAreTheSameInEachRun(t *testing.T) {
	for _, mix := range mixes() {
		first, err := mix.keys("")
		if err != nil {
			t.Fatal(err)
		}
		second, _ := mix.keys("")
		if !slices.Equal(first, second) {
			t.Errorf("%s: two runs differ", mix.name)
		}
	}
	for i, want := range map[int]uint64{0: 0, 499: 499, 500: 0, 3000: 1 << 32, 3000 + 18_000: 2 << 32} {
		if got := loops()[i]; got != want {
			t.Errorf("loops: key %d is %d, want %d", i, got, want)
		}
	}
	keys, ago, again := recency(3000), 0.0, 0
	newest := uint64(0)
	for _, key := range keys {
		if key > newest {
			newest = key
			continue
		}
		ago += float64(newest - key)
		again++
	}
	if mean := ago / float64(again); newest < mixReads*19/100 || newest > mixReads*21/100 || mean < 2700 || mean > 3300 {
		t.Errorf("recency: %d keys of %d reads, %.0f ago in the mean, want a fifth, 3000", newest, mixReads, mean)
	}
}

func TestTheWorstCellIsNamed(t *testing.T) {
	r := result{name: "mix", ratios: map[string][]float64{"lru": {1, 2, 30, 4}, "holdfast": {2, 3, 29.5, 4}}}
	if got := worst([]result{r}); !strings.Contains(got, "-0.50") || !strings.Contains(got, "mix, 10 %") {
		t.Errorf("worst = %q", got)
	}
}

func TestContestantsHoldAsManyEntriesAsTold(t *testing.T) {
	for _, c := range contestants() {
		// Each has a goroutine of its own: the race detector remembers calls of otter as if they
		// went on, and hashes all of them whenever their goroutine starts another one.
		t.Run(c.name, func(t *testing.T) {
			for _, entries := range []int{1, 100, 2000} {
				holdsAsManyAsTold(t, c, entries)
			}
		})
	}
}

func holdsAsManyAsTold(t *testing.T, c contestant, entries int) {
	t.Helper()
	var round []uint64
	for key := range uint64(entries) {
		round = append(round, key)
	}
	// What fits is all hit the second time, and the first time nothing is.
	if got, err := replay(append(round, round...), entries, c); err != nil || got != 50 {
		t.Errorf("%s with %d entries: %.2f %% hits, %v, want 50", c.name, entries, got, err)
	}
	var once []uint64
	for key := range uint64(20 * entries) {
		once = append(once, key)
	}
	// Of the keys read once no more than fit are there.
	slices.Reverse(once)
	if got, err := replay(append(once, once...), entries, c); err != nil || got > 100.0/40 {
		t.Errorf("%s with %d entries: %.2f %% hits, %v, want at most %.2f", c.name, entries, got, err, 100.0/40)
	}
}

func TestTableAndChartShowAll(t *testing.T) {
	r, err := measure("a <mix>", []uint64{1, 2, 3, 1, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	table := tabulate([]result{r, r})
	for _, c := range contestants() {
		for _, workload := range []string{r.name, "mean"} {
			if got, err := table.Number(c.name+" 25%", workload); err != nil || math.Abs(got-r.ratios[c.name][3]) > 0.01 {
				t.Errorf("%s, %s: %.2f, %v, want %.2f", c.name, workload, got, err, r.ratios[c.name][3])
			}
		}
	}
	chart := draw([]result{r, r})
	if err := xml.Unmarshal([]byte(chart), new(any)); err != nil {
		t.Errorf("chart: %v", err)
	}
	if got, want := strings.Count(chart, "<polyline"), 2*len(contestants()); got != want || !strings.Contains(chart, "a &lt;mix&gt;") {
		t.Errorf("%d lines in the chart, want %d", got, want)
	}
}
