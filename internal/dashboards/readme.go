package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-go/holdfast/internal/metrics"
)

const (
	begin = "<!-- metrics: written by go generate ./internal/metrics -->\n"
	end   = "<!-- end of metrics -->\n"
)

// withTables replaces what stands between the marks by the tables of all metrics.
func withTables(readme []byte) ([]byte, error) {
	before, rest, found := bytes.Cut(readme, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !found || !ended {
		return nil, errors.New("the marks around the tables of metrics are missing")
	}
	var text bytes.Buffer
	text.Write(before)
	text.WriteString(begin)
	text.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, t := range metrics.All() {
		for _, r := range t.Rows() {
			fmt.Fprintf(&text, "| `%s` | %s | %s | %s |\n", r.Name, r.Type, strings.Join(r.Labels, ", "), strings.ReplaceAll(r.Help, "|", `\|`))
		}
	}
	text.WriteString(end)
	text.Write(after)
	return text.Bytes(), nil
}
