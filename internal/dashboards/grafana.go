package main

import (
	"bytes"
	"encoding/json"
	"slices"
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
			{
				"name": "client", "type": "query", "datasource": source(), "query": "label_values(" + d.clients + ", client)",
				"includeAll": true, "multi": true, "allValue": ".*", "current": object{"text": "All", "value": "$__all"},
			},
		}},
		"links":  []object{{"type": "dashboards", "tags": []string{"holdfast"}, "title": "Holdfast", "asDropdown": true}},
		"panels": drawn,
	})
	return text.Bytes(), err
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
	defaults := object{"unit": p.unit, "min": 0, "custom": object{"fillOpacity": 10, "lineWidth": 1}}
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
