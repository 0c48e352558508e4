// Command sentinel compares holdfast's sentinel with radix's own Sentinel, go-redis and rueidis
// against real servers and sentinels, and says which targets are met: what a failover, a crash, a
// hang and a lying sentinel cost the callers, how fast the clients are, what a call allocates and
// what Close leaves behind. Each client runs in a process of its own, so that one that hangs for
// ever can be killed.
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
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

type config struct {
	child      bool
	clients    []string
	only       []string // parts; empty means all
	together   bool
	runs       int
	goroutines int
	rate       int
	window     time.Duration
	trips      time.Duration
	forgeRest  time.Duration
	rounds     int
	duration   time.Duration
	roundTrip  time.Duration
	parallel   []int
	failovers  int
	keep       string
}

// harness plays the parts.
type harness struct{ config config }

// part is something that can be chosen with -only.
type part struct {
	name, title string
	play        func(ctx context.Context, title string, b *tables.Book) error
}

const tries = 3 // of a run in which the sentinels cannot agree

func main() {
	c, err := parse()
	if err == nil && c.child {
		err = asChild()
	} else if err == nil {
		err = run(c)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func parse() (config, error) {
	c := config{forgeRest: 2 * time.Second}
	var clients, only, parallel string
	quick := flag.Bool("quick", false, "a smoke run: all clients together, one short run of each part but the long ones")
	flag.BoolVar(&c.child, "child", false, "for the program's own use: hold a client and obey the parent")
	flag.StringVar(&clients, "clients", strings.Join(clientNames(), ","), "clients to measure, comma-separated; on demand also: "+strings.Join(rareNames(), ", "))
	flag.StringVar(&only, "only", "", "parts to play, comma-separated: "+strings.Join(partNames(), ", "))
	flag.StringVar(&c.keep, "keep", "", tables.KeepUsage)
	flag.BoolVar(&c.together, "together", false, "put all clients through the same failovers at the same time")
	flag.IntVar(&c.runs, "runs", 3, "runs of the planned failover")
	flag.IntVar(&c.goroutines, "g", 32, "goroutines that write through a failover")
	flag.IntVar(&c.rate, "rate", 2400, "writes a second of each client")
	flag.DurationVar(&c.window, "window", 5*time.Second, "time observed after a promotion")
	flag.DurationVar(&c.trips, "trips", time.Minute, "length of the false trips")
	flag.IntVar(&c.rounds, "rounds", 5, "throughput: rounds per client, interleaved; the median counts")
	flag.DurationVar(&c.duration, "duration", time.Second, "throughput: length of a round")
	flag.StringVar(&parallel, "p", "1,8,64,256", "throughput: numbers of goroutines, comma-separated")
	flag.DurationVar(&c.roundTrip, "rtt", 0, "throughput: how much longer each round trip to the server is made")
	flag.IntVar(&c.failovers, "failovers", 100, "failovers before Close")
	flag.Parse()
	c.clients = strings.Split(clients, ",")
	if only != "" {
		c.only = strings.Split(only, ",")
	}
	if *quick {
		c.hasten()
		parallel = "8,64"
	}
	for g := range strings.SplitSeq(parallel, ",") {
		n, err := strconv.Atoi(g)
		if err != nil || n < 1 {
			return c, fmt.Errorf("-p %q: %q is not a positive number", parallel, g)
		}
		c.parallel = append(c.parallel, n)
	}
	return c, c.check()
}

// hasten makes it a smoke run.
func (c *config) hasten() {
	c.together, c.runs, c.window, c.trips, c.forgeRest = true, 1, 1500*time.Millisecond, 6*time.Second, 1200*time.Millisecond
	c.rounds, c.duration, c.failovers = 3, 100*time.Millisecond, 5
	if len(c.only) == 0 {
		c.only = []string{plannedName, "crash", "hung", forgedName, throughputName, allocationsName, leftoversName}
	}
}

func (c *config) check() error {
	for _, name := range c.clients {
		if !slices.Contains(allNames(), name) {
			return fmt.Errorf("no client %q; there are %s", name, strings.Join(allNames(), ", "))
		}
	}
	for _, name := range c.only {
		if !slices.Contains(partNames(), name) {
			return fmt.Errorf("no part %q; there are %s", name, strings.Join(partNames(), ", "))
		}
	}
	if c.goroutines < 1 || c.rate < 1 || c.runs < 1 || c.rounds < 1 {
		return errors.New("-g, -rate, -runs and -rounds must be positive")
	}
	return nil
}

const (
	throughputName  = "throughput"
	allocationsName = "allocations"
	leftoversName   = "leftovers"
)

func (h *harness) parts() []part {
	var all []part
	for _, s := range h.scenarios() {
		title := s.title
		if s.runs > 1 {
			title += fmt.Sprintf(", %d runs", s.runs)
		}
		all = append(all, part{s.name, title, func(ctx context.Context, title string, b *tables.Book) error { return h.play(ctx, title, b, s) }})
	}
	return append(
		all,
		part{leftoversName, "many failovers, then Close", h.leftovers},
		part{allocationsName, "of a call", h.allocations},
		part{throughputName, "64-byte values, one server", h.throughput},
	)
}

func partNames() []string {
	return collect((&harness{}).parts(), func(p part) string { return p.name })
}

func run(c config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	h := &harness{c}
	version, err := serverVersion(ctx)
	if err != nil {
		return err
	}
	b := tables.NewBook(os.Stdout)
	if err := b.Keep(c.keep); err != nil {
		return err
	}
	b.Notef("%s, %s, %s, %d CPUs, %s/%s", time.Now().Format(time.DateOnly), runtime.Version(), version, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	b.Notef("%d goroutines and %d writes/s a client; times of several runs are median / worst", c.goroutines, c.rate)
	var failures error
	for _, p := range h.parts() {
		if len(c.only) > 0 && !slices.Contains(c.only, p.name) {
			continue
		}
		if err := p.play(ctx, p.name+": "+p.title, b); err != nil {
			if ctx.Err() != nil {
				return err
			}
			b.Notef("%s: NOT MEASURED: %v", p.name, err)
			failures = errors.Join(failures, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return failures
}

// play plays a scenario as often as it wants and prints its table. Its error tells of runs that are
// missing there.
func (h *harness) play(ctx context.Context, title string, b *tables.Book, s scenario) error {
	clients := h.config.clients
	if s.clients != nil {
		clients = slices.DeleteFunc(slices.Clone(clients), func(name string) bool { return !slices.Contains(s.clients, name) })
	}
	groups := [][]string{clients}
	if !s.shared && !h.config.together {
		groups = slices.Collect(slices.Chunk(clients, 1))
	}
	found := make(results)
	var failures error
	for n := range s.runs {
		for _, group := range groups {
			some, err := h.once(ctx, b, s, n, group)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			failures = errors.Join(failures, err)
			for name, verdicts := range some {
				found[name] = append(found[name], verdicts...)
			}
		}
	}
	t := found.table(title, s.rows, clients)
	if s.name == plannedName {
		t.Chart, t.Unit = found.gaps(clients), "the longest time without a kept write, ms"
	}
	return errors.Join(failures, b.Add(t))
}

// once plays one run, again if the sentinels did something else: then it says so in the book.
func (h *harness) once(ctx context.Context, b *tables.Book, s scenario, n int, clients []string) (some results, err error) {
	for range tries {
		st := &stage{harness: h, scenario: s, run: n}
		if some, err = st.perform(ctx, clients); !othersDoing(err) {
			return some, errors.Join(err, st.absent)
		}
		b.Notef("%s, %s: not judged: %v", s.name, strings.Join(clients, ", "), err)
	}
	return some, err
}
