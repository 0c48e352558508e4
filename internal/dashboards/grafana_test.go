package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// board is a dashboard as Grafana reads it, as far as ours use its schema.
type board struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct{ List []choice }
	Panels        []drawn
}

type choice struct {
	Name, Type, Query, AllValue string
	Refresh                     int
	IncludeAll, Multi           bool
	Datasource                  reference
}

type reference struct{ Type, UID string }

type drawn struct {
	ID                       int
	Type, Title, Description string
	Datasource               reference
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		RefID, Expr, LegendFormat, Format string
		Instant                           bool
		Datasource                        reference
	}
}

// boards are all dashboards, as files.
func boards(t *testing.T) map[string]board {
	t.Helper()
	all := make(map[string]board)
	for _, d := range dashboards() {
		text, err := d.render()
		if err != nil {
			t.Fatal(err)
		}
		var b board
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatal(err)
		}
		all[d.file] = b
	}
	return all
}

// Grafana takes nearly anything, and then shows nothing, or the wrong thing.
func TestDashboardsAreWhatGrafanaReads(t *testing.T) {
	uids := make(map[string]bool)
	for file, b := range boards(t) {
		if uids[b.UID] || b.UID == "" || len(b.UID) > 40 || b.Title == "" || b.SchemaVersion < 36 || len(b.Panels) == 0 {
			t.Errorf("%s has the uid %q, the title %q, schema %d and %d panels", file, b.UID, b.Title, b.SchemaVersion, len(b.Panels))
		}
		uids[b.UID] = true
		checkVariables(t, file, b.Templating.List)
		titles, ids := make(map[string]bool), make(map[int]bool)
		for i, p := range b.Panels {
			if titles[p.Title] || ids[p.ID] || p.ID < 1 || p.Description == "" || !slices.Contains([]string{"timeseries", "table"}, p.Type) {
				t.Errorf("%s: panel %d is %q, a %s, without a description or not the first of its name or id", file, p.ID, p.Title, p.Type)
			}
			titles[p.Title], ids[p.ID] = true, true
			if p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X < 0 || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: panel %q does not fit the grid of 24 columns: %+v", file, p.Title, p.GridPos)
			}
			for _, other := range b.Panels[:i] {
				if p.overlaps(other) {
					t.Errorf("%s: panels %q and %q overlap", file, p.Title, other.Title)
				}
			}
			checkTargets(t, file, p)
		}
	}
}

func (p drawn) overlaps(q drawn) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// checkVariables: first the data source, then what the expressions choose by, each filled anew when
// the dashboard is used.
func checkVariables(t *testing.T, file string, list []choice) {
	t.Helper()
	var names []string
	for i, v := range list {
		names = append(names, v.Name)
		if i == 0 {
			if v.Type != "datasource" || v.Query != "prometheus" {
				t.Errorf("%s: the data source is chosen by %+v", file, v)
			}
			continue
		}
		if v.Type != "query" || !v.IncludeAll || !v.Multi || v.AllValue != ".*" || v.Refresh == 0 || v.Datasource != (reference{"prometheus", "${datasource}"}) {
			t.Errorf("%s: the variable %s is %+v", file, v.Name, v)
		}
		if !strings.HasPrefix(v.Query, "label_values(") || !strings.HasSuffix(v.Query, ", "+v.Name+")") {
			t.Errorf("%s: the variable %s is filled by %s", file, v.Name, v.Query)
		}
		for _, before := range names[1:i] {
			if !strings.Contains(v.Query, before+`=~"$`+before+`"`) {
				t.Errorf("%s: the variable %s does not follow %s: %s", file, v.Name, before, v.Query)
			}
		}
	}
	if !slices.Equal(names, []string{"datasource", "job", "client", "instance"}) {
		t.Errorf("%s has the variables %v", file, names)
	}
}

var (
	aggregated = regexp.MustCompile(`(?:sum|max|min|count) by \(([^)]*)\)`)
	inLegend   = regexp.MustCompile(`{{(\w+)}}`)
	ranged     = regexp.MustCompile(`\[[^\]]*\]`)
	named      = regexp.MustCompile(`holdfast_\w+(.)`)
)

// checkTargets: a legend tells apart what the aggregation does, and names no label that it takes
// away; a counter is never shown as it is; a rate looks back as far as the scrapes are apart.
func checkTargets(t *testing.T, file string, p drawn) {
	t.Helper()
	refs := make(map[string]bool)
	for _, target := range p.Targets {
		if refs[target.RefID] || target.RefID == "" || target.Datasource != (reference{"prometheus", "${datasource}"}) {
			t.Errorf("%s, %q: a target has the id %q and the data source %+v", file, p.Title, target.RefID, target.Datasource)
		}
		refs[target.RefID] = true
		by := strings.Split(aggregated.FindStringSubmatch(target.Expr)[1], ", ")
		by = slices.DeleteFunc(by, func(l string) bool { return l == "le" })
		var legend []string
		for _, l := range inLegend.FindAllStringSubmatch(target.LegendFormat, -1) {
			legend = append(legend, l[1])
		}
		if slices.Sort(by); !slices.Equal(by, slices.Sorted(slices.Values(legend))) {
			t.Errorf("%s, %q: the legend %q does not fit %s", file, p.Title, target.LegendFormat, target.Expr)
		}
		for _, window := range ranged.FindAllString(target.Expr, -1) {
			if window != "[$__rate_interval]" {
				t.Errorf("%s, %q looks back %s", file, p.Title, window)
			}
		}
		if counts := strings.Contains(target.Expr, "_total") || strings.Contains(target.Expr, "_bucket"); counts != strings.Contains(target.Expr, "[") {
			t.Errorf("%s, %q: a counter without rate or increase, or a gauge with: %s", file, p.Title, target.Expr)
		}
		for _, name := range named.FindAllStringSubmatch(target.Expr, -1) {
			if name[1] != "{" {
				t.Errorf("%s, %q: not all series are chosen by the variables: %s", file, p.Title, target.Expr)
			}
		}
		if strings.Count(target.Expr, chosen) != len(named.FindAllString(target.Expr, -1)) {
			t.Errorf("%s, %q: not all series are chosen by the variables: %s", file, p.Title, target.Expr)
		}
		if table := p.Type == "table"; table != (target.Format == "table") || table != target.Instant {
			t.Errorf("%s, %q: a %s with the format %q", file, p.Title, p.Type, target.Format)
		}
	}
}

// A gauge that is best at 1 is shown by the process where it is least, a share by the process where
// it is greatest: a fleet of 20 in which one is in trouble must not look well, nor must 20 shares
// be added up.
func TestAFleetShowsItsWorstProcess(t *testing.T) {
	want := map[string]string{
		"holdfast_redis_primary_up": "min", "holdfast_redis_sentinels_up": "min", "holdfast_groupcache_etcd_up": "min",
		"holdfast_groupcache_etcd_registered": "min", "holdfast_groupcache_dns_last_update_timestamp_seconds": "min",
		"holdfast_breaker_open_seconds_total": "max", "holdfast_redis_unavailable_seconds_total": "max", "holdfast_autorefresh_stale_items": "max",
	}
	for file, b := range boards(t) {
		if file == "overview" {
			continue
		}
		for _, p := range b.Panels {
			for _, target := range p.Targets {
				for metric, function := range want {
					if strings.Contains(target.Expr, metric+"{") {
						delete(want, metric)
						if !strings.Contains(target.Expr, function+" by (") {
							t.Errorf("%s: %s, want the %s", file, target.Expr, function)
						}
					}
				}
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("on no panel: %v", want)
	}
}
