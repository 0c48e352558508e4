// Command dashboards writes the Grafana dashboards of docs/observability, and the table of metrics
// in its README, from the tables of package metrics. `go generate ./internal/metrics` runs it.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboards FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

// write brings all files in the folder up to date.
func write(folder string) error {
	files, err := render(folder)
	if err != nil {
		return err
	}
	var failed []error
	for name, text := range files {
		failed = append(failed, os.WriteFile(filepath.Join(folder, name), text, 0o644)) //nolint:gosec // they are docs.
	}
	return errors.Join(failed...)
}

// render makes the text of all files, by name.
func render(folder string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	for _, d := range dashboards() {
		text, err := d.render()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.file, err)
		}
		files[d.file+".json"] = text
	}
	readme, err := os.ReadFile(filepath.Join(folder, "README.md")) //nolint:gosec // the caller's own folder.
	if err != nil {
		return nil, err
	}
	if files["README.md"], err = withTables(readme); err != nil {
		return nil, fmt.Errorf("README.md: %w", err)
	}
	return files, nil
}
