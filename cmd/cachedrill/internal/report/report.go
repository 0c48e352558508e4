// Package report writes the records of a run to files: a page, JSON and Markdown.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/page"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// Name is the name of the files, without the extension.
const Name = "cachedrill-report"

// Folder makes the folder if need be and returns it; for "" it makes a new temporary one.
func Folder(folder string) (string, error) {
	if folder == "" {
		return os.MkdirTemp("", "cachedrill-")
	}
	return folder, os.MkdirAll(folder, 0o755)
}

// Write writes the three files about the drills of one run into the folder and returns their paths,
// the page first. Files that are there already are replaced.
func Write(folder string, drills []record.Record) (paths []string, err error) {
	for _, form := range []struct {
		extension string
		write     func(io.Writer, []record.Record) error
	}{{".html", page.Report}, {".json", JSON}, {".md", Markdown}} {
		var text bytes.Buffer
		if err := form.write(&text, drills); err != nil {
			return paths, err
		}
		path := filepath.Join(folder, Name+form.extension)
		if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
			return paths, fmt.Errorf("report: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// run is the JSON form of a run of several drills.
type run struct {
	Schema int             `json:"schema"`
	Drills []record.Record `json:"drills"`
}

// JSON writes the record as it is, and several in the field "drills" of an object.
func JSON(w io.Writer, drills []record.Record) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	if len(drills) == 1 {
		return e.Encode(drills[0])
	}
	return e.Encode(run{record.Schema, drills})
}

// Markdown writes of each drill the verdict, the table of all phases and the settings, and before
// several of them a line about each.
func Markdown(w io.Writer, drills []record.Record) error {
	var b strings.Builder
	summary(&b, drills)
	for i, r := range drills {
		if i > 0 {
			b.WriteString("\n")
		}
		markdown(&b, r)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// summary says of each drill how it ended, and what users noticed most.
func summary(b *strings.Builder, drills []record.Record) {
	if len(drills) > 1 {
		b.WriteString("# cachedrill\n\n")
		for _, r := range drills {
			fmt.Fprintf(b, "- **%s**: %s.", r.Scenario, r.Ending())
			if r.Story != nil {
				b.WriteString(" " + r.Story.Headline)
			}
			b.WriteString("\n")
		}
		b.WriteString("\n")
	}
	if drills[len(drills)-1].Cut {
		b.WriteString("The scenarios after the last one were not drilled.\n\n")
	}
}

func markdown(b *strings.Builder, r record.Record) {
	fmt.Fprintf(b, "# cachedrill, %s: %s\n\n%s, %.0f s, seed %d.\n\n", r.Scenario, r.Ending(), r.Started.Format(time.RFC1123Z), r.Elapsed, r.Seed)
	if r.Story != nil {
		for _, sentence := range r.Story.Sentences {
			fmt.Fprintf(b, "%s\n\n", sentence)
		}
	}
	for _, p := range r.Promises {
		mark := "kept"
		switch {
		case p.Open:
			mark = "open"
		case !p.Kept:
			mark = "**broken**"
		}
		fmt.Fprintf(b, "- `%s`: %s, worst %s", p.Text, mark, p.Shown)
		if p.Phase != "" {
			fmt.Fprintf(b, " in phase “%s”", p.Phase)
		}
		if p.About != "" {
			fmt.Fprintf(b, " (%s)", p.About)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## Per phase\n\n")
	table(b, r.Columns(), r.Rows())
	b.WriteString("\n## What happened\n\n")
	for _, e := range r.Events {
		fmt.Fprintf(b, "- %.2f s: %s\n", e.T, e.Text)
	}
	b.WriteString("\n## What was run\n\n")
	table(b, []string{"", "", ""}, what(r))
	b.WriteString("\n")
	for _, c := range r.Conditions {
		fmt.Fprintf(b, "- %s\n", c)
	}
	b.WriteString("\n## What each figure means\n\n")
	for _, m := range record.LayoutOf(r.Scenario).Meanings {
		fmt.Fprintf(b, "- **%s**: %s\n", m.Name, m.Value)
	}
}

// what describes the drill.
func what(r record.Record) (rows [][]string) {
	for _, s := range r.Servers {
		rows = append(rows, []string{s.Name, s.Kind, s.About()})
	}
	for _, e := range append(append([]record.Entry(nil), r.Settings...), r.Versions...) {
		rows = append(rows, []string{e.Name, e.Value, e.About})
	}
	m := r.Machine
	return append(rows, []string{"machine", fmt.Sprintf("%s: %s/%s, %d CPUs", m.Host, m.OS, m.Arch, m.CPUs), strings.TrimSpace(m.CPU + " " + m.Go)})
}

func table(b *strings.Builder, heads []string, rows [][]string) {
	line := func(cells []string) {
		b.WriteString("|")
		for _, c := range cells {
			b.WriteString(" " + strings.ReplaceAll(c, "|", `\|`) + " |")
		}
		b.WriteString("\n")
	}
	line(heads)
	b.WriteString(strings.Repeat("|---", len(heads)) + "|\n")
	for _, r := range rows {
		line(r)
	}
}
