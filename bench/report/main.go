// Command report runs the comparisons with other libraries one after the other, each with its
// contestants in turn, and writes what they measured into one document, with charts. With -smoke it
// runs short ones and fails if an allocation or a ratio is far from what it is to be.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

// config are the choices of a run.
type config struct {
	length string // full, quick or smoke
	folder string // of the report; "": none
	only   []string
}

func main() {
	c, err := parse()
	if err == nil {
		err = run(c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func parse() (config, error) {
	c := config{length: "full"}
	quick := flag.Bool("quick", false, "shorter runs: a quarter of an hour in all, not an hour and a half")
	smoke := flag.Bool("smoke", false, "the shortest runs, no report: are allocations and ratios what they are to be?")
	only := flag.String("only", "", "programs to run, comma-separated: "+strings.Join(names(), ", "))
	flag.StringVar(&c.folder, "o", "", "folder to write report.md and its charts into; none: print only")
	flag.Parse()
	switch {
	case *quick && *smoke:
		return c, errors.New("-quick and -smoke exclude each other")
	case *quick:
		c.length = "quick"
	case *smoke:
		c.length = "smoke"
		if c.folder != "" {
			return c, errors.New("-smoke writes no report: leave out -o")
		}
	}
	if *only != "" {
		c.only = strings.Split(*only, ",")
	}
	for _, name := range c.only {
		if !slices.Contains(names(), name) {
			return c, fmt.Errorf("no program %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	return c, nil
}

func names() (all []string) {
	for _, p := range programs() {
		all = append(all, p.name)
	}
	return all
}

// flags are the program's for runs of a length; nil: it is left out.
func (p program) flags(length string) []string {
	return map[string][]string{"full": p.args, "quick": p.quick, "smoke": p.smoke}[length]
}

func run(c config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	work, err := os.MkdirTemp("", "report")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	var chosen []program
	for _, p := range programs() {
		if p.flags(c.length) == nil || len(c.only) > 0 && !slices.Contains(c.only, p.name) {
			continue
		}
		chosen = append(chosen, p)
		if err := command(ctx, "go", "build", "-o", filepath.Join(work, p.folder), "./"+p.folder); err != nil {
			return fmt.Errorf("build ./%s: %w", p.folder, err) // nothing is built while something is measured
		}
	}
	r := report{date: time.Now(), quick: c.length == "quick", folder: c.folder}
	var failures error
	for _, p := range chosen {
		s := r.measure(ctx, p, c.length, work)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.failed != nil {
			failures = errors.Join(failures, fmt.Errorf("%s: %w", p.name, s.failed))
		}
		r.sections = append(r.sections, s)
	}
	if c.length == "smoke" {
		return errors.Join(failures, r.check())
	}
	return errors.Join(failures, r.write())
}

func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its servers
	cmd.WaitDelay = time.Minute
	return cmd.Run()
}

// measure runs a program. What it measured before it failed is in the section, too.
func (r report) measure(ctx context.Context, p program, length, work string) section {
	s := section{program: p, args: p.flags(length), load: load()}
	fmt.Printf("\n== %s: %s %s\n", p.name, p.folder, strings.Join(s.args, " "))
	kept := filepath.Join(work, p.name+".json")
	args := slices.Concat(s.args, []string{"-keep", kept})
	if p.folder == "hitratio" && r.folder != "" {
		args = append(args, "-svg", filepath.Join(r.folder, hitRatios))
	}
	began := time.Now()
	err := command(ctx, filepath.Join(work, p.folder), args...)
	s.took = time.Since(began)
	if err != nil {
		err = fmt.Errorf("%s %s: %w", p.folder, strings.Join(s.args, " "), err)
	}
	book, missing := tables.Open(kept)
	if missing != nil {
		book = tables.NewBook(os.Stdout)
	}
	s.book, s.failed = book, errors.Join(err, missing)
	return s
}
