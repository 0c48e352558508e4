// Command memcache compares holdfast's memcache with raw gomemcache against one real memcached, in
// interleaved rounds of one run, and prints the ratios of the medians: throughput, p99, and CPU
// time (client and server) per operation.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

type config struct {
	rounds     int
	duration   time.Duration
	goroutines []int
	workloads  []string
	delay      time.Duration
	only       string
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
	fmt.Printf("%s, %d CPUs, %s, %d rounds of %v, added round trip %v\n", runtime.Version(), runtime.NumCPU(), b.server.Kind(), c.rounds, c.duration, c.delay)
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(out, "workload\tG\traw/s\tholdfast/s\tratio\traw p99\tholdfast p99\tratio\traw CPU/op\tholdfast CPU/op\tratio\terrors\t")
	for _, w := range c.workloads {
		for _, g := range c.goroutines {
			r, err := b.compare(ctx, w, g)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintln(out, r)
			_ = out.Flush()
		}
	}
	return nil
}
