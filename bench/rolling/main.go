// Command rolling restarts five peers one after the other under Zipf load and counts the loads at
// the source: without handover, with it, and with Drain, each with peers that leave in good order
// and with peers that are killed. The ways take turns. All peers are instances in this process,
// over loopback HTTP; discovery tells each of them of a change after a while of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

// config is what the flags say.
type config struct {
	peers, keys, runs int
	rate              int // reads a second, of all peers
	skew              float64
	sourceTime        time.Duration
	grace, gap, lag   time.Duration
}

// way is how a rolling restart is done.
type way struct {
	name   string
	off    bool // no handover at all
	drain  bool
	killed bool // no grace: the process is gone at once
}

func main() {
	var c config
	flag.IntVar(&c.peers, "peers", 5, "peers")
	flag.IntVar(&c.keys, "keys", 50_000, "keys")
	flag.IntVar(&c.runs, "runs", 3, "runs of each way; the median counts")
	flag.IntVar(&c.rate, "rate", 5000, "reads a second, of all peers together")
	flag.Float64Var(&c.skew, "skew", 1.01, "exponent of the Zipf distribution, above 1")
	flag.DurationVar(&c.sourceTime, "source", 2*time.Millisecond, "what a load takes")
	flag.DurationVar(&c.grace, "grace", 2*time.Second, "how long a peer that has left goes on answering")
	flag.DurationVar(&c.gap, "gap", time.Second, "time between a peer's end and its successor's start, and between that and the next restart")
	flag.DurationVar(&c.lag, "lag", 200*time.Millisecond, "until when peers hear of a change, by chance")
	keep := flag.String("keep", "", tables.KeepUsage)
	quick := flag.Bool("quick", false, "a look at it: one run, fewer keys")
	flag.Parse()
	if *quick {
		c.runs, c.keys, c.grace, c.gap = 1, 10_000, 500*time.Millisecond, 500*time.Millisecond
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := tables.NewBook(os.Stdout)
	b.Notef("%s, %s, %d CPUs, %s/%s", time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	b.Notef("%d peers, %d keys, %d reads/s, Zipf %.2f; a load takes %v; grace %v, gap %v, changes are heard of within %v",
		c.peers, c.keys, c.rate, c.skew, c.sourceTime, c.grace, c.gap, c.lag)
	if err := errors.Join(b.Keep(*keep), compare(ctx, c, b)); err != nil {
		fmt.Fprintln(os.Stderr, "rolling:", err)
		os.Exit(1)
	}
}

func compare(ctx context.Context, c config, b *tables.Book) error {
	ways := []way{
		{name: "no handover", off: true},
		{name: "handover"},
		{name: "handover and Drain", drain: true},
		{name: "killed, no handover", off: true, killed: true},
		{name: "killed, handover", killed: true},
	}
	results := make([][]outcome, len(ways))
	for range c.runs {
		for i, w := range ways {
			o, err := restartAll(ctx, c, w)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			results[i] = append(results[i], o)
		}
	}
	t := tables.Table{Title: "rolling restart", Columns: []string{
		"way", "loads before, /s", "loads during, /s", "peak of a second", "loads in all", "÷ no handover", "errors",
	}}
	base := 0.0
	for i, w := range ways {
		slices.SortFunc(results[i], func(a, b outcome) int { return int(a.loads - b.loads) })
		o := results[i][len(results[i])/2]
		if w.off {
			base = float64(o.loads)
		}
		t.Rows = append(t.Rows, []string{
			w.name, fmt.Sprintf("%.0f", o.before), fmt.Sprintf("%.0f", o.during),
			fmt.Sprint(o.peak), fmt.Sprint(o.loads), fmt.Sprintf("%.2f", float64(o.loads)/base), fmt.Sprint(o.errors),
		})
	}
	return b.Add(t)
}
