// Command memcache compares holdfast's memcache with raw gomemcache against one real memcached, in
// interleaved rounds of one run, and prints the ratios of the medians: throughput, p99, and CPU
// time (client and server) per operation.
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
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

type config struct {
	rounds     int
	duration   time.Duration
	goroutines []int
	workloads  []string
	delay      time.Duration
	only       string
	keep       string
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	c, profile, err := parse()
	if err != nil {
		return err
	}
	if profile != "" {
		file, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return compareAll(c)
}

func parse() (c config, profile string, err error) {
	var goroutines, names string
	flag.IntVar(&c.rounds, "rounds", 5, "rounds per client, interleaved; the median counts")
	flag.DurationVar(&c.duration, "duration", time.Second, "length of a round")
	flag.StringVar(&goroutines, "g", "1,8,64,256", "numbers of goroutines, comma-separated")
	flag.StringVar(&names, "w", "get", "workloads, comma-separated: "+strings.Join(workloadNames(), ", "))
	flag.StringVar(&c.keep, "keep", "", tables.KeepUsage)
	flag.StringVar(&c.only, "only", "", "measure one client only, raw or holdfast, for profiles")
	flag.DurationVar(&c.delay, "delay", 0, "round trip added by a proxy in front of the server")
	flag.StringVar(&profile, "cpuprofile", "", "write a CPU profile of the run to this file")
	flag.Parse()
	for g := range strings.SplitSeq(goroutines, ",") {
		n, err := strconv.Atoi(g)
		if err != nil || n < 1 {
			return c, "", fmt.Errorf("-g %q: %q is not a positive number", goroutines, g)
		}
		c.goroutines = append(c.goroutines, n)
	}
	c.workloads = strings.Split(names, ",")
	return c, profile, nil
}

func compareAll(c config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := newBench(ctx, c)
	if err != nil {
		return err
	}
	defer b.close()
	book := tables.NewBook(os.Stdout)
	if err := book.Keep(c.keep); err != nil {
		return err
	}
	book.Notef("%s, %s, %d CPUs, %s, %d rounds of %v, added round trip %v", time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), b.server.Kind(), c.rounds, c.duration, c.delay)
	var failures error
	for _, w := range c.workloads {
		if err := b.workload(ctx, w, book); err != nil {
			if ctx.Err() != nil {
				return err
			}
			book.Notef("%s: NOT MEASURED to its end: %v", w, err)
			failures = errors.Join(failures, fmt.Errorf("%s: %w", w, err))
		}
	}
	return failures
}

// workload compares the clients at one of them. The rows before one that fails are kept.
func (b *bench) workload(ctx context.Context, name string, book *tables.Book) error {
	t := tables.Table{Title: name, Unit: "calls a second", Columns: []string{
		"G", "raw/s", "holdfast/s", "÷ raw", "raw p99", "holdfast p99", "p99 ÷ raw", "raw CPU/op", "holdfast CPU/op", "CPU ÷ raw", "errors",
	}}
	for _, g := range b.config.goroutines {
		r, err := b.compare(ctx, name, g)
		if err != nil {
			return errors.Join(err, book.Add(t))
		}
		t.Rows = append(t.Rows, r.cells())
		t.Chart = append(t.Chart, r.bars())
	}
	return book.Add(t)
}
