// Command autorefresh measures holdfast's autorefresh against its targets in one run, with otter
// and sturdyc beside it where they do the same thing, under the same load: how evenly and how
// punctually items are refreshed, what a failing source and a dead second level see, what a read,
// an idle item and its memory cost, and leftovers after Close.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

// config are the choices of a run.
type config struct {
	quick bool
	runs  int
	only  []string // names of parts; empty means all
	keep  string
}

// scaled is the full form of a figure, or the quick one.
func scaled[T any](c config, full, quick T) T {
	if c.quick {
		return quick
	}
	return full
}

// part measures one target or several.
type part struct {
	name, title string
	long        bool // played once, however many runs there are
	play        func(ctx context.Context, c config, r *record) error
}

func parts() []part {
	return []part{
		{"gaps", "target 1: time between two refreshes of an item", false, playGaps},
		{"stuck", "target 2: a callback that never returns", false, playStuck},
		{"dead", "target 3: a source that is dead, and comes back", false, playDead},
		{"burst", "target 4: items that were made at the same time", false, playBurst},
		{"get", "target 5: a read, 100 000 keys by Zipf's law", false, playGet},
		{"idle", "target 6: a million items that nobody reads", false, playIdle},
		{"goroutines", "target 7: goroutines, and what comes after Close", false, playGoroutines},
		{"races", "target 8: Delete and GetOrCreate against refreshes", true, playRaces},
		{"replicas", "target 9: three replicas that share a memcached", false, playReplicas},
		{"hot", "target 10: only what is read is refreshed", false, playHot},
		{"batches", "target 11: batches of 500", false, playBatches},
		{"outage", "target 12: the second level dies under load", true, playOutage},
		{"watch", "two processes: what one writes the other reads", true, playWatch},
	}
}

func partNames() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

func main() {
	c, err := parse()
	if err == nil {
		err = run(c)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func parse() (config, error) {
	var c config
	var only string
	flag.BoolVar(&c.quick, "quick", false, "a smoke run: fewer items, shorter times, one run of each part")
	flag.StringVar(&c.keep, "keep", "", tables.KeepUsage)
	flag.IntVar(&c.runs, "runs", 3, "runs of each part but the long ones; the median counts")
	flag.StringVar(&only, "only", "", "parts to play, comma-separated: "+strings.Join(partNames(), ", "))
	flag.Parse()
	if c.quick {
		c.runs = 1
	}
	if c.runs < 1 {
		return c, errors.New("-runs must be positive")
	}
	if only != "" {
		c.only = strings.Split(only, ",")
	}
	for _, name := range c.only {
		if !slices.Contains(partNames(), name) {
			return c, fmt.Errorf("no part %q; there are %s", name, strings.Join(partNames(), ", "))
		}
	}
	return c, nil
}

func run(c config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := tables.NewBook(os.Stdout)
	if err := b.Keep(c.keep); err != nil {
		return err
	}
	b.Notef("%s, %s, %d CPUs, %s/%s", time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	if c.quick {
		b.Notef("quick: fewer items and shorter times than the targets are about")
	}
	b.Notef("holdfast: the median of the runs, and the worst in brackets; others: the median")
	var failures error
	var missed []string
	for _, p := range parts() {
		if len(c.only) > 0 && !slices.Contains(c.only, p.name) {
			continue
		}
		r, err := playPart(ctx, c, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = errors.Join(err, b.Add(r.table(p.name+": "+p.title)))
		missed = append(missed, r.missed()...)
		if err != nil {
			b.Notef("%s: NOT MEASURED: %v", p.name, err)
			failures = errors.Join(failures, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	b.Notef("missed: %d", len(missed))
	for _, what := range missed {
		b.Notef("missed: %s", what)
	}
	return failures
}

// playPart plays all runs of a part.
func playPart(ctx context.Context, c config, p part) (*record, error) {
	r := &record{}
	runs := c.runs
	if p.long {
		runs = 1
	}
	for range runs {
		runtime.GC() // what the last one left is not this one's
		if err := p.play(ctx, c, r); err != nil {
			return r, err
		}
	}
	return r, nil
}
