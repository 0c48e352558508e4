package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/observe"
)

const docs = "../../docs/observability"

// The files in docs are those that the tables make: a metric that is new, or renamed, is on a
// dashboard and in the README at once.
func TestFilesAreUpToDate(t *testing.T) {
	files, err := render(docs)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(dashboards())+1 {
		t.Errorf("%d files, want a dashboard each and the README", len(files))
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not up to date (%v): run go generate ./internal/metrics", name, err)
		}
	}
}

// A metric that is not shown is a decision, and a panel has one unit.
func TestRowsNeedAPanelOrAReason(t *testing.T) {
	for want, declare := range map[string]func(*observe.Table){
		"holdfast_x_calls_total is on no panel": func(t *observe.Table) { t.Counter("calls_total", "Calls.") },
		`its unit is s, not cps`: func(t *observe.Table) {
			t.Counter("calls_total", "Calls.").Shown("Calls")
			t.Seconds("time_seconds", "Time.").Shown("Calls")
		},
		"": func(t *observe.Table) {
			t.Counter("calls_total", "Calls.").Hide("a test")
			t.Gauge("a", "A.").Shown("Gauges")
			t.Gauge("b", "B.").Shown("Gauges")
		},
	} {
		table := observe.NewTable("x", "client", "")
		declare(table)
		panels, err := panelsOf(table)
		switch {
		case want == "" && (err != nil || len(panels) != 1 || len(panels[0].targets) != 2):
			t.Errorf("panels %+v, %v", panels, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestReadmeWithoutMarksIsLeftAlone(t *testing.T) {
	if _, err := withTables([]byte("# Observability\n")); err == nil {
		t.Error("no error")
	}
}
