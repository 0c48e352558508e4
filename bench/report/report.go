package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

// hitRatios is the chart that the program hitratio draws itself.
const hitRatios = "groupcache-hitratio.svg"

// report is what all programs have measured.
type report struct {
	date     time.Time
	quick    bool
	folder   string // "": it is not written
	sections []section
}

// section is what one program has measured.
type section struct {
	program program
	args    []string
	load    string // of the machine, before it began; "" where that is not known
	took    time.Duration
	book    *tables.Book
	failed  error
}

// check compares the figures with their bounds.
func (r report) check() error {
	var wrong error
	for _, s := range r.sections {
		for _, b := range bounds() {
			if b.program == s.program.name && s.failed == nil {
				wrong = errors.Join(wrong, b.check(s.book))
			}
		}
	}
	return wrong
}

// write writes report.md and the charts, and removes charts of earlier reports. It does nothing
// without a folder.
func (r report) write() error {
	if r.folder == "" {
		return nil
	}
	old, err := filepath.Glob(filepath.Join(r.folder, "report-*.svg"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	for _, s := range r.sections {
		for file, picture := range s.charts() {
			if err := os.WriteFile(filepath.Join(r.folder, file), []byte(picture), 0o644); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(r.folder, "report.md"), []byte(r.markdown()), 0o644)
}

// charts are the section's pictures, by the names of their files.
func (s section) charts() map[string]string {
	all := make(map[string]string)
	for _, t := range s.book.Tables {
		if len(t.Chart) > 0 {
			all[s.chart(t)] = t.SVG()
		}
	}
	return all
}

// chart is the name of a table's chart: report-PROGRAM-PART.svg.
func (s section) chart(t tables.Table) string {
	part, _, _ := strings.Cut(t.Title, ":")
	return fmt.Sprintf("report-%s-%s.svg", s.program.name, part)
}

func (r report) markdown() string {
	var b strings.Builder
	length, flag := "", ""
	if r.quick {
		length, flag = ", short runs", " BENCHFLAGS=-quick"
	}
	fmt.Fprintf(&b, "# All comparisons in one run, %s%s\n\n", r.date.Format(time.DateOnly), length)
	fmt.Fprintf(&b, "Written by `make bench%s`. Contestants take turns; figures are medians of the rounds. Ratios say more than times,\n", flag)
	b.WriteString("and less the busier the machine was: its load before each part is noted. What the figures mean, and what earlier\nruns gave, is in [README.md](README.md).\n")
	for _, s := range r.sections {
		b.WriteString(s.markdown())
	}
	return b.String()
}

func (s section) markdown() string {
	var b strings.Builder
	words := slices.DeleteFunc(append([]string{"go", "run", "./" + s.program.folder}, quoted(s.args)...), func(w string) bool { return w == "" })
	fmt.Fprintf(&b, "\n## %s\n\n    cd bench && %s\n\n", s.program.title, strings.Join(words, " "))
	if s.failed != nil {
		fmt.Fprintf(&b, "**Not whole**: %s.\n\n", strings.ReplaceAll(s.failed.Error(), "\n", "; "))
	}
	notes := slices.Clone(s.book.Notes)
	if s.load != "" {
		notes = append(notes, "load before it began: "+s.load)
	}
	for _, n := range append(notes, "took "+s.took.Round(time.Second).String()) {
		b.WriteString("- " + n + "\n")
	}
	for _, t := range s.book.Tables {
		if t.Title != "" {
			b.WriteString("\n### " + t.Title + "\n")
		}
		if len(t.Chart) > 0 {
			fmt.Fprintf(&b, "\n![%s: %s](%s)\n", t.Title, t.Unit, s.chart(t))
		}
		b.WriteString("\n" + t.Markdown())
	}
	if s.program.folder == "hitratio" {
		fmt.Fprintf(&b, "\n![hit ratios](%s)\n", hitRatios)
	}
	return b.String()
}

// quoted are arguments as a shell takes them.
func quoted(args []string) []string {
	var all []string
	for _, a := range args {
		if strings.Contains(a, " ") {
			a = `"` + a + `"`
		}
		all = append(all, a)
	}
	return all
}

// load is the machine's load of the last minute; "" where the system does not tell it.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
