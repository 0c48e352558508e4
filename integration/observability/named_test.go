package observability_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

var (
	// metric is a name, or the end of one after an ellipsis, with the labels behind it.
	metric = regexp.MustCompile(`(\bholdfast_[a-z_]+|…[a-z_]*)(?:\{([^}\n]*)\})?`)
	label  = regexp.MustCompile(`([a-z_]+)(?:(=~|!~|!=|=)\\?"([^"\\]*)\\?")?`)
	plain  = regexp.MustCompile(`^[a-z_]+$`)
)

// TestMetricsExist: an alert on a metric or a label that was renamed never fires, and nobody
// notices; a document that names one sends its reader to an empty graph.
func TestMetricsExist(t *testing.T) {
	for pattern, least := range map[string]int{
		folder + "/*.yml": 20, folder + "/*.json": 5, folder + "/README.md": 50,
		folder + "/../*.md": 0, "../../README.md": 0, "../../*/*/README.md": 0,
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			used := metric.FindAllStringSubmatch(string(text), -1)
			if len(used) < least {
				t.Errorf("%s: only %d metrics found: the check does not see them", file, len(used))
			}
			for _, m := range used {
				if err := exists(m[1], m[2]); err != nil {
					t.Errorf("%s: %s: %v", file, m[0], err)
				}
			}
		}
	}
}

// exists looks for a metric with such labels. An ellipsis alone is one of any name if it has
// labels, and otherwise none.
func exists(name, labels string) error {
	end, short := strings.CutPrefix(name, "…")
	if end == "" && labels == "" || strings.HasSuffix(name, "_") { // as in holdfast_breaker_*
		return nil
	}
	var err error
	for _, table := range metrics.All() {
		for _, row := range table.Rows() {
			if !isCalled(row, name) && (!short || !strings.HasSuffix(row.Name, end)) {
				continue
			}
			if err = hasLabels(row, labels); err == nil {
				return nil
			}
		}
	}
	if err == nil {
		return fmt.Errorf("there is none of this name")
	}
	return err
}

// isCalled reports whether a name is that of a metric, or of a series of a histogram.
func isCalled(row *observe.Row, name string) bool {
	if row.Type == observe.TypeHistogram {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
	}
	return row.Name == name
}

// hasLabels compares labels as in a selector. What they may be is in the help of the metric.
func hasLabels(row *observe.Row, selector string) error {
	for _, l := range label.FindAllStringSubmatch(selector, -1) {
		name, values := l[1], strings.Split(l[3], "|")
		switch {
		case slices.Contains([]string{"job", "instance", "le"}, name): // Prometheus has them
			continue
		case !slices.Contains(row.Labels, name):
			return fmt.Errorf("%s has no label %s, but %v", row.Name, name, row.Labels)
		case slices.Contains([]string{"client", "endpoint", "group", "kind", "op"}, name): // the user's names, and commands
			continue
		}
		for _, v := range values {
			if plain.MatchString(v) && !regexp.MustCompile(`\b`+v+`\b`).MatchString(row.Help) {
				return fmt.Errorf("%s: %s is never %q: %s", row.Name, name, v, row.Help)
			}
		}
	}
	return nil
}
