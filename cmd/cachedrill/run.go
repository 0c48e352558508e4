package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/report"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/term"
)

// Exit statuses.
const (
	exitKept        = 0
	exitBroken      = 1
	exitUsage       = 2
	exitFailed      = 3
	exitInterrupted = 130
)

// ownRun is part of the keys on servers that nobody else uses.
const ownRun = "own"

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, canOpen(stdout))
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, help())
		return exitKept
	case err != nil:
		fmt.Fprintf(stderr, "cachedrill: %v\nTry cachedrill -h.\n", err)
		return exitUsage
	case s.version:
		fmt.Fprintln(stdout, "cachedrill", drill.Version())
		return exitKept
	}
	verdict, err := rehearse(ctx, s, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "cachedrill: %v\n", err)
		return exitFailed
	}
	switch verdict {
	case record.Kept:
		return exitKept
	case record.Broken:
		return exitBroken
	default:
		return exitInterrupted
	}
}

// rehearse carries the drill out, shows it and reports on it. It returns the verdict.
func rehearse(ctx context.Context, s settings, stdout io.Writer) (verdict string, err error) {
	site, err := listen(ctx, s, stdout)
	if err != nil {
		return "", err
	}
	defer site.close()                  //nolint:contextcheck // what is left to be sent outlives ctx
	folder, err := report.Folder(s.out) // before the drill: a minute is too long to find out that there is no space for it
	if err != nil {
		return "", err
	}
	r, err := servers(ctx, s, stdout)
	if err != nil {
		return "", err
	}
	d, err := drill.New(drillOptions(s, r))
	if err != nil {
		return "", errors.Join(err, r.Close())
	}
	introduce(stdout, d.Journal().Snapshot())
	site.show(ctx, d, s)
	if err := play(ctx, d, stdout); err != nil {
		return "", err
	}
	final := d.Journal().Snapshot()
	paths, err := report.Write(folder, final)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(stdout, "\nreport:", strings.Join(paths, "\n        "))
	return final.Verdict, nil
}

// introduce says what is about to run.
func introduce(stdout io.Writer, r record.Record) {
	for _, s := range r.Servers {
		fmt.Fprintf(stdout, "%s: %s, %s of the reads\n", s.Name, s.Kind, record.Ratio(s.Share))
	}
	fmt.Fprintf(stdout, "seed %d, %.0f s; filling the caches ...\n\n", r.Seed, r.Duration)
}

// play runs the drill and shows it until its end, and then the verdict.
func play(ctx context.Context, d *drill.Drill, stdout io.Writer) error {
	terminal := isTerminal(stdout)
	screen := term.New(stdout, term.Options{Live: terminal, Color: terminal && os.Getenv("NO_COLOR") == ""})
	now, updates, stop := d.Journal().Follow(term.Backlog)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	screen.Show(now, updates)
	err := <-ended
	screen.Verdict(d.Journal().Snapshot())
	return err
}

// servers returns the rig that the flags ask for.
func servers(ctx context.Context, s settings, stdout io.Writer) (*rig.Rig, error) {
	const each = 3
	if len(s.servers) == 0 {
		if s.inProcess {
			return rig.InProcess(each)
		}
		return rig.Own(ctx, each)
	}
	asked, err := rig.Ask(ctx, s.servers)
	if err != nil {
		return nil, err
	}
	for _, a := range asked {
		if a.Err != nil {
			fmt.Fprintln(stdout, "does not answer:", a.Err)
		}
	}
	if s.faults {
		return rig.Through(asked) //nolint:contextcheck // the proxies live until the rig is closed
	}
	return rig.Direct(asked), nil
}

func drillOptions(s settings, r *rig.Rig) drill.Options {
	o := drill.Options{
		Rig: r, Scenario: s.scenario, Seed: s.seed, Duration: s.duration, Rate: s.rate, Workers: s.workers, Keys: s.keys,
		ValueSize: s.valueSize, Timeout: s.timeout, DBCost: s.dbCost, DBSlots: s.dbSlots, TTL: s.ttl(),
		Run: ownRun, Promises: s.promises,
	}
	if len(s.servers) > 0 {
		o.Run = rand.Text()[:8] // another drill may be using the same servers
		o.Budget = new(atomic.Int64)
		o.Budget.Store(int64(s.maxBytes))
	}
	return o
}
