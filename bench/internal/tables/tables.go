// Package tables prints what a benchmark has measured, and keeps it for the report.
package tables

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Table is what one part of a benchmark has measured.
type Table struct {
	Title   string
	Columns []string
	Rows    [][]string // each as long as Columns
	Chart   []Group    `json:",omitempty"` // what a chart of it shows; nil: it has none
	Unit    string     `json:",omitempty"` // of the chart's bars
}

// Group are bars of a chart that stand together.
type Group struct {
	Name string
	Bars []Bar
}

// Bar is one of them.
type Bar struct {
	Name  string
	Value float64
}

// Print writes the table as a terminal shows it.
func (t Table) Print(to io.Writer) error {
	if t.Title != "" {
		if _, err := fmt.Fprintln(to, "\n"+t.Title); err != nil {
			return err
		}
	}
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		if _, err := fmt.Fprintln(out, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return out.Flush()
}

// Markdown returns the table's rows as Markdown.
func (t Table) Markdown() string {
	var b strings.Builder
	line := func(cells []string) {
		b.WriteByte('|')
		for _, c := range cells {
			b.WriteString(" " + strings.ReplaceAll(strings.TrimSpace(c), "|", `\|`) + " |")
		}
		b.WriteByte('\n')
	}
	line(t.Columns)
	b.WriteString(strings.Repeat("|---", len(t.Columns)) + "|\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}

// Number returns the first number in the named column of the first row that has all of the given
// cells.
func (t Table) Number(column string, cells ...string) (float64, error) {
	at := index(t.Columns, column)
	if at < 0 {
		return 0, fmt.Errorf("%q has no column %q; it has %q", t.Title, column, t.Columns)
	}
	for _, row := range t.Rows {
		if at >= len(row) || !hasAll(row, cells) {
			continue
		}
		for word := range strings.FieldsSeq(row[at]) {
			if n, err := strconv.ParseFloat(word, 64); err == nil {
				return n, nil
			}
		}
		return 0, fmt.Errorf("%q has no number in %q of %q: %q", t.Title, column, cells, row[at])
	}
	return 0, fmt.Errorf("%q has no row with %q", t.Title, cells)
}

func hasAll(row, cells []string) bool {
	for _, c := range cells {
		if index(row, c) < 0 {
			return false
		}
	}
	return true
}

func index(row []string, cell string) int {
	for i, c := range row {
		if strings.TrimSpace(c) == cell {
			return i
		}
	}
	return -1
}

// Book has the tables of a run.
type Book struct {
	Notes  []string // of the run: machine, versions, parts not measured
	Tables []Table

	to   io.Writer
	file string // "": it is not kept
}

// NewBook makes a book that also prints all that is added to it.
func NewBook(to io.Writer) *Book { return &Book{to: to} }

// Notef adds a note and prints it.
func (b *Book) Notef(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	b.Notes = append(b.Notes, note)
	_, _ = fmt.Fprintln(b.to, note)
	_ = b.write() // the next table says so
}

// Add adds a table and prints it.
func (b *Book) Add(t Table) error {
	b.Tables = append(b.Tables, t)
	return errors.Join(t.Print(b.to), b.write())
}

// Keep has the book written to a file, now and each time that something is added: what was measured
// is there, whatever becomes of the rest. It does nothing for the name "".
func (b *Book) Keep(file string) error {
	b.file = file
	return b.write()
}

func (b *Book) write() error {
	if b.file == "" {
		return nil
	}
	text, err := json.MarshalIndent(b, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(b.file, append(text, '\n'), 0o600)
}

// KeepUsage is the usage of the flag that names Keep's file.
const KeepUsage = "file to write the tables to as JSON, too, for the report"

// Open reads what Keep has written.
func Open(file string) (*Book, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	b := NewBook(io.Discard)
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}
