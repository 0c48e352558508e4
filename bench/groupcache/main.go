// Command groupcache compares package groupcache with github.com/golang/groupcache in one run,
// interleaved: hits, misses, and gets from peers over HTTP. mailgun/groupcache v2.6.0, which the
// targets are about, is not to be had here: its hits cost 1.03 times golang's, and it answers 1.3
// times as many peer gets; the table has the ratio to golang's and the one converted by these
// factors.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	golang "github.com/golang/groupcache"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

// How mailgun's v2.6.0 compares with golang's.
const (
	mailgunHit  = 1.03 // its time ÷ golang's
	mailgunPeer = 1.3  // its throughput ÷ golang's
)

func main() {
	rounds := flag.Int("rounds", 7, "rounds of each measurement, interleaved; the median counts")
	round := flag.Duration("duration", 300*time.Millisecond, "length of a round")
	only := flag.String("only", "hit,miss,peer,frames,multi,killed", "parts to play, comma-separated: hit, miss, peer, frames, multi, killed")
	keep := flag.String("keep", "", tables.KeepUsage)
	child := flag.String("child", "", "for the program's own use: serve as a peer of this kind")
	flag.Parse()
	if *child != "" {
		if err := serve(*child, flag.Args()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	b := bench{rounds: *rounds, round: *round, book: tables.NewBook(os.Stdout), original: original()}
	if err := b.book.Keep(*keep); err != nil {
		fmt.Fprintln(os.Stderr, "groupcache:", err)
		os.Exit(1)
	}
	b.book.Notef("%s, %s, %d CPUs, %s/%s", time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	failed := false
	for _, part := range strings.Split(*only, ",") {
		if err := b.play(part); err != nil {
			b.book.Notef("%s: NOT MEASURED: %v", part, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

type bench struct {
	rounds int
	round  time.Duration
	book   *tables.Book
	// original returns golang's group whose only peer is at a URL.
	original func(url string) *golang.Group
}

func (b bench) play(part string) error {
	switch part {
	case "hit":
		return b.hits()
	case "miss":
		return b.misses()
	case "peer":
		return b.peers()
	case "frames":
		return b.frames()
	case "multi":
		return b.multi()
	case "killed":
		return b.killed()
	}
	return fmt.Errorf("there is no such part")
}

// contestant is one way to do the same work.
type contestant struct {
	name string
	// run does the work until the context ends, on so many goroutines, and returns how often it was
	// done.
	run func(ctx context.Context, workers int) (int, error)
}

// result is what a round has shown, per operation.
type result struct {
	time   time.Duration // of the clock, times the goroutines' number of processors
	allocs float64
	rate   float64 // per second
}

// measure plays all contestants in turn and returns the median results.
func (b bench) measure(procs, workers int, contestants []contestant) ([]result, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	all := make([][]result, len(contestants))
	for range b.rounds {
		for i, c := range contestants {
			r, err := b.once(workers, c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			all[i] = append(all[i], r)
		}
	}
	medians := make([]result, len(contestants))
	for i, results := range all {
		slices.SortFunc(results, func(x, y result) int { return int(x.time - y.time) })
		medians[i] = results[len(results)/2]
	}
	return medians, nil
}

func (b bench) once(workers int, c contestant) (result, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithTimeout(context.Background(), b.round)
	defer cancel()
	start := time.Now()
	n, err := c.run(ctx, workers)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if err != nil {
		return result{}, err
	}
	return result{
		time: took / time.Duration(max(n, 1)), allocs: float64(after.Mallocs-before.Mallocs) / float64(max(n, 1)), rate: float64(n) / took.Seconds(),
	}, nil
}

// table adds rows, of which the first has the columns' names.
func (b bench) table(title string, rows [][]string) error {
	return b.book.Add(tables.Table{Title: title, Columns: rows[0], Rows: rows[1:]})
}

// verdicts say whether a target was met.
var verdicts = map[bool]string{true: "yes", false: "NO"} //nolint:gochecknoglobals // a constant, were there such maps
