// Command scale says what a groupcache of many peers costs. What one machine can show it measures:
// rings of any size, instances in memory, and up to 100 instances over loopback. What follows for
// more it computes, and says from which figures.
//
//	go run ./groupcache/internal/scale          # about two minutes
//	go run ./groupcache/internal/scale -quick   # a few seconds, smaller and rougher
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// settings say how much is measured.
type settings struct {
	peers    []int         // sizes of clusters
	loopback int           // the largest cluster over loopback
	callers  int           // how many of its instances have peers
	rounds   int           // of each timing
	calls    int           // in a round
	keys     int           // looked up on a ring to see who owns how many
	trials   int           // of a simulation
	missed   int           // removals that a peer misses
	warm     time.Duration // before probes are counted
	count    time.Duration // how long they are
}

func full() settings {
	return settings{
		peers: []int{3, 10, 30, 100, 300, 1000, 3000}, loopback: 100, callers: 30, rounds: 7, calls: 100, keys: 1 << 20, trials: 2000, missed: 20_000,
		warm: 4 * time.Second, count: 6 * time.Second,
	}
}

func quick() settings {
	return settings{
		peers: []int{3, 10, 30, 100}, loopback: 30, callers: 10, rounds: 3, calls: 20, keys: 1 << 16, trials: 300, missed: 2000,
		warm: 500 * time.Millisecond, count: time.Second,
	}
}

func parse(args []string, out io.Writer) (settings, error) {
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	flags.SetOutput(out)
	rough := flags.Bool("quick", false, "a few seconds: small clusters, few rounds")
	peers := flags.String("peers", "", "numbers of peers, comma-separated (default 3,10,30,100,300,1000,3000; with -quick up to 100)")
	if err := flags.Parse(args); err != nil {
		return settings{}, err
	}
	s := full()
	if *rough {
		s = quick()
	}
	if *peers == "" {
		return s, nil
	}
	s.peers = nil
	for _, field := range strings.Split(*peers, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 3 || n > 10_000 {
			return settings{}, fmt.Errorf("-peers: %q is no number from 3 to 10000", field)
		}
		s.peers = append(s.peers, n)
	}
	return s, nil
}

// run measures all, and prints one table after another.
func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args, out)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s, %s, %s/%s, %d processors\n", time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU())
	m := measured{buildTimes: make(map[string]map[int]time.Duration)}
	for _, part := range []func(context.Context, settings, *measured) ([]table, error){
		rings, knownPeers, connections, requests, faults, missedRemovals, probes, models,
	} {
		tables, err := part(ctx, s, &m)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if err := t.write(out); err != nil {
				return err
			}
		}
	}
	return nil
}

// measured are the figures that the models start from.
type measured struct {
	buildTimes   map[string]map[int]time.Duration // of rings, by kind and number of peers
	toldCPU      time.Duration                    // processor time for each peer that a Remove tells, of both ends
	connBytes    float64                          // of an idle connection, both ends
	connRoutines float64                          // goroutines of the same
	peerBytes    float64                          // of a known peer
	peerSeries   float64                          // metrics of a known peer
	missedBytes  float64                          // of a removal that is kept for a peer
	catchUp      time.Duration                    // for each of them when the peer is back
	probeRate    float64                          // probes a second of one process to one dead peer
}
