package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// panel is one graph.
type panel struct {
	title, help string
	unit        string // as Grafana calls it
	table       bool   // the present values as a table
	bars        bool   // events, each of which is to be seen
	targets     []target
	mappings    map[string]string // of values to text
}

// target is one expression.
type target struct{ expr, legend string }

const (
	unitRate  = "cps"
	unitShare = "percentunit"
	unitCount = "short"
	unitTime  = "s"
	unitBytes = "bytes"

	// chosen is what the variables of a dashboard choose, selector that alone.
	chosen   = `job=~"$job",instance=~"$instance",client=~"$client"`
	selector = `{` + chosen + `}`
)

// panelsOf makes a table's panels, in the order in which its rows name them. A row on no panel
// needs a reason, and rows on one panel need the same unit.
func panelsOf(table *observe.Table) ([]panel, error) {
	var panels []panel
	for _, row := range table.Rows() {
		switch {
		case row.Panel == "" && row.Hidden == "":
			return nil, fmt.Errorf("%s is on no panel, without a reason", row.Name)
		case row.Panel == "":
			continue
		}
		p := panelOf(row)
		at := slices.IndexFunc(panels, func(other panel) bool { return other.title == p.title })
		if at < 0 {
			panels = append(panels, p)
			continue
		}
		first := &panels[at]
		if first.unit != p.unit || first.table != p.table || first.bars != p.bars {
			return nil, fmt.Errorf("%s does not fit on panel %q: its unit is %s, not %s", row.Name, p.title, p.unit, first.unit)
		}
		first.targets = append(first.targets, p.targets...)
		first.help += " " + p.help
	}
	return panels, nil
}

func panelOf(row *observe.Row) panel {
	p := panel{title: row.Panel, help: row.Help, unit: unitCount}
	labels := append([]string{"job"}, row.Labels...)
	legend := make([]string, 0, len(labels)+1)
	for _, l := range labels {
		legend = append(legend, "{{"+l+"}}")
	}
	by, worst := strings.Join(labels, ", "), "max"
	if row.Low {
		worst = "min"
	}
	short := row.Name[strings.Index(row.Name[len(observe.Prefix):], "_")+len(observe.Prefix)+1:]
	add := func(expr string, more ...string) {
		p.targets = append(p.targets, target{expr, strings.Join(append(slices.Clone(legend), more...), " ")})
	}
	switch {
	case row.Type == observe.TypeHistogram:
		p.unit = unitTime
		if strings.HasSuffix(row.Name, "_bytes") {
			p.unit = unitBytes
		}
		for _, q := range []string{"0.5", "0.99"} {
			add(fmt.Sprintf("histogram_quantile(%s, sum by (%s, le) (rate(%s_bucket%s[$__rate_interval])))", q, by, row.Name, selector),
				"p"+strings.TrimPrefix(q+"0", "0.")[:2])
		}
	case row.Type == observe.TypeCounter:
		var expr string
		expr, p.unit, p.bars = counting(row, by)
		add(expr, strings.TrimSuffix(short, "_total"))
	case strings.HasSuffix(row.Name, "_timestamp_seconds"):
		p.unit = unitTime
		add(fmt.Sprintf("time() - %s by (%s) (%s%s > 0)", worst, by, row.Name, selector))
	case strings.HasSuffix(row.Name, "_info"):
		p.table = true
		add(fmt.Sprintf("max by (%s) (%s%s)", by, row.Name, selector))
	default:
		if strings.HasSuffix(row.Name, "_bytes") || strings.HasSuffix(row.Name, "groupcache_bytes") {
			p.unit = unitBytes
		} else if strings.HasSuffix(row.Name, "_seconds") {
			p.unit = unitTime
		}
		add(fmt.Sprintf("%s by (%s) (%s%s)", worst, by, row.Name, selector), short)
	}
	if row.Name == observe.Prefix+"breaker_state" {
		p.mappings = states()
	}
	return p
}

// counting is what a counter is shown by, in which unit, and whether as bars.
func counting(row *observe.Row, by string) (expr, unit string, bars bool) {
	series := row.Name + selector + "[$__rate_interval]"
	switch {
	case strings.HasSuffix(row.Name, "_seconds_total"): // the share of the time, of the process that had most of it
		return fmt.Sprintf("max by (%s) (rate(%s))", by, series), unitShare, false
	case row.Rare:
		return fmt.Sprintf("sum by (%s) (increase(%s))", by, series), unitCount, true
	case slices.Contains(row.Labels, "op"): // a hundred lines else, most of them at 0
		return fmt.Sprintf("sum by (%s) (rate(%s)) > 0", by, series), unitRate, false
	}
	return fmt.Sprintf("sum by (%s) (rate(%s))", by, series), unitRate, false
}

// states are those of a breaker, as its metric counts them.
func states() map[string]string {
	return map[string]string{"0": "closed", "1": "half-open", "2": "open", "3": "forced open", "4": "forced closed"}
}
