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

// Markdown writes of each drill the verdict, the table of all phases and the settings.
func Markdown(w io.Writer, drills []record.Record) error {
	var b strings.Builder
	for i, r := range drills {
		if i > 0 {
			b.WriteString("\n")
		}
		markdown(&b, r)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func markdown(b *strings.Builder, r record.Record) {
	fmt.Fprintf(b, "# cachedrill, %s: %s\n\n%s, %.0f s, seed %d.\n\n", r.Scenario, verdict(r), r.Started.Format(time.RFC1123Z), r.Elapsed, r.Seed)
	if r.Story != nil {
		for _, sentence := range r.Story.Sentences {
			fmt.Fprintf(b, "%s\n\n", sentence)
		}
	}
	for _, p := range r.Promises {
		mark := "kept"
		if !p.Kept {
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

func verdict(r record.Record) string {
	switch r.Verdict {
	case record.Kept:
		return "all promises kept"
	case record.Broken:
		return "a promise was broken"
	default:
		return "interrupted; the promises are judged on what was measured"
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
