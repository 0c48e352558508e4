package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

type object = map[string]any

// render is the dashboard as Grafana imports it.
func (d dashboard) render() ([]byte, error) {
	panels := slices.Clone(d.first)
	for _, t := range d.tables {
		more, err := panelsOf(t)
		if err != nil {
			return nil, err
		}
		panels = append(panels, more...)
	}
	drawn := make([]object, len(panels))
	for i, p := range panels {
		drawn[i] = p.render(i)
	}
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	err := out.Encode(object{
		"title": d.title, "uid": "holdfast-" + d.file, "tags": []string{"holdfast"}, "schemaVersion": 39, "version": 1, "editable": true,
		"time": object{"from": "now-1h", "to": "now"}, "refresh": "10s",
		"templating": object{"list": []object{
			{"name": "datasource", "type": "datasource", "query": "prometheus"},
			variable("job", d.clients), variable("client", d.clients, "job"), variable("instance", d.clients, "job", "client"),
		}},
		"links":  []object{{"type": "dashboards", "tags": []string{"holdfast"}, "title": "Holdfast", "asDropdown": true}},
		"panels": drawn,
	})
	return text.Bytes(), err
}

// variable chooses values of a label of a metric, of those that fit what the variables before it
// have chosen.
func variable(label, metric string, before ...string) object {
	for _, b := range before {
		metric = strings.TrimSuffix(metric, "}") + map[bool]string{true: ",", false: "{"}[strings.Contains(metric, "{")] + b + `=~"$` + b + `"}`
	}
	const onTimeRange = 2 // when its values are looked up again; 0 would be never
	return object{
		"name": label, "label": label, "type": "query", "datasource": source(), "refresh": onTimeRange, "sort": 1,
		"query": "label_values(" + metric + ", " + label + ")", "definition": "label_values(" + metric + ", " + label + ")",
		"includeAll": true, "multi": true, "allValue": ".*", "current": object{"text": "All", "value": "$__all"},
	}
}

func source() object { return object{"type": "prometheus", "uid": "${datasource}"} }

// render draws the panel with number i: two a row.
func (p panel) render(i int) object {
	const height, width = 8, 12
	targets := make([]object, len(p.targets))
	for j, t := range p.targets {
		targets[j] = object{"refId": string(rune('A' + j)), "expr": t.expr, "legendFormat": t.legend, "datasource": source()}
		if p.table {
			targets[j]["instant"], targets[j]["format"] = true, "table"
		}
	}
	custom := object{"fillOpacity": 10, "lineWidth": 1}
	switch {
	case p.table:
		custom = object{"filterable": true}
	case p.bars:
		custom = object{"fillOpacity": 60, "lineWidth": 1, "drawStyle": "bars"}
	}
	defaults := object{"unit": p.unit, "min": 0, "custom": custom}
	if p.unit == unitShare {
		defaults["max"] = 1
	}
	if p.mappings != nil {
		options := make(object)
		for value, text := range p.mappings {
			options[value] = object{"text": text}
		}
		defaults["mappings"] = []object{{"type": "value", "options": options}}
	}
	kind := "timeseries"
	if p.table {
		kind = "table"
	}
	return object{
		"id": i + 1, "type": kind, "title": p.title, "description": p.help, "datasource": source(),
		"gridPos":     object{"h": height, "w": width, "x": i % 2 * width, "y": i / 2 * height},
		"fieldConfig": object{"defaults": defaults, "overrides": []object{}},
		"options": object{
			"legend": object{"displayMode": "list", "placement": "bottom"}, "tooltip": object{"mode": "multi"},
		},
		"targets": targets,
	}
}
