package record_test

import (
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// measured returns what a scenario measures.
func measured(scenario string) (s record.Summary, m record.Moment) {
	switch scenario {
	case record.Memcached:
		return record.Summary{CacheSummary: &record.CacheSummary{}}, record.Moment{CacheMoment: &record.CacheMoment{}}
	case record.Groupcache:
		return record.Summary{HerdSummary: &record.HerdSummary{}}, record.Moment{HerdMoment: &record.HerdMoment{}}
	case record.Autorefresh:
		return record.Summary{AgeSummary: &record.AgeSummary{}}, record.Moment{AgeMoment: &record.AgeMoment{}}
	}
	lost, gap := 3, 1500.0
	return record.Summary{WriteSummary: &record.WriteSummary{Lost: &lost, Gap: &gap}}, record.Moment{WriteMoment: &record.WriteMoment{}}
}

func TestWhatALayoutShowsIsMeasured(t *testing.T) {
	for scenario, layout := range record.Layouts() {
		summary, moment := measured(scenario)
		check := func(from any, what, field string) {
			if _, ok := record.Value(from, field); !ok {
				t.Errorf("%s: %s has the field %q, which is not measured", scenario, what, field)
			}
		}
		charts := make(map[string]bool)
		for _, c := range layout.Charts {
			charts[c.ID] = true
			check(&moment, "chart "+c.ID, c.Field)
			if c.Needed != "" {
				check(&moment, "chart "+c.ID, c.Needed)
			}
		}
		for _, c := range layout.Live {
			check(moment, "live "+c.Name, c.Field)
		}
		for _, c := range layout.Columns {
			check(&summary, "column "+c.Name, c.Field)
		}
		for _, c := range layout.Story {
			check(&summary, "claim "+c.Text, c.Field)
			if !charts[c.Chart] || c.Worth <= 0 || strings.Count(c.Text, "%s") != 2 {
				t.Errorf("%s: the claim %+v needs a chart that exists, a worth, and two figures", scenario, c)
			}
		}
		main := 0
		for _, c := range layout.Columns {
			if c.Main {
				main++
			}
		}
		if main < 3 || main > 4 {
			t.Errorf("%s: %d main columns; a phone has room for three or four", scenario, main)
		}
		for _, tile := range layout.Tiles {
			check(&summary, "tile "+tile.Title, tile.Field)
			if !charts[tile.Chart] {
				t.Errorf("%s: the tile %q is about the chart %q, which does not exist", scenario, tile.Title, tile.Chart)
			}
		}
	}
}

func TestWhatIsNotMeasuredHasNoValue(t *testing.T) {
	for _, from := range []any{&record.Summary{}, &record.Summary{WriteSummary: &record.WriteSummary{}}} {
		for _, field := range []string{"lost_writes", "longest_gap_ms", "hit_ratio", "nonsense", ""} {
			if v, ok := record.Value(from, field); ok {
				t.Errorf("Value(%+v, %q) = %v, want none", from, field, v)
			}
		}
	}
	r := record.Record{Scenario: record.Sentinel, Phases: []record.Phase{{Title: "one", Begun: true}, {Title: "two"}}}
	rows := r.Rows()
	if len(rows) != 2 || len(rows[0]) != len(r.Columns()) || rows[1][len(rows[1])-1] != "–" {
		t.Errorf("rows %q under %q, want two, with dashes for what is not measured", rows, r.Columns())
	}
}

func TestFiguresAreWrittenByTheirUnits(t *testing.T) {
	for unit, want := range map[record.Unit]string{
		record.Milliseconds: "1.50s", record.PerSecond: "1500", record.Count: "1500", record.Share: "150000.0%",
		record.PercentUnit: "1500.00%", record.Factor: "1500.00x",
	} {
		if got := unit.Format(1500); got != want {
			t.Errorf("%q: 1500 is written %q, want %q", unit, got, want)
		}
	}
}

func TestANoteTellsWhoIsUsed(t *testing.T) {
	cache := record.Sample{Holdfast: record.Moment{Breakers: []string{"closed", "open"}}}
	writes := record.Sample{
		Plain:    record.Moment{WriteMoment: &record.WriteMoment{Primary: "a:1"}},
		Holdfast: record.Moment{WriteMoment: &record.WriteMoment{Primary: "b:1"}},
	}
	for _, c := range []struct {
		sample record.Sample
		server record.Server
		want   string
	}{
		{cache, record.Server{}, "breaker open"},
		{writes, record.Server{Side: "plain", Addr: "a:1"}, "in use"},
		{writes, record.Server{Side: "plain", Addr: "b:1"}, ""},
		{writes, record.Server{Side: "holdfast", Addr: "b:1"}, "in use"},
		{writes, record.Server{Addr: "b:1"}, ""},
	} {
		if got := c.sample.Note(1, c.server); got != c.want {
			t.Errorf("the note of %+v is %q, want %q", c.server, got, c.want)
		}
	}
}

func TestTheLengthGrowsWithThePhases(t *testing.T) {
	r := record.Record{Duration: 10, Phases: []record.Phase{{End: 5}, {Start: 5, End: 10}}}
	if got := r.Length(); got != 10 {
		t.Errorf("Length() = %v, want 10", got)
	}
	r.Phases[1].End = 12
	if got := r.Length(); got != 12 {
		t.Errorf("Length() = %v, want 12", got)
	}
}
