package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/report"
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

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
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
	s.stdin = stdin
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

// rehearse carries the drills out, one after another, shows them and reports on all of them. It
// returns how they ended.
func rehearse(ctx context.Context, s settings, stdout io.Writer) (verdict string, err error) {
	site, err := listen(ctx, s, stdout)
	if err != nil {
		return "", err
	}
	defer site.close()                  //nolint:contextcheck // the rest to be sent outlives ctx
	folder, err := report.Folder(s.out) // before the drill: a minute is too long to find out that there is no space for it
	if err != nil {
		return "", err
	}
	all := &played{folder: folder, verdict: record.Kept, stdout: stdout}
	defer func() {
		all.tell()
		if s.out == "" && len(all.paths) == 0 {
			_ = os.Remove(folder) // made for a report that there is not
		}
	}()
	chosen := s.scenarios()
	for i, c := range chosen {
		follow := len(chosen) - i - 1
		one, err := c.rehearse(ctx, s, stdout, site, follow)
		switch {
		case err == nil:
			err = all.add(one)
		case ctx.Err() != nil: // before the drill began
			return record.Interrupted, all.cut()
		}
		if err != nil {
			return "", err
		}
		if ctx.Err() != nil && follow > 0 {
			return record.Interrupted, nil
		}
	}
	return all.verdict, nil
}

// played are the drills so far.
type played struct {
	stdout  io.Writer
	folder  string
	drills  []record.Record
	paths   []string // of the report
	verdict string   // kept if all were, else that of the last one that was not
}

// add reports on one more.
func (p *played) add(r record.Record) (err error) {
	p.drills = append(p.drills, r)
	if r.Verdict != record.Kept {
		p.verdict = r.Verdict
	}
	p.paths, err = report.Write(p.folder, p.drills)
	return err
}

// cut reports that there was to be another drill, which was interrupted before it began.
func (p *played) cut() (err error) {
	if len(p.drills) == 0 {
		return nil
	}
	p.drills[len(p.drills)-1].Cut = true
	p.paths, err = report.Write(p.folder, p.drills)
	return err
}

// tell sums several drills up and says where the report is.
func (p *played) tell() {
	newScreen(p.stdout).Summary(p.drills)
	if len(p.paths) > 0 {
		fmt.Fprintln(p.stdout, "\nreport:", strings.Join(p.paths, "\n        "))
	}
}

// rehearse carries one drill out, of which the given number follow. It returns the measurements.
func (c scenario) rehearse(ctx context.Context, s settings, stdout io.Writer, site *site, follow int) (r record.Record, err error) {
	if s.scenario == scenarioAll {
		fmt.Fprintf(stdout, "\n%s\n", c.name)
	}
	o := s.options(c.name)
	o.More = follow > 0
	built, err := c.build(ctx, s, o, stdout)
	if err != nil {
		return r, err
	}
	d := drill.New(built, o)
	introduce(stdout, d.Journal().Snapshot())
	site.show(ctx, d, s)
	err = play(ctx, d, stdout)
	return d.Journal().Snapshot(), err
}

// introduce announces a drill.
func introduce(stdout io.Writer, r record.Record) {
	for _, s := range r.Servers {
		about := s.About()
		if about != "" {
			about = ", " + about
		}
		fmt.Fprintf(stdout, "%s: %s%s\n", s.Name, s.Kind, about)
	}
	fmt.Fprintf(stdout, "seed %d, %.0f s; storing the first values ...\n\n", r.Seed, r.Duration)
}

func newScreen(stdout io.Writer) *term.Screen {
	terminal := isTerminal(stdout)
	return term.New(stdout, term.Options{
		Live: terminal, Color: terminal && os.Getenv("NO_COLOR") == "", Width: func() int { return lineWidth(stdout) },
	})
}

// play runs the drill and shows it until its end, and then the verdict.
func play(ctx context.Context, d *drill.Drill, stdout io.Writer) error {
	screen := newScreen(stdout)
	now, updates, stop := d.Journal().Follow(term.Backlog)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	screen.Show(now, updates)
	err := <-ended
	screen.Verdict(d.Journal().Snapshot())
	return err
}
