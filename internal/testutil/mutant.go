package testutil

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Mutant is a planted defect: in one file, right code is replaced by wrong code.
type Mutant struct {
	What  string
	File  string // a path from the folder of the test
	Right string // is in the file once
	Wrong string
}

// Source returns the text of the file, of which the defect is a change.
func (m Mutant) Source(tb TB) string {
	tb.Helper()
	source, err := os.ReadFile(m.File)
	if err != nil {
		tb.Fatalf("%s: %v", m.What, err)
	}
	if n := strings.Count(string(source), m.Right); n != 1 || m.Right == m.Wrong {
		tb.Fatalf("%s: %q is in %s %d times, want once", m.What, m.Right, m.File, n)
	}
	return string(source)
}

// Build builds the test program of the test's folder with the defect, which is in a copy of the
// file, and returns its path.
func (m Mutant) Build(tb interface {
	TB
	TempDir() string
	Context() context.Context
},
) string {
	tb.Helper()
	source := m.Source(tb)
	path, err := filepath.Abs(m.File)
	if err != nil {
		tb.Fatalf("%s: %v", m.What, err)
	}
	folder := tb.TempDir()
	changed, overlay := filepath.Join(folder, filepath.Base(path)), filepath.Join(folder, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		tb.Fatalf("%s: %v", m.What, err)
	}
	for name, text := range map[string]string{changed: strings.Replace(source, m.Right, m.Wrong, 1), overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			tb.Fatalf("%s: %v", m.What, err)
		}
	}
	program := filepath.Join(folder, "mutant.test")
	build := exec.CommandContext(tb.Context(), "go", "test", "-vet=off", "-c", "-overlay", overlay, "-o", program, ".")
	if text, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("%s does not build: %v\n%s", m.What, err, text)
	}
	return program
}
