package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

// results are the verdicts of each client, one a run.
type results map[string][]verdict

// row is one line of a table: a figure of each client and what ours has to reach.
type row struct {
	id, name, target string
	variant          string // of the load, "" if there is only one
	value            func([]verdict) string
	met              func([]verdict) bool // nil where nothing has to be reached
}

// table has the rows, with a column for each client.
func (r results) table(title string, rows []row, clients []string) tables.Table {
	t := tables.Table{Title: title, Columns: slices.Concat([]string{"", "", "target"}, clients, []string{"met"})}
	for _, line := range rows {
		cells := []string{line.id, line.name, line.target}
		for _, name := range clients {
			cells = append(cells, line.cell(r[name+line.variant]))
		}
		cells = append(cells, line.judge(r[holdfastName+line.variant]))
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// gaps are each client's median of the longest times without a kept write, in milliseconds.
func (r results) gaps(clients []string) []tables.Group {
	var bars []tables.Bar
	for _, name := range clients {
		if all := r[name]; len(all) > 0 {
			gap := median(collect(all, func(v verdict) time.Duration { return v.gap }))
			bars = append(bars, tables.Bar{Name: name, Value: gap.Seconds() * 1000})
		}
	}
	return []tables.Group{{Name: "median of the runs", Bars: bars}}
}

func (r row) cell(verdicts []verdict) string {
	if len(verdicts) == 0 {
		return "-"
	}
	return r.value(verdicts)
}

func (r row) judge(ours []verdict) string {
	if r.met == nil || len(ours) == 0 {
		return ""
	}
	return yes(r.met(ours))
}

// countRow sums a count over all runs; it has to be 0 if target says so.
func countRow(id, name, target string, count func(verdict) int) row {
	sum := func(all []verdict) int {
		n := 0
		for _, v := range all {
			n += count(v)
		}
		return n
	}
	r := row{id: id, name: name, target: target, value: func(all []verdict) string { return fmt.Sprint(sum(all)) }}
	if target == "0" {
		r.met = func(all []verdict) bool { return sum(all) == 0 }
	}
	return r
}

// timeRow gives the median and the worst of a time; the worst must not exceed the limit, if there
// is one.
func timeRow(id, name string, limit time.Duration, figure func(verdict) time.Duration) row {
	r := row{id: id, name: name, value: func(all []verdict) string {
		if len(all) == 1 {
			return short(figure(all[0]))
		}
		return short(median(collect(all, figure))) + " / " + short(worst(all, figure))
	}}
	if limit > 0 {
		r.target = "≤ " + short(limit)
		r.met = func(all []verdict) bool { return worst(all, figure) <= limit }
	}
	return r
}

// gapRow gives the longest gaps; one that had not ended is marked.
func gapRow(id string, limit time.Duration) row {
	r := timeRow(id, "longest time without a kept write", limit, func(v verdict) time.Duration { return v.gap })
	plain, met := r.value, r.met
	isOpen := func(v verdict) bool { return v.open }
	r.value = func(all []verdict) string {
		if slices.ContainsFunc(all, isOpen) {
			return plain(all) + " and on"
		}
		return plain(all)
	}
	if met != nil {
		r.met = func(all []verdict) bool { return met(all) && !slices.ContainsFunc(all, isOpen) }
	}
	return r
}

func acknowledgedRow() row {
	return countRow("", "acknowledged writes", "", func(v verdict) int { return v.acknowledged })
}

func lostRow(id, target string) row {
	return countRow(id, "acknowledged writes lost", target, func(v verdict) int { return v.lost.total() })
}

func lostWhenRow() row {
	return row{name: "  before promotion + until +switch-master + after", value: func(all []verdict) string {
		var sum losses
		for _, v := range all {
			sum.before, sum.between, sum.after = sum.before+v.lost.before, sum.between+v.lost.between, sum.after+v.lost.after
		}
		return fmt.Sprintf("%d + %d + %d", sum.before, sum.between, sum.after)
	}}
}

func worstCallRow(id string, limit time.Duration) row {
	return timeRow(id, "worst call", limit, func(v verdict) time.Duration { return v.worst })
}

func stuckRow() row {
	return countRow("", "calls that had not returned at the end", "", func(v verdict) int { return v.stuck })
}

// errorRow lists the commonest kinds of errors.
func errorRow() row {
	return row{name: "errors", value: func(all []verdict) string {
		sum := make(map[string]int)
		for _, v := range all {
			for kind, n := range v.errors {
				sum[kind] += n
			}
		}
		kinds := slices.SortedFunc(maps.Keys(sum), func(a, b string) int { return sum[b] - sum[a] })
		var parts []string
		for _, kind := range kinds[:min(3, len(kinds))] {
			parts = append(parts, fmt.Sprintf("%d %s", sum[kind], kind))
		}
		if len(parts) == 0 {
			return "none"
		}
		return strings.Join(parts, ", ")
	}}
}

// short prints a time with two or three digits.
func short(d time.Duration) string {
	switch {
	case d == never:
		return "never"
	case d < 0:
		return "-" + short(-d)
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/float64(time.Microsecond))
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2g ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
