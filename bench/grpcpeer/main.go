// Command grpcpeer compares the two ways in which peers of a groupcache can ask each other, HTTP
// and gRPC, in one run, interleaved: gets of values that the owner has in its cache, one by one,
// from 64 callers at once, and 100 keys at once. The caller keeps nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
	"github.com/holdfast-go/holdfast/groupcache"
)

const (
	group    = "peer"
	keys     = 5000
	multi    = 100 // keys of one GetMulti
	multiers = 4   // callers of it at once
)

func main() {
	rounds := flag.Int("rounds", 9, "rounds of each measurement, interleaved; the median counts")
	round := flag.Duration("duration", 500*time.Millisecond, "length of a round")
	quick := flag.Bool("quick", false, "3 rounds of 200 ms: a first impression")
	keep := flag.String("keep", "", tables.KeepUsage)
	child := flag.String("child", "", "for the program's own use: serve as a peer of this kind")
	flag.Parse()
	if *quick {
		*rounds, *round = 3, 200*time.Millisecond
	}
	var err error
	if *child != "" {
		err = serve(*child, flag.Args())
	} else {
		err = bench{rounds: *rounds, round: *round, keep: *keep}.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpcpeer:", err)
		os.Exit(1)
	}
}

type bench struct {
	rounds int
	round  time.Duration
	keep   string
}

// task is one measured operation.
type task struct {
	name    string
	callers int
	// do makes one request, with a number that goes up.
	do func(g *groupcache.Group, i int) error
}

// tasks are all that is measured, with values of some sizes.
func tasks() (all []task) {
	for _, size := range []int{100, 10_000} {
		key := func(i int) string { return strconv.Itoa(size) + "/" + strconv.Itoa(i%keys) }
		for _, callers := range []int{1, 64} {
			all = append(all, task{fmt.Sprintf("get of %d bytes, %d at once", size, callers), callers, func(g *groupcache.Group, i int) error {
				_, err := g.View(context.Background(), key(i))
				return err
			}})
		}
		all = append(all, task{fmt.Sprintf("GetMulti of %d keys of %d bytes, %d at once", multi, size, multiers), multiers, func(g *groupcache.Group, i int) error {
			asked := make([]string, multi)
			for k := range asked {
				asked[k] = key(i*multi + k)
			}
			got, err := g.GetMulti(context.Background(), asked)
			if err == nil && len(got) != multi {
				err = fmt.Errorf("%d values", len(got))
			}
			return err
		}})
	}
	return all
}

// result is what a round has shown.
type result struct{ rate, allocs float64 }

func (b bench) run() error {
	book := tables.NewBook(os.Stdout)
	if err := book.Keep(b.keep); err != nil {
		return err
	}
	book.Notef("%s, %s, %d CPUs, %s/%s", time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	var groups []*groupcache.Group
	for _, kind := range kinds {
		g, stop, err := start(kind)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		defer stop()
		groups = append(groups, g)
	}
	table := tables.Table{Title: "gRPC beside HTTP", Columns: []string{"", "", "per second", "÷ HTTP", "allocations"}}
	for _, t := range tasks() {
		results, err := b.measure(t, groups)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", t.name, err), book.Add(table))
		}
		for i, r := range results {
			table.Rows = append(table.Rows, []string{
				t.name, kinds[i], fmt.Sprintf("%.0f", r.rate), fmt.Sprintf("%.2f", r.rate/results[0].rate), fmt.Sprintf("%.0f", r.allocs),
			})
		}
	}
	return book.Add(table)
}

// measure plays a task with all groups in turn and returns the median results.
func (b bench) measure(t task, groups []*groupcache.Group) ([]result, error) {
	all := make([][]result, len(groups))
	for n := range b.rounds + 1 {
		for i, g := range groups {
			r, err := b.once(t, g)
			if err != nil {
				return nil, err
			}
			if n > 0 { // the first fills the owner's cache
				all[i] = append(all[i], r)
			}
		}
	}
	medians := make([]result, len(groups))
	for i, results := range all {
		slices.SortFunc(results, func(x, y result) int { return int(x.rate - y.rate) })
		medians[i] = results[len(results)/2]
	}
	return medians, nil
}

func (b bench) once(t task, g *groupcache.Group) (result, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithTimeout(context.Background(), b.round)
	defer cancel()
	began := time.Now()
	var total atomic.Int64
	var mu sync.Mutex
	var errs []error
	var callers sync.WaitGroup
	for c := range t.callers {
		callers.Go(func() {
			for i := c << 32; ctx.Err() == nil; i++ {
				if err := t.do(g, i); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, err)
					return
				}
				total.Add(1)
			}
		})
	}
	callers.Wait()
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	n := float64(max(total.Load(), 1))
	return result{rate: n / took.Seconds(), allocs: float64(after.Mallocs-before.Mallocs) / n}, errors.Join(errs...)
}
