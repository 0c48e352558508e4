package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

func measured(t *testing.T, figure string) *tables.Book {
	t.Helper()
	b := tables.NewBook(io.Discard)
	b.Notef("a machine")
	err := b.Add(tables.Table{
		Title: "get: reads", Columns: []string{"callers", "÷ raw"}, Rows: [][]string{{"64", figure}},
		Unit: "reads a second", Chart: []tables.Group{{Name: "64", Bars: []tables.Bar{{Name: "holdfast", Value: 3}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReportHasAllPartsAndTheirCharts(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	old := filepath.Join(folder, "report-gone-get.svg")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := report{date: time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC), quick: true, folder: folder, sections: []section{
		{program: program{name: "far", folder: "memcache", title: "far away"}, args: []string{"-clients", "a b"}, load: "0.5", book: measured(t, "2.5")},
		{program: program{name: "next", folder: "next", title: "next"}, book: tables.NewBook(io.Discard), failed: errors.New("no server")},
	}}
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2026-05-04, short runs", "`make bench BENCHFLAGS=-quick`", "## far away", `cd bench && go run ./memcache -clients "a b"`, "- a machine\n",
		"- load before it began: 0.5\n", "### get: reads", "| 64 | 2.5 |", "](report-far-get.svg)", "**Not whole**: no server.",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "report-far-get.svg")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("a chart of an earlier report: %v, want that it is gone", err)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	b := bound{"far", "get: reads", "÷ raw", []string{"64"}, 2, 3}
	for figure, wrong := range map[string]bool{"1.9": true, "2": false, "3.0 (4)": false, "3.1": true, "none": true} {
		if err := b.check(measured(t, figure)); (err != nil) != wrong {
			t.Errorf("%s: %v", figure, err)
		}
	}
	b.table = "set: writes"
	if b.check(measured(t, "2")) == nil {
		t.Error("a table that is not there passes")
	}
}

// A bound of a program that does not run would never fail.
func TestPrograms(t *testing.T) {
	t.Parallel()
	smoked := make(map[string]bool)
	for _, p := range programs() {
		smoked[p.name] = p.smoke != nil
		if _, err := os.Stat(filepath.Join("..", p.folder, "main.go")); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
		if p.args == nil || p.quick == nil {
			t.Errorf("%s is left out of the report", p.name)
		}
	}
	for _, b := range bounds() {
		if !smoked[b.program] {
			t.Errorf("a bound of %q, which has no short run", b.program)
		}
	}
}
