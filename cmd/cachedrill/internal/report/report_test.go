package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/report"
)

//nolint:gochecknoglobals // a test flag.
var update = flag.Bool("update", false, "rewrite the files in testdata")

func finished() record.Record {
	summary := record.Summary{
		Reads: 2000, AnswersRate: 250, P50: .5, P90: 3, P99: 12.5, Max: 1500, Unanswered: 2, Errors: 3, ErrorPercent: .15,
		CacheSummary: &record.CacheSummary{
			HitRatio: .9, Loads: 200, NeededLoads: 150, LoadRatio: 1.33, CacheErrors: 1, Stale: 4, StalePercent: .2, FailedWrites: 5,
		},
	}
	cache := record.CacheMoment{HitRatio: .9, LoadsRate: 25, NeededRate: 20, StaleRate: 2, FailedWrites: 3}
	moment := record.Moment{AnswersRate: 250, P50: .5, P99: 12, Max: 20, ErrorsRate: 1, CacheMoment: &cache}
	asked := moment
	asked.Breakers = []string{"open"}
	return record.Record{
		Schema: record.Schema, Tool: "cachedrill v1.0.0", Scenario: "memcached", Started: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC),
		Duration: 16, Elapsed: 8, Seed: 7, Verdict: record.Broken,
		Machine:  record.Machine{Host: "box", OS: "linux", Arch: "amd64", CPU: "a processor", CPUs: 2, Go: "go1.26"},
		Versions: []record.Entry{{Name: "holdfast", Value: "v1.0.0"}}, Settings: []record.Entry{{Name: "rate", Value: "250/s", About: "with | in it"}},
		Servers: []record.Server{{Name: "server 1", Kind: "memcached 1.6", Share: 1}},
		Phases: []record.Phase{
			{Name: "killed", Title: "server 1 killed", Fault: "killed", Start: 0, End: 8, Begun: true, Late: 3, Plain: summary, Holdfast: summary},
			{Name: "recovered", Title: "healthy again", Server: -1, Start: 8, End: 16},
		},
		Promises:   []record.Promise{{Text: "p99<1ms", Worst: 12.5, Shown: "13 ms", Phase: "server 1 killed"}, {Text: "stale<1%", Shown: "0", Kept: true, About: "answers that are old"}},
		Events:     []record.Event{{T: .01, Text: "holdfast stopped asking server 1"}},
		Samples:    []record.Sample{{T: .5, Faults: []string{"killed"}, Plain: moment, Holdfast: asked}},
		Story:      &record.Story{Headline: "Server 1 killed, 8 s: a difference.", Chart: "late", Sentences: []string{"Server 1 killed, 8 s: a difference.", "Another one."}},
		Conditions: []string{"Both at once."},
	}
}

// failedOver is a record of the other scenario.
func failedOver() record.Record {
	r := finished()
	lost, gap, none, short, checked := 5, 4500.0, 0, 70.0, 190
	r.Scenario, r.More = record.Sentinel, true
	r.Servers = []record.Server{{Name: "plain 1", Kind: "redis 7.0", Side: "plain", Addr: "127.0.0.1:1"}, {Name: "holdfast 1", Kind: "redis 7.0", Side: "holdfast", Addr: "127.0.0.1:2"}}
	summary := func(lost *int, gap *float64) record.Summary {
		return record.Summary{Reads: 800, AnswersRate: 250, P50: .5, P90: 3, P99: 12.5, Max: 1500, WriteSummary: &record.WriteSummary{Writes: 200, Acknowledged: 190, Checked: &checked, Lost: lost, Gap: gap}}
	}
	moment := func(primary string) record.Moment {
		return record.Moment{AnswersRate: 250, P50: .5, P99: 12, Max: 20, ErrorsRate: 1, WriteMoment: &record.WriteMoment{AcknowledgedRate: 40, Primary: primary}}
	}
	r.Phases = []record.Phase{
		{Name: "failover", Title: "planned failover", Fault: "failover", Server: -1, End: 8, Begun: true, Plain: summary(&lost, &gap), Holdfast: summary(&none, &short)},
		{Name: "steady", Title: "healthy after it", Server: -1, Start: 8, End: 16, Begun: true, Plain: summary(nil, nil), Holdfast: summary(nil, nil)},
	}
	r.Promises = []record.Promise{{Text: "lost=0", Shown: "0", Kept: true}}
	r.Samples = []record.Sample{{T: .5, Faults: []string{"primary", "killed"}, Plain: moment("127.0.0.1:1"), Holdfast: moment("")}}
	return r
}

// What others read must not change by accident: a change of the files in testdata is a change of
// record.Schema, or an addition.
func TestTheFormsAreThoseOfTheGoldenFiles(t *testing.T) {
	files := make(map[string][]byte)
	for name, drills := range map[string][]record.Record{"report": {finished()}, "report-all": {finished(), failedOver()}} {
		var asJSON, asMarkdown bytes.Buffer
		if err := errors.Join(report.JSON(&asJSON, drills), report.Markdown(&asMarkdown, drills)); err != nil {
			t.Fatal(err)
		}
		files[name+".json"], files[name+".md"] = asJSON.Bytes(), asMarkdown.Bytes()
	}
	for name, got := range files {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s has changed (-update rewrites it):\n%s", name, got)
		}
	}
}

func TestWriteMakesThreeFiles(t *testing.T) {
	folder, err := report.Folder(filepath.Join(t.TempDir(), "new", "folder"))
	if err != nil {
		t.Fatal(err)
	}
	paths, err := report.Write(folder, []record.Record{finished()})
	if err != nil || len(paths) != 3 {
		t.Fatalf("Write() = %v, %v, want three files", paths, err)
	}
	for i, extension := range []string{".html", ".json", ".md"} {
		text, err := os.ReadFile(paths[i])
		if err != nil || filepath.Ext(paths[i]) != extension || !strings.Contains(string(text), "server 1 killed") {
			t.Errorf("%s: %v, want a %s file with the phases", paths[i], err, extension)
		}
	}
	text, err := os.ReadFile(paths[1])
	if err != nil {
		t.Fatal(err)
	}
	var back record.Record
	if err := json.Unmarshal(text, &back); err != nil || back.Seed != 7 || back.Samples[0].Holdfast.Breakers[0] != "open" {
		t.Errorf("the JSON file reads back as %+v, %v", back, err)
	}
}

func TestAFolderThatCannotBeWrittenIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := report.Folder(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Folder(%q) = %v, want an error that names it", file, err)
	}
	if _, err := report.Write(file, []record.Record{finished()}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Write(%q) = %v, want an error that names it", file, err)
	}
}

func TestAnInterruptedDrillSaysSo(t *testing.T) {
	r := finished()
	r.Verdict, r.More, r.Cut = record.Interrupted, true, true
	var text bytes.Buffer
	r.Promises = append(r.Promises, record.Promise{Text: "max<1s", Open: true, Shown: "nothing measured"})
	if err := report.Markdown(&text, []record.Record{r}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"interrupted", "- `max<1s`: open, worst nothing measured", "were not drilled"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("Markdown() has no %q: %s", want, text.String())
		}
	}
}
