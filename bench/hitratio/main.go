// Command hitratio compares how many reads caches of the same number of entries answer: LRU, a
// group of holdfast's groupcache, and otter. It replays recorded accesses, where they are at hand,
// and seeded mixes, and prints a table; with -svg it draws it too.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"runtime"
	"strconv"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// shares are the sizes of the caches, in percent of the distinct keys.
func shares() []int { return []int{1, 5, 10, 25} }

func run() error {
	folder := flag.String("traces", os.Getenv("HOLDFAST_TRACES"), "folder of recorded traces; those that are not there are left out")
	chart := flag.String("svg", "", "file to draw a chart into")
	keep := flag.String("keep", "", tables.KeepUsage)
	flag.Parse()
	b := tables.NewBook(os.Stdout)
	if err := b.Keep(*keep); err != nil {
		return err
	}
	b.Notef("%s, %d CPUs; hits in %% of the reads, by the cache's size in %% of the distinct keys", runtime.Version(), runtime.NumCPU())
	var results []result
	for _, w := range workloads() {
		keys, err := w.keys(*folder)
		if errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(os.Stderr, "hitratio: %s is left out: %v\n", w.name, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		r, err := measure(w.name, keys)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", w.name, err), b.Add(tabulate(results)))
		}
		results = append(results, r)
	}
	if err := b.Add(tabulate(results)); err != nil {
		return err
	}
	b.Notef("%s", worst(results))
	if *chart == "" {
		return nil
	}
	return os.WriteFile(*chart, []byte(draw(results)), 0o644)
}

// result has the hit ratios of one workload in percent, by contestant and size.
type result struct {
	name            string
	reads, distinct int
	ratios          map[string][]float64
}

func measure(name string, keys []uint64) (result, error) {
	r := result{name: name, reads: len(keys), distinct: distinct(keys), ratios: map[string][]float64{}}
	for _, share := range shares() {
		entries := max(1, r.distinct*share/100)
		for _, c := range contestants() {
			ratio, err := replay(keys, entries, c)
			if err != nil {
				return result{}, fmt.Errorf("%s with %d entries: %w", c.name, entries, err)
			}
			r.ratios[c.name] = append(r.ratios[c.name], ratio)
		}
	}
	return r, nil
}

func replay(keys []uint64, entries int, c contestant) (float64, error) {
	cache, err := c.make(entries)
	if err != nil {
		return 0, err
	}
	defer cache.close()
	hits := 0
	for _, key := range keys {
		hit, err := cache.read(key)
		if err != nil {
			return 0, err
		}
		if hit {
			hits++
		}
	}
	return 100 * float64(hits) / float64(len(keys)), nil
}

func distinct(keys []uint64) int {
	seen := make(map[uint64]struct{}, len(keys)/4)
	for _, key := range keys {
		seen[key] = struct{}{}
	}
	return len(seen)
}

// tabulate has a row for each workload, and one for their mean.
func tabulate(results []result) tables.Table {
	t := tables.Table{Columns: []string{"workload", "reads", "distinct"}}
	means := []string{"mean", "", ""}
	for i, share := range shares() {
		for _, c := range contestants() {
			t.Columns = append(t.Columns, fmt.Sprintf("%s %d%%", c.name, share))
			means = append(means, fmt.Sprintf("%.2f", mean(results, c.name, i)))
		}
	}
	for _, r := range results {
		row := []string{r.name, strconv.Itoa(r.reads), strconv.Itoa(r.distinct)}
		for i := range shares() {
			for _, c := range contestants() {
				row = append(row, fmt.Sprintf("%.2f", r.ratios[c.name][i]))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	t.Rows = append(t.Rows, means)
	return t
}

// worst says where holdfast is furthest below LRU.
func worst(results []result) string {
	least, where := 100.0, ""
	for _, r := range results {
		for i, share := range shares() {
			if d := r.ratios["holdfast"][i] - r.ratios["lru"][i]; d < least {
				least, where = d, fmt.Sprintf("%s, %d %%", r.name, share)
			}
		}
	}
	return fmt.Sprintf("holdfast - lru: %+.2f at the least (%s)", least, where)
}

func mean(results []result, name string, size int) float64 {
	sum := 0.0
	for _, r := range results {
		sum += r.ratios[name][size]
	}
	return sum / float64(max(1, len(results)))
}
