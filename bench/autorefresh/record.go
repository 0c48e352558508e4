package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

// contestants, in the order of the columns.
const (
	ours    = "holdfast"
	otters  = "otter"
	sturdys = "sturdyc"
	plain   = "plain" // what one would write by hand
)

// target is what a figure of ours has to be. The zero value is no target.
type target struct {
	sign  string // "≤" or "≥"
	value float64
}

func atMost(v float64) target  { return target{"≤", v} }
func atLeast(v float64) target { return target{"≥", v} }

func (t target) String() string {
	if t.sign == "" {
		return ""
	}
	return t.sign + " " + number(t.value)
}

func (t target) missedBy(v float64) bool {
	return t.sign == "≤" && v > t.value || t.sign == "≥" && v < t.value
}

// worst is the value that is furthest from the target.
func (t target) worst(values []float64) float64 {
	if t.sign == "≥" {
		return slices.Min(values)
	}
	return slices.Max(values)
}

// row is one figure of all contestants.
type row struct {
	what   string
	target target
	values map[string][]float64
}

// record collects the figures of the runs of a part.
type record struct{ rows []*row }

// add notes a figure of one run.
func (r *record) add(what string, t target, contestant string, value float64) {
	for _, w := range r.rows {
		if w.what == what {
			w.values[contestant] = append(w.values[contestant], value)
			return
		}
	}
	r.rows = append(r.rows, &row{what, t, map[string][]float64{contestant: {value}}})
}

// missed are the rows whose median misses the target.
func (r *record) missed() []string {
	var all []string
	for _, w := range r.rows {
		if v := w.values[ours]; len(v) > 0 && w.target.missedBy(median(v)) {
			all = append(all, fmt.Sprintf("%s: %s, target %v", w.what, number(median(v)), w.target))
		}
	}
	return all
}

// table has a column for each contestant that took part.
func (r *record) table(title string) tables.Table {
	columns := []string{ours}
	for _, name := range []string{otters, sturdys, plain} {
		if slices.ContainsFunc(r.rows, func(w *row) bool { return len(w.values[name]) > 0 }) {
			columns = append(columns, name)
		}
	}
	t := tables.Table{Title: title, Columns: append([]string{"", "target"}, columns...)}
	for _, w := range r.rows {
		cells := []string{w.what, w.target.String()}
		for _, name := range columns {
			cells = append(cells, w.cell(name))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func (w *row) cell(contestant string) string {
	values := w.values[contestant]
	if len(values) == 0 {
		return "–"
	}
	text := number(median(values))
	if contestant != ours {
		return text
	}
	if len(values) > 1 {
		text += " (" + number(w.target.worst(values)) + ")"
	}
	if w.target.missedBy(median(values)) {
		text += " MISSED"
	}
	return text
}

// number has three digits that count, and all of those before the point.
func number(v float64) string {
	switch {
	case v == float64(int64(v)) || v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
