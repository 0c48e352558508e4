package tables_test

import (
	"encoding/xml"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

func example() tables.Table {
	return tables.Table{
		Title: "reads", Columns: []string{"", "callers", "÷ raw", "errors"},
		Rows:  [][]string{{"get", "1", "≥ 0.98 yes", "0/0"}, {"get", "64", "4.31", "none"}},
		Unit:  "reads a second",
		Chart: []tables.Group{{"1 caller", []tables.Bar{{"a<b", 2}, {"ours", 4}}}, {"64", []tables.Bar{{"ours", 0}}}},
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		column string
		cells  []string
		want   float64
		refuse string
	}{
		{"÷ raw", []string{"get", "64"}, 4.31, ""},
		{"÷ raw", []string{"get", "1"}, 0.98, ""},
		{"÷ raw", []string{"set"}, 0, "no row"},
		{"p99", []string{"get"}, 0, "no column"},
		{"errors", []string{"64"}, 0, "no number"},
	} {
		got, err := example().Number(c.column, c.cells...)
		if got != c.want || (err == nil) != (c.refuse == "") || err != nil && !strings.Contains(err.Error(), c.refuse) {
			t.Errorf("%s of %q: %v, %v, want %v, %q", c.column, c.cells, got, err, c.want, c.refuse)
		}
	}
}

// A program whose later part failed lost the tables of those before: a book is kept as it grows.
func TestBookKeepsWhatItPrints(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	b := tables.NewBook(&out)
	file := filepath.Join(t.TempDir(), "book.json")
	if err := b.Keep(file); err != nil {
		t.Fatal(err)
	}
	b.Notef("a machine of %d processors", 2)
	if err := b.Add(example()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a machine of 2 processors\n", "\nreads\n", "get  64       4.31        none\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	again, err := tables.Open(file)
	if err != nil || !reflect.DeepEqual(again.Tables, b.Tables) || !reflect.DeepEqual(again.Notes, b.Notes) {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	got := tables.Table{Columns: []string{"", "a|b"}, Rows: [][]string{{"  x", "1"}}}.Markdown()
	if want := "|  | a\\|b |\n|---|---|\n| x | 1 |\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Numbers are rounded to three digits, and have no exponents.
func TestNumbersOfAChart(t *testing.T) {
	t.Parallel()
	bars := []tables.Bar{{"a", 118_234}, {"b", 4.5678}, {"c", 1e7}}
	picture := tables.Table{Title: "reads", Chart: []tables.Group{{"1 caller", bars}}}.SVG()
	for _, want := range []string{">118000<", ">4.57<", ">10000000<"} {
		if !strings.Contains(picture, want) {
			t.Errorf("no %s in %s", want, picture)
		}
	}
}

// A chart is well-formed, whatever the names, and a bar of nothing has no width.
func TestChart(t *testing.T) {
	t.Parallel()
	picture := example().SVG()
	d := xml.NewDecoder(strings.NewReader(picture))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, picture)
		}
	}
	for _, want := range []string{">a&lt;b<", `width="440.0"`, `width="220.0"`, `width="0.0"`, ">reads a second<"} {
		if !strings.Contains(picture, want) {
			t.Errorf("no %s in %s", want, picture)
		}
	}
}
